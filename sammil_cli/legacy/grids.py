"""Old coordinate files as patch grids: what remains of a run whose features are to be computed anew."""

import numpy as np

from sammil_cli.errors import SlideError
from sammil_cli.legacy.bags import level0_corners, patch_side
from sammil_cli.legacy.layout import Source
from sammil_cli.legacy.patch_file import read_patch_file
from sammil_cli.legacy.rows import mismatch
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.pixels import Box


def convert_grid(
    source: Source,
    *,
    slide_mpp: float | None,
    slide_size_px: tuple[int, int] | None,
    bounds_px: Box | None,
    patch_px_level0: int | None,
) -> tuple[PatchGrid, list[str]]:
    """One slide's grid, sorted by row and column, and what was assumed; writes nothing.

    Args:
        slide_mpp: µm per level-0 pixel. slide_size_px: level-0 width and height, None = what the file says.
        bounds_px: the scanned area, None = the whole slide.
        patch_px_level0: patch side in level-0 pixels; None = what the file says.

    Raises:
        SlideError: `E_LEGACY_MISSING` no file, or the slide's resolution or size is not known · `E_LEGACY_DAMAGED` ·
            `E_LEGACY_MISMATCH`, no patches.
    """
    if source.coords is None:
        raise SlideError("E_LEGACY_MISSING", f"{source.slide_id} has no coordinates", remedy="leave the slide out")
    file = read_patch_file(source.coords)
    if slide_mpp is None:
        raise SlideError(
            "E_LEGACY_MISSING",
            "the slide's resolution is not known: old coordinate files do not say it",
            remedy="give the slides' folder with --slides, or add to data/slides.csv (first line slide_id,mpp): "
            f"{source.slide_id},<µm per pixel of level 0>",
        )
    size = slide_size_px or file.slide_size_px
    if size is None:
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{source.coords} does not say the slide's size",
            remedy="give the folder of the slides with --slides",
        )
    remarks: list[str] = []
    rows = file.coords[(file.coords != -1).any(axis=1)]
    if not len(rows):
        raise SlideError(
            "E_LEGACY_MISMATCH", f"{source.coords} has no patches", remedy="look at this slide's tissue in the old run"
        )
    xy = level0_corners(rows, file, slide_mpp, source.slide_id, remarks)
    side = patch_side(xy, file, None, patch_px_level0, slide_mpp, remarks)
    unique = np.unique(xy[:, ::-1], axis=0)[:, ::-1]  # by row, then column
    if len(unique) < len(xy):
        remarks.append(f"{len(xy) - len(unique)} patches stood there twice and were left out")
    if slide_size_px and file.slide_size_px not in (None, slide_size_px):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{source.coords} is of a slide of {file.slide_size_px} px, the slide here has {slide_size_px}",
            remedy="bring the slide that the coordinates were made from",
        )
    outside = ((unique < 0) | (unique >= np.array(size))).any(axis=1)
    if slide_size_px is None and outside.any():  # a slide that is there is held against them by the caller
        raise mismatch(f"{outside.sum()} of {len(unique)} patches begin outside of {source.slide_id}, of {size} px")
    grid = PatchGrid(
        slide_id=source.slide_id,
        xy=np.ascontiguousarray(unique, np.int32),
        patch_px=side.patch_px,
        patch_mpp=slide_mpp * side.level0_px / side.patch_px,
        patch_px_level0=side.level0_px,
        slide_mpp=slide_mpp,
        slide_size_px=size,
        bounds_px=bounds_px or (0, 0, *size),
    )
    return grid, remarks
