"""Image towers of CLIP kinds by the names of timm's VisionTransformer, whose head is the projection.

The towers' projections have no bias, timm's heads have one: it is zero.
"""

from sammil_cli.features.weight_forms.renaming import State, joined, parted, renamed, turned, without

_TRANSFORMERS = (
    ("vision_model.embeddings.class_embedding", "cls_token"),
    ("vision_model.embeddings.position_embedding.weight", "pos_embed"),
    ("vision_model.embeddings.patch_embedding.", "patch_embed.proj."),
    ("vision_model.pre_layrnorm.", "norm_pre."),  # the published spelling
    ("vision_model.encoder.layers.{}.self_attn.q_proj.", "blocks.{}.attn.q."),
    ("vision_model.encoder.layers.{}.self_attn.k_proj.", "blocks.{}.attn.k."),
    ("vision_model.encoder.layers.{}.self_attn.v_proj.", "blocks.{}.attn.v."),
    ("vision_model.encoder.layers.{}.self_attn.out_proj.", "blocks.{}.attn.proj."),
    ("vision_model.encoder.layers.{}.layer_norm1.", "blocks.{}.norm1."),
    ("vision_model.encoder.layers.{}.layer_norm2.", "blocks.{}.norm2."),
    ("vision_model.encoder.layers.{}.mlp.", "blocks.{}.mlp."),
    ("vision_model.post_layernorm.", "norm."),
    ("visual_projection.", "head."),
)
_OPEN_CLIP = (
    ("visual.class_embedding", "cls_token"),
    ("visual.positional_embedding", "pos_embed"),
    ("visual.conv1.", "patch_embed.proj."),
    ("visual.ln_pre.", "norm_pre."),
    ("visual.transformer.resblocks.{}.attn.in_proj_", "blocks.{}.attn.qkv."),
    ("visual.transformer.resblocks.{}.attn.out_proj.", "blocks.{}.attn.proj."),
    ("visual.transformer.resblocks.{}.ln_1.", "blocks.{}.norm1."),
    ("visual.transformer.resblocks.{}.ln_2.", "blocks.{}.norm2."),
    ("visual.transformer.resblocks.{}.mlp.c_fc.", "blocks.{}.mlp.fc1."),
    ("visual.transformer.resblocks.{}.mlp.c_proj.", "blocks.{}.mlp.fc2."),
    ("visual.ln_post.", "norm."),
    ("visual.proj", "head.weight"),
)
_OPEN_CLIP_TIMM = (("visual.head.proj.", "head."), ("visual.trunk.", ""))
_KEEP = (
    ("visual_head.", "head."),
    ("visual.blocks.{}.ls1.weight", "blocks.{}.ls1.gamma"),
    ("visual.blocks.{}.ls2.weight", "blocks.{}.ls2.gamma"),
    ("visual.", ""),
)
_TEXT = (
    *("text_model.", "text_projection", "text.", "logit_scale", "logit_bias"),
    *("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "attn_mask"),  # open_clip's
    "vision_model.embeddings.position_ids",  # 0, 1, 2, …: no weights
)


def from_transformers(state: State) -> State:
    """Of transformers' CLIPModel."""
    return _as_timm(joined(renamed(without(state, _TEXT), _TRANSFORMERS)))


def to_transformers(state: State) -> State:
    """As CLIPModel has them."""
    return renamed(parted(_as_clip(state)), turned(_TRANSFORMERS))


def from_open_clip(state: State) -> State:
    """Of open_clip's CLIP, whose tower is OpenAI's."""
    named = renamed(without(state, _TEXT), _OPEN_CLIP)
    if (head := named.get("head.weight")) is not None and head.ndim == 2:
        named["head.weight"] = head.T.contiguous()
    return _as_timm(named)


def to_open_clip(state: State) -> State:
    """As open_clip's CLIP has them."""
    return renamed(_as_clip(state | {"head.weight": state["head.weight"].T.contiguous()}), turned(_OPEN_CLIP))


def from_open_clip_timm(state: State) -> State:
    """Of open_clip's CLIP with a tower of timm's."""
    return _with_bias(renamed(without(state, _TEXT), _OPEN_CLIP_TIMM))


def to_open_clip_timm(state: State) -> State:
    """As open_clip's CLIP with a tower of timm's has them."""
    return renamed(without(state, ("head.bias",)), turned(_OPEN_CLIP_TIMM))


def from_keep(state: State) -> State:
    """Of KEEP: a tower of timm's, with a name of its own for the scales of layers, and a head of two layers."""
    return renamed(without(state, _TEXT), _KEEP)


def to_keep(state: State) -> State:
    """As KEEP has them."""
    return renamed(state, turned(_KEEP))


def _as_timm(state: State) -> State:
    """Class token (d) -> (1, 1, d), places (n, d) -> (1, n, d)."""
    found = dict(state)
    for name, ndim in (("cls_token", 1), ("pos_embed", 2)):
        if (value := found.get(name)) is not None and value.ndim == ndim:
            found[name] = value.reshape(*([1] * (3 - ndim)), *value.shape)
    return _with_bias(found)


def _as_clip(state: State) -> State:
    """The way back from `_as_timm`."""
    shaped = {"cls_token": state["cls_token"].flatten(), "pos_embed": state["pos_embed"][0]}
    return without(state | shaped, ("head.bias",))


def _with_bias(state: State) -> State:
    head = state.get("head.weight")
    return {"head.bias": head.new_zeros(len(head)), **state} if head is not None and head.ndim == 2 else state
