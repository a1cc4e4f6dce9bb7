"""What a bag says of its encoder besides name, dimension and weights."""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class EncoderDetails:
    """How an encoder makes features; None = not known, as in bags of earlier versions and of other tools.

    `revision`: of the published weights. `precision`: that it computed in. `pooling`: how tokens or feature maps became
    one vector (`cls`, `cls-mean`, `mean`, `pooled`). `preparation`: what happened to a patch before, in the words of
    `preparation_words`, which are compared between bags. `mpp`: µm per pixel that it was trained at.
    """

    revision: str | None = None
    precision: str | None = None
    pooling: str | None = None
    preparation: str | None = None
    mpp: float | None = None


def agreed(several: Sequence[EncoderDetails]) -> EncoderDetails:
    """Of each detail what those that know it agree on; None where they differ, or nobody knows."""
    known = {field.name: {getattr(one, field.name) for one in several} - {None} for field in fields(EncoderDetails)}
    return EncoderDetails(**{name: values.pop() for name, values in known.items() if len(values) == 1})


def preparation_words(
    *, input_px: int, resize_px: int, interpolation: str, mean: Sequence[float], sd: Sequence[float]
) -> str:
    """How a patch is prepared, in one line.

    Args:
        resize_px: the side that it is resized to, before the middle of `input_px` is cut out.
        mean, sd: of red, green and blue, each in 0..1.
    """
    sides = f"{input_px} px" if resize_px == input_px else f"{resize_px} px, of which the middle {input_px} px"
    mean_words, sd_words = (" ".join(f"{value:.7g}" for value in values) for values in (mean, sd))
    return f"{sides}, {interpolation}; RGB {mean_words}, sd {sd_words}"
