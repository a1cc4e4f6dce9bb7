"""A slide: an open image pyramid with a known resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pyramid import plan_read

RGB = NDArray[np.uint8]  # (height, width, 3)
Box = tuple[int, int, int, int]  # x, y, width, height

_BACKGROUND = 255  # glass: what lies outside the scanned area is painted white
_MPP_RANGE = (0.02, 100.0)  # µm per pixel; outside of it the number is a printer's dpi or a slip


class Reader(Protocol):
    """What a file in `slides/formats/` gives: pixels and what the file says about itself."""

    size_px: tuple[int, int]  # level-0 width, height
    downsamples: Sequence[float]  # level-0 pixels per pixel of each level
    mpp: tuple[float, float] | None  # µm per level-0 pixel in x and y, None where the file does not say
    mpp_source: str  # the property it came from
    bounds_px: Box  # the scanned area in level-0 pixels; the whole slide where the file does not say

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """Pixels of a box: `xy` in level-0 pixels, `size_px` in the level's; outside of the scan it is white."""
        ...

    def close(self) -> None:
        """Frees the file."""
        ...


@dataclass(frozen=True, kw_only=True)
class Slide:
    """An open slide. Coordinates are level-0 pixels of the whole file, origin top left, x before y.

    `mpp` is µm per level-0 pixel and `mpp_source` says where that number came from.
    """

    slide_id: str
    path: Path
    reader: Reader
    mpp: float
    mpp_source: str

    @property
    def size_px(self) -> tuple[int, int]:
        """Level-0 width and height."""
        return self.reader.size_px

    @property
    def bounds_px(self) -> Box:
        """The scanned area, level-0 pixels."""
        return self.reader.bounds_px

    def read_at(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]) -> RGB:
        """Reads the box at `xy` of `side_px0` (width, height) level-0 pixels as an image of `out_px` (width, height).

        The best level is read and shrunk by area averaging; it is enlarged only where level 0 is coarser than asked.

        Raises:
            SlideError: `E_READ`, the pixels cannot be decoded.
        """
        plan = plan_read(self.reader.downsamples, min(side_px0[0] / out_px[0], side_px0[1] / out_px[1]))
        downsample = self.reader.downsamples[plan.level]
        level_px = (max(1, round(side_px0[0] / downsample)), max(1, round(side_px0[1] / downsample)))
        image = self.reader.read(xy, plan.level, level_px)
        if level_px == out_px:
            return image
        shrinking = level_px[0] >= out_px[0] and level_px[1] >= out_px[1]
        method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, out_px, interpolation=method), np.uint8)

    def thumbnail(self, mpp: float) -> RGB:
        """The whole slide at `mpp` µm per pixel (at level 0 where the slide itself is coarser)."""
        factor = max(1.0, mpp / self.mpp)
        width, height = (max(1, round(side / factor)) for side in self.size_px)
        return self.read_at((0, 0), self.size_px, (width, height))

    def close(self) -> None:
        """Frees the file."""
        self.reader.close()

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def resolve_mpp(reader: Reader, slide_id: str, override: float | None) -> tuple[float, str]:
    """µm per level-0 pixel and where the number came from; never guessed.

    Raises:
        SlideError: `E_MPP`, the file does not say, or says something that cannot be.
    """
    if override is not None:
        return override, "slides.csv"
    fix = f"add to data/slides.csv (first line slide_id,mpp): {slide_id},<µm per pixel of level 0>"
    if reader.mpp is None:
        raise SlideError("E_MPP", "the file does not say its resolution (mpp)", remedy=fix)
    mpp_x, mpp_y = reader.mpp
    if abs(mpp_x - mpp_y) > 0.02 * max(mpp_x, mpp_y):
        raise SlideError("E_MPP", f"pixels are not square: {mpp_x:g} x {mpp_y:g} µm", remedy=fix)
    mpp = (mpp_x + mpp_y) / 2
    if not _MPP_RANGE[0] <= mpp <= _MPP_RANGE[1]:
        raise SlideError("E_MPP", f"{mpp:g} µm per pixel ({reader.mpp_source}) cannot be right", remedy=fix)
    return mpp, reader.mpp_source


def paint_background(rgba: NDArray[np.uint8]) -> RGB:
    """Lays an RGBA image (h, w, 4) on white glass."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3].astype(np.uint16) * alpha + _BACKGROUND * (255 - alpha.astype(np.uint16))) // 255
    return mixed.astype(np.uint8)
