"""Two concentric pictures of one place: HR, and LR with half its resolution (docs/methods.md §12)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide

RATIO = 2  # LR's µm per pixel by HR's, as published
_TOLERANCE = 1.01  # a slide may be coarser by 1 %
_ALIKE = 0.01  # resolutions that differ by less are one

Points = NDArray[np.floating[Any]]  # (n, 2): x, y


@dataclass(frozen=True, kw_only=True)
class Field:
    """A place, seen as two pictures of one side; HR shows the middle half of LR.

    Points of a picture count from its top left corner, which is (0, 0); the middle of its first pixel is (0.5, 0.5).
    Corners and sides are whole level-0 pixels, so that what a point is converted to is what was read.

    `corner_px`: level-0 x, y of HR's top left corner. `side_px0`: level-0 pixels along HR's side, a multiple of 2.
    `out_px`: pixels along each picture's side (1024, as published), a multiple of 4.
    """

    corner_px: tuple[int, int]
    side_px0: int
    out_px: int

    @classmethod
    def around(cls, centre_px: tuple[float, float], *, mpp: float, slide_mpp: float, out_px: int) -> "Field":
        """The field with a level-0 point x, y in its middle, to half a level-0 pixel.

        Args:
            mpp: µm per pixel of HR; met to half a level-0 pixel in half of its side.

        Raises:
            SlideError: `E_COARSE`, the slide is coarser than `mpp`: pixels are never made up.
        """
        if slide_mpp > mpp * _TOLERANCE:
            raise SlideError(
                "E_COARSE",
                f"the slide has {slide_mpp:g} µm per pixel, coarser than the {mpp:g} that are asked for",
                remedy="ask for a resolution that all slides reach",
            )
        half = max(out_px // 2, round(out_px * mpp / slide_mpp / 2))
        x, y = (round(middle) - half for middle in centre_px)
        return cls(corner_px=(x, y), side_px0=2 * half, out_px=out_px)

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel of HR."""
        return self.side_px0 / self.out_px

    @property
    def centre_px(self) -> tuple[int, int]:
        """The level-0 point x, y in the middle of both pictures."""
        x, y = self.corner_px
        return x + self.side_px0 // 2, y + self.side_px0 // 2

    @property
    def low(self) -> "Field":
        """The same place as LR sees it: a field whose HR is this one's LR."""
        x, y = self.corner_px
        half = self.side_px0 // 2
        return Field(corner_px=(x - half, y - half), side_px0=RATIO * self.side_px0, out_px=self.out_px)

    def of_slide(self, points: Points) -> NDArray[np.float64]:
        """Level-0 points (n, 2) as points of HR."""
        return np.asarray((np.asarray(points, np.float64) - self.corner_px) / self.downsample)

    def to_slide(self, points: Points) -> NDArray[np.float64]:
        """Points (n, 2) of HR as level-0 points."""
        return np.asarray(np.asarray(points, np.float64) * self.downsample + self.corner_px)

    def read(self, slide: Slide) -> tuple[RGB, RGB]:
        """HR and LR, each (out_px, out_px, 3); white outside of the scanned area.

        Raises:
            SlideError: see `Slide.read_at`.
        """
        high, low = (
            slide.read_at(field.corner_px, (field.side_px0,) * 2, (self.out_px,) * 2) for field in (self, self.low)
        )
        return high, low


def to_low(points: Points, out_px: int) -> NDArray[np.float64]:
    """Points (…, 2) of HR as points of the LR around it: p / 2 + out_px / 4 (the published 256 for 1024)."""
    return np.asarray(np.asarray(points, np.float64) / RATIO + out_px / 4)


def same_mpp(one: float, other: float) -> bool:
    """Whether two resolutions, in µm per pixel, count as the same."""
    return math.isclose(one, other, rel_tol=_ALIKE)
