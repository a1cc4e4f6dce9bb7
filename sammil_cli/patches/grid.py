"""The grid of patches inside the tissue: pure arithmetic on a raster, no pixels, no files."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.tissue.mask import TissueMask

_CELLS = 8  # raster cells per patch side: coverage is exact to 1/64 of a patch


def make_grid(tissue: TissueMask, *, patch_px: int, patch_mpp: float | None, min_tissue: float) -> PatchGrid:
    """A grid without overlap, aligned to the corner of the scanned area; patches with enough tissue are kept.

    A patch counts by its share of tissue, found with an integral image over cells of 1/8 patch. This stands in
    for the four-point test of the published protocol (METHODS §10.1), which looks at four points of the patch.

    Args:
        patch_px: patch side in pixels at `patch_mpp`.
        patch_mpp: µm per pixel; None = level 0, whatever it is (the paper).
        min_tissue: smallest share of tissue, 0-1; at 0 every patch that touches tissue is kept.

    Raises:
        SlideError: `E_COARSE`, the slide is coarser than `patch_mpp` by more than 1 % (pixels are never made up);
            `E_NO_PATCH`, no patch holds enough tissue.
    """
    mpp = patch_mpp or tissue.slide_mpp
    if tissue.slide_mpp > mpp * 1.01:
        raise SlideError(
            "E_COARSE",
            f"the slide has {tissue.slide_mpp:g} µm per pixel, coarser than patch_mpp {mpp:g}",
            remedy="use a patch_mpp that all slides reach, or scan it again",
        )
    side = round(patch_px * mpp / tissue.slide_mpp)
    left, top, width, height = tissue.bounds_px
    # Only whole patches inside the slide: the last, cut ones are left out.
    columns = max(0, min(width, tissue.slide_size_px[0] - left) // side)
    rows = max(0, min(height, tissue.slide_size_px[1] - top) // side)
    raster = tissue.raster((left, top), side / _CELLS, (rows * _CELLS, columns * _CELLS))
    share = coverage(raster, _CELLS)
    row, column = np.nonzero(share >= min_tissue if min_tissue > 0 else share > 0)
    if len(row) == 0:
        raise SlideError(
            "E_NO_PATCH",
            f"none of the {rows * columns} grid places of {side} level-0 px is at least {min_tissue:.0%} tissue",
            remedy="use a smaller patch_px or patch_min_tissue, or look at the slide's tissue overlay",
        )
    xy = np.stack([left + column * side, top + row * side], axis=1).astype(np.int32)
    return PatchGrid(
        slide_id=tissue.slide_id,
        xy=xy,
        patch_px=patch_px,
        patch_mpp=mpp,
        patch_px_level0=side,
        slide_mpp=tissue.slide_mpp,
        slide_size_px=tissue.slide_size_px,
        bounds_px=tissue.bounds_px,
    )


def coverage(mask: NDArray[np.bool_], cells: int) -> NDArray[np.float64]:
    """Share of True in each block of `cells` x `cells`, (r * cells, c * cells) -> (r, c), by an integral image."""
    if mask.size == 0:
        return np.zeros((mask.shape[0] // cells, mask.shape[1] // cells))
    corner = cv2.integral(mask.astype(np.uint8))[::cells, ::cells]
    inside = corner[1:, 1:] - corner[:-1, 1:] - corner[1:, :-1] + corner[:-1, :-1]
    return np.asarray(inside / (cells * cells), np.float64)
