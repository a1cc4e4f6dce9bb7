"""transformers' ViTModel and Dinov2Model, with registers or without, by the names of timm's VisionTransformer.

The numbers are the same: layers are normed first in all of them, GELU is the exact one, `weights_in` of Dinov2's SwiGLU
makes the gate first and the value second, as timm's SwiGLUPacked has it.
"""

from sammil_cli.features.weight_forms.renaming import (
    State,
    class_place_folded,
    class_place_unfolded,
    gated,
    joined,
    on_grid,
    parted,
    renamed,
    turned,
    without,
)

DINOV2_PX = 224  # what all published Dinov2 encoders of slides see

_BOTH = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("encoder.layer.{}.attention.attention.query.", "blocks.{}.attn.q."),
    ("encoder.layer.{}.attention.attention.key.", "blocks.{}.attn.k."),
    ("encoder.layer.{}.attention.attention.value.", "blocks.{}.attn.v."),
    ("encoder.layer.{}.attention.output.dense.", "blocks.{}.attn.proj."),
    ("layernorm.", "norm."),
)
_VIT = (
    *_BOTH,
    ("encoder.layer.{}.layernorm_before.", "blocks.{}.norm1."),
    ("encoder.layer.{}.layernorm_after.", "blocks.{}.norm2."),
    ("encoder.layer.{}.intermediate.dense.", "blocks.{}.mlp.fc1."),
    ("encoder.layer.{}.output.dense.", "blocks.{}.mlp.fc2."),
)
_DINOV2 = (
    *_BOTH,
    ("embeddings.register_tokens", "reg_token"),
    ("encoder.layer.{}.norm1.", "blocks.{}.norm1."),
    ("encoder.layer.{}.norm2.", "blocks.{}.norm2."),
    ("encoder.layer.{}.layer_scale1.lambda1", "blocks.{}.ls1.gamma"),
    ("encoder.layer.{}.layer_scale2.lambda1", "blocks.{}.ls2.gamma"),
)
_MLP = (("encoder.layer.{}.mlp.fc1.", "blocks.{}.mlp.fc1."), ("encoder.layer.{}.mlp.fc2.", "blocks.{}.mlp.fc2."))
_SWIGLU = (
    ("encoder.layer.{}.mlp.weights_in.", "blocks.{}.mlp.fc1."),
    ("encoder.layer.{}.mlp.weights_out.", "blocks.{}.mlp.fc2."),
)
_OF_TRAINING = ("embeddings.mask_token", "pooler.")


def from_vit(state: State) -> State:
    """Of a ViTModel; its pooler, which class tokens do not pass, is left out."""
    return joined(renamed(without(renamed(state, [("vit.", "")]), _OF_TRAINING), _VIT))


def to_vit(state: State) -> State:
    """As a ViTModel has them."""
    return renamed(parted(state), turned(_VIT))


def from_dinov2(state: State) -> State:
    """Of a Dinov2Model or a Dinov2WithRegistersModel, at the side that its publishers use."""
    own = without(renamed(state, [("dinov2.", "")]), _OF_TRAINING)
    named = joined(renamed(own, (*_DINOV2, *_SWIGLU, *_MLP)))
    return class_place_folded(on_grid(named, DINOV2_PX))


def to_dinov2(state: State) -> State:
    """As a Dinov2Model has them, or one with registers."""
    perceptron = _SWIGLU if gated(state) else _MLP
    return renamed(parted(class_place_unfolded(state)), turned((*_DINOV2, *perceptron)))
