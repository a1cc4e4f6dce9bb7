"""Whether bags hold the features that a model learned from."""

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts

UNKNOWN_ENCODER = "unknown (published weights)"


def unknown_encoder(dim: int, name: str | None = None) -> EncoderFacts:
    """The facts of an encoder of which only the dimension is known, or its name besides; 0 = not known."""
    return EncoderFacts(
        name=name or UNKNOWN_ENCODER, weights_sha256=None, dim=dim, patch_px=0, patch_mpp=0.0, patch_px_level0=0
    )


def check_encoder(now: EncoderFacts, then: EncoderFacts, *, remedy: str) -> None:
    """Refuses bags of another encoder than the model's.

    Weights that were imported know less of their encoder: what is not known is not compared, the dimension always is.

    Args:
        now: the encoder of the bags. then: that of the features which the model learned from.

    Raises:
        InputError: they differ.
    """
    same = now.dim == then.dim
    if then.name != UNKNOWN_ENCODER:
        same &= now.name == then.name
    if then.patch_px > 0:  # a model that sammil trained: everything is known
        same &= now.weights_sha256 == then.weights_sha256
    if not same:
        raise InputError(
            f"the model learned from features of {_named(then)}, the bags are of {_named(now)}", remedy=remedy
        )


def _named(encoder: EncoderFacts) -> str:
    weights = f", weights {encoder.weights_sha256[:8]}" if encoder.weights_sha256 else ""
    return f"{encoder.name} ({encoder.dim}-d{weights})"
