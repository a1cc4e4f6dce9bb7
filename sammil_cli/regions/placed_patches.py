"""Patches on a canvas of a few pixels each: what is known of a slide whose features are here, and nothing else."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.regions.region_map import Canvas

_ACROSS_PX = 4  # canvas pixels along a patch: sections with a grid each of their own meet between its pixels
_FEWEST_PX = 2
_LONGEST_PX = 4096  # side of a canvas that is as fine as that
_MOST_PX = 1 << 27  # no slide needs more: it would be 20 cm long with patches of 50 µm


@dataclass(frozen=True, kw_only=True)
class PlacedPatches:
    """n patches on a picture, each as the square of the grid that it stands for.

    `features` (n, c): what patches are alike by; `corner` (n, 2): x, y of the squares in pixels of the picture, where
    they need not begin; `side`: of all squares, pixels.
    """

    features: NDArray[np.float32]
    corner: NDArray[np.float64]
    side: float

    def cover(
        self, numbers: NDArray[np.integer[Any]], shape: tuple[int, int]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The lowest and the highest of the patches' `numbers` (n,), 0 or more, on each pixel that squares touch.

        Returns:
            Two maps of `shape`, -1 where no square touches a pixel.
        """
        low = np.floor(self.corner).astype(np.int64)
        high = np.ceil(self.corner + self.side).astype(np.int64)
        none = np.iinfo(np.int32).max
        least, most = np.full(shape, none, np.int32), np.full(shape, -1, np.int32)
        across, down = (high - low).max(axis=0)
        for right in range(across):
            for below in range(down):
                x, y = low[:, 0] + right, low[:, 1] + below
                held = (x < high[:, 0]) & (y < high[:, 1])
                at, own = (y[held], x[held]), numbers[held].astype(np.int32)
                np.minimum.at(least, at, own)
                np.maximum.at(most, at, own)
        least[least == none] = -1
        return least, most

    def paint(self, labels: NDArray[np.integer[Any]], shape: tuple[int, int]) -> NDArray[np.int32]:
        """A map of `shape` with the label (n,) of the patches that touch a pixel; -1 where none does, or they differ.

        So a patch that is no larger than its square touches no pixel of another label, whatever the grid.
        """
        least, most = self.cover(labels, shape)
        return np.where(least == most, least, np.int32(-1))


def place_patches(
    features: NDArray[np.float32], xy: NDArray[np.int32], side_px0: int, step_px0: int, slide_mpp: float
) -> tuple[Canvas, PlacedPatches]:
    """The canvas around patches, of whole pixels to a step of their grid where they all lie on one.

    Args:
        features: (n, c). xy: (n, 2) level-0 corners.
        side_px0, step_px0: the patches' side, and from patch to patch, in level-0 pixels. Where patches overlap, a
            square is the middle of its patch; where they keep apart, squares are larger, and meet.
        slide_mpp: µm per level-0 pixel; NaN where it is not known.

    Raises:
        SlideError: `E_INPUT`, the patches are too small for how far they lie apart.
    """
    corner = xy.astype(np.int64) + (side_px0 - step_px0) // 2
    origin, end = corner.min(axis=0), corner.max(axis=0) + step_px0
    across = _ACROSS_PX
    while across > _FEWEST_PX and (end - origin).max() * across > _LONGEST_PX * step_px0:
        across //= 2
    downsample = step_px0 / across
    width, height = (int(side) for side in np.ceil((end - origin) / downsample))
    if width * height > _MOST_PX:
        raise SlideError(
            "E_INPUT",
            f"its {len(xy)} patches of {step_px0} level-0 px lie over {end[0] - origin[0]} x {end[1] - origin[1]} px",
            remedy="check its coordinates, or take it out of the folder",
        )
    canvas = Canvas(
        origin_px=(int(origin[0]), int(origin[1])),
        downsample=downsample,
        size_px=(width, height),
        mpp=slide_mpp * downsample,
    )
    return canvas, PlacedPatches(features=features, corner=(corner - origin) / downsample, side=float(across))
