"""A part of a slide as a picture, and the way from level-0 pixels to its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.slide import Slide


@dataclass(frozen=True, kw_only=True)
class Field:
    """`image` (h, w, 3); `origin_px`: level-0 position of its corner; `factor`: level-0 pixels per pixel of it."""

    image: RGB
    origin_px: tuple[int, int]
    factor: float
    um_per_px: float

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self.image.shape[1], self.image.shape[0]

    def of_slide(self, xy: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
        """Level-0 points (k, 2) in pixels of the picture."""
        return np.asarray((xy - np.array(self.origin_px)) / self.factor, np.float64)


def read_field(slide: Slide, box: Box, most_px: int) -> Field:
    """Reads a box of level-0 pixels, shrunk until no side is longer than `most_px`; never enlarged.

    Raises:
        SlideError: `E_READ`, the pixels cannot be decoded.
    """
    x, y, width, height = box
    factor = max(1.0, max(width, height) / most_px)
    out = (max(1, round(width / factor)), max(1, round(height / factor)))
    image = slide.read_at((x, y), (width, height), out)
    return Field(image=image, origin_px=(x, y), factor=width / out[0], um_per_px=slide.mpp * width / out[0])


def around(low: tuple[float, float], high: tuple[float, float], margin: float, size_px: tuple[int, int]) -> Box:
    """The box from `low` to `high` and a margin around it, level-0 pixels, cut to a slide of `size_px`."""
    left, top = (max(0, int(value - margin)) for value in low)
    right, bottom = (min(size, int(np.ceil(value + margin))) for value, size in zip(high, size_px, strict=True))
    return left, top, max(1, right - left), max(1, bottom - top)
