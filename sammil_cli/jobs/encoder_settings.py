"""The settings of an encoder: what `auto` means, and whether its patches suit it."""

from types import ModuleType
from typing import TypeVar

from sammil_cli import choices
from sammil_cli.config import EncodeSettings
from sammil_cli.errors import InputError
from sammil_cli.features.own_patches import OwnPatches, mpp_remark

_USUAL_PX = 224  # of an encoder that does not say which side is its own
_AUTO = "auto"
_Settings = TypeVar("_Settings", bound=EncodeSettings)


def settled(settings: _Settings) -> _Settings:
    """The settings with the input side as a number, and with `encoder_pooling: auto` for the encoder's own pooling.

    So `auto` makes the same key and bag as the same settings said in full.

    Raises:
        InputError: see `check_pooling`.
    """
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    found: dict[str, object] = {}
    if settings.encoder_input_px == _AUTO:
        found["encoder_input_px"] = own_input_px(encoder, settings)
    if check_pooling(settings) == settings.encoder_pooling:
        found["encoder_pooling"] = _AUTO
    return settings.model_copy(update=found)


def check_pooling(settings: EncodeSettings) -> str:
    """The encoder's own pooling; empty where it does not say any.

    Raises:
        InputError: no such encoder, or one that does not have the pooling of the settings.
    """
    poolings: tuple[str, ...] = getattr(choices.load(choices.ENCODERS, settings.encoder), "POOLINGS", ())
    if settings.encoder_pooling not in (_AUTO, *poolings):
        words = dict.fromkeys((_AUTO, *(one for one in poolings if one != "pooled")))
        raise InputError(
            f"encoder {settings.encoder} has no pooling {settings.encoder_pooling}",
            remedy=f"set encoder_pooling: {' or '.join(words)}",
        )
    return poolings[0] if poolings else ""


def own_input_px(encoder: ModuleType, settings: EncodeSettings) -> int:
    """The side that an encoder sees patches at, unless the settings say otherwise; raises as its `own_input_px`."""
    if hasattr(encoder, "own_input_px"):
        own: int = encoder.own_input_px(settings.model_dump())
        return own
    return int(getattr(encoder, "INPUT_PX", _USUAL_PX))


def patches_remark(settings: EncodeSettings, *, px: int, mpp: float) -> str:
    """`features.own_patches.mpp_remark` of the encoder of the settings; empty where it does not say what it is for."""
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    own: OwnPatches | None = getattr(encoder, "PATCHES", None)
    if own is None:
        return ""
    side, own_side = settled(settings).encoder_input_px, own_input_px(encoder, settings)
    return mpp_remark(settings.encoder, own, px=px, mpp=mpp, enlarged=int(side) / own_side)
