"""Networks that timm built, in files that name a part of them otherwise."""

from sammil_cli.features.weight_forms.renaming import State, renamed, turned

_ENCODER = (("encoder.", ""),)
_TABLES = ("relative_position_index", "attn_mask")  # which timm computes


def from_encoder(state: State) -> State:
    """Of a model that holds the network as `encoder`."""
    return renamed(state, _ENCODER)


def to_encoder(state: State) -> State:
    """As a model that holds the network as `encoder` has them."""
    return renamed(state, turned(_ENCODER))


def from_old_swin(state: State) -> State:
    """Of a Swin transformer of timm before 0.9, which shrank the grid after a stage; timm now does it before the next.

    Weights of later versions stay as they are: their first stage shrinks nothing.
    """
    kept = {name: value for name, value in state.items() if not name.endswith(_TABLES)}
    if not any(name.startswith("layers.0.downsample.") for name in kept):
        return kept
    stages = range(_stages(kept) - 1)
    return renamed(kept, [(f"layers.{stage}.downsample.", f"layers.{stage + 1}.downsample.") for stage in stages])


def to_old_swin(state: State) -> State:
    """As timm before 0.9 has them."""
    stages = range(1, _stages(state))
    return renamed(state, [(f"layers.{stage}.downsample.", f"layers.{stage - 1}.downsample.") for stage in stages])


def _stages(state: State) -> int:
    numbers = (name.split(".")[1] for name in state if name.startswith("layers."))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
