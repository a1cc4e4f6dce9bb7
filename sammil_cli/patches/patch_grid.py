"""The patch grid of a slide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.slide import Box


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Where patches are. `xy` (n, 2) int32: level-0 pixels of the top left corners, sorted by row, then column."""

    slide_id: str
    xy: NDArray[np.int32]
    patch_px: int  # side of the image that an encoder sees before its own resize
    patch_mpp: float  # µm per pixel of that image
    patch_px_level0: int  # side in level-0 pixels
    slide_mpp: float
    slide_size_px: tuple[int, int]
    bounds_px: Box
