"""Checkpoints of DINO and DINOv2 as their authors' code writes them, by the names of timm's VisionTransformer."""

from sammil_cli.features.weight_forms.renaming import (
    State,
    class_place_folded,
    class_place_unfolded,
    gated,
    on_grid,
    renamed,
    turned,
    without,
)

HIPT_PX = 256  # HIPT's patches; DINO learned its places for 224
_KLUDGE = 0.1  # DINO's, see `on_grid`
_CHUNKS = 4  # of blocks, in checkpoints of training

_UNCHUNKED = (("blocks.{}.{}.", "blocks.{1}."),)  # blocks.<chunk>.<block>.: blocks are counted on from chunk to chunk
_DINOV2 = (("register_tokens", "reg_token"),)
_SWIGLU = (("blocks.{}.mlp.w12.", "blocks.{}.mlp.fc1."), ("blocks.{}.mlp.w3.", "blocks.{}.mlp.fc2."))
_BACKBONE = tuple(
    (prefix, "") for prefix in ("teacher.module.backbone.", "teacher.backbone.", "module.backbone.", "backbone.")
)
_BESIDE = ("student.", "teacher.", "dino_loss.", "ibot_patch_loss.", "dino_head.", "ibot_head.", "head.", "mask_token")


def from_dinov2(state: State) -> State:
    """Of DINOv2's own networks, or of a checkpoint of its training: the teacher's.

    `w12` of SwiGLU makes the gate first and the value second, as timm's SwiGLUPacked has it.
    """
    own = without(renamed(state, _BACKBONE), _BESIDE)
    return class_place_folded(renamed(renamed(own, _UNCHUNKED), (*_DINOV2, *_SWIGLU)))


def to_dinov2(state: State) -> State:
    """As DINOv2's own networks have them."""
    pairs = (*_DINOV2, *_SWIGLU) if gated(state) else _DINOV2
    return renamed(class_place_unfolded(state), turned(pairs))


def to_dinov2_teacher(state: State) -> State:
    """As a checkpoint of training has them, in which blocks lie in chunks."""
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    size = max(1, depth // _CHUNKS)
    chunked = [(f"blocks.{block}.", f"blocks.{block // size}.{block}.") for block in range(depth)]
    return renamed(renamed(to_dinov2(state), chunked), [("", "teacher.backbone.")])


def from_dino_teacher(state: State) -> State:
    """Of a checkpoint of DINO's training, the teacher's, with places for HIPT's patches."""
    return on_grid(without(renamed(state, _BACKBONE), _BESIDE), HIPT_PX, kludge=_KLUDGE)


def to_dino_teacher(state: State) -> State:
    """As a checkpoint of training has them."""
    return renamed(state, [("", "teacher.backbone.")])
