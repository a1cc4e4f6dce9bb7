"""Pixels that a file does not hold: scanners and converters leave out tiles of bare glass, painted white."""

from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.slide import Slide, plan_read, window


@runtime_checkable
class SparseReader(Protocol):
    """What a reader of a format has besides `Reader` where files may leave out tiles."""

    def unstored(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.bool_] | None:
        """(h, w) True where a box that was read is white because the file does not hold it; None = nowhere.

        What it says of pixels outside of the slide does not count.
        """
        ...


def unstored(
    slide: Slide, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Where `Slide.read_at` of the same box, called before, painted white what the file does not hold.

    Returns:
        (height, width) of `out_px`, True there, never outside of the scanned area; None where all is stored.
    """
    reader = slide.reader
    if not isinstance(reader, SparseReader):
        return None
    level = plan_read(reader.downsamples, min(side_px0[0] / out_px[0], side_px0[1] / out_px[1])).level
    downsample = reader.downsamples[level]
    size = (max(1, round(side_px0[0] / downsample)), max(1, round(side_px0[1] / downsample)))
    missing, inside = reader.unstored(xy, level, size), window(xy, size, downsample, slide.bounds_px)
    if missing is None or inside is None:
        return None
    seen = np.zeros(missing.shape, np.uint8)
    seen[inside] = missing[inside]
    shown = np.asarray(cv2.resize(seen, out_px, interpolation=cv2.INTER_NEAREST), np.bool_)
    return shown if shown.any() else None
