"""The patch grid of a slide."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import Box

SCORES = ("tissue", "blank", "pen", "dark", "blur")


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Where patches are. `xy` (n, 2) int32: level-0 pixels of the top left corners, sorted by row, then column.

    `scores`: (n,) float16 each, 0-1: the share of `tissue`, and of the artefacts `blank`, `pen`, `dark` and `blur`;
    empty where they were not measured. `waterfall`: how many places each step left, in order. `uncovered`: share 0-1
    of the tissue that lies in no place of the grid, because patches would reach over the edge of the scanned area.
    """

    slide_id: str
    xy: NDArray[np.int32]
    patch_px: int  # side of the image that an encoder sees before its own resize
    patch_mpp: float  # µm per pixel of that image
    patch_px_level0: int  # side in level-0 pixels
    step_px_level0: int | None = None  # from patch to patch in level-0 pixels; None where it is no grid of ours
    slide_mpp: float
    slide_size_px: tuple[int, int]
    bounds_px: Box
    scene: int | None = None  # of the slide file, where that holds several
    scores: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    waterfall: Mapping[str, int] = field(default_factory=dict)
    uncovered: float = 0.0
