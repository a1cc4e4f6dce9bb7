"""Patches that need tiles which the slide's file does not hold: beside tissue that is glass, inside it a loss."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.pixels import GLASS, RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.slides.unstored import unstored
from sammil_cli.tissue.artefact_maps import Map

_SAMPLED = 8  # one in eight rows and columns of a patch is looked at: tiles are larger
_NOTHING = 0.9  # share of a patch's part of the slide beyond which nothing is left to be encoded
_LOST = 0.1  # share of a patch that shows something on the slide's thumbnail, and is not stored where patches are read
_HAIR_PX = 7  # narrower gaps are seams between the scanner's fields, no tiles
_RIM_PX = 2
_CUT = 1 / 3  # share of the pixels along what is not stored that are tissue: glass that is left out has a rim of glass
_BRIGHT = 190  # a pixel as bright as this in its darkest channel may be glass


class UnstoredError(SlideError):
    """`E_READ`: a patch in tissue needs pixels that the file does not hold."""

    def __init__(self, grid: PatchGrid, index: int) -> None:
        x, y = grid.xy[index]
        super().__init__(
            "E_READ",
            f"the file does not hold the pixels of the patch at x={x}, y={y}",
            remedy="export or scan it again; or leave such patches out: unreadable_share in params.yaml",
        )


def check_stored(slide: Slide, grid: PatchGrid, index: int, patch: RGB, blank: Map | None) -> None:
    """Refuses a patch that is white in places because the file does not hold what was there.

    Args:
        patch: (h, w, 3) as it was read.
        blank: the slide's map of glass (see `tissue.artefact_maps`), measured on its thumbnail, so on a coarser level,
            which may hold what the level of the patches lacks; None = not known.

    Raises:
        UnstoredError: nearly nothing of the patch is stored; or the thumbnail shows something in what is not; or that
            cuts through tissue.
    """
    if not (patch[::_SAMPLED, ::_SAMPLED] == GLASS).all(axis=2).any():
        return
    (x, y), side = (int(v) for v in grid.xy[index]), grid.patch_px_level0
    found = unstored(slide, (x, y), (side, side), (grid.patch_px, grid.patch_px))
    if found is None:
        return
    kernel = np.ones((_HAIR_PX, _HAIR_PX), np.uint8)
    missing = np.asarray(cv2.morphologyEx(found.view(np.uint8), cv2.MORPH_OPEN, kernel), np.bool_)
    left, top, width, height = slide.bounds_px
    on_slide = (min(x + side, left + width) - max(x, left)) * (min(y + side, top + height) - max(y, top)) / side**2
    if missing.mean() > _NOTHING * on_slide or _cuts_tissue(patch, missing):
        raise UnstoredError(grid, index)
    if blank is not None and _shown(slide, (x, y), side, missing, blank) > _LOST:
        raise UnstoredError(grid, index)


def _shown(slide: Slide, xy: tuple[int, int], side: int, missing: NDArray[np.bool_], blank: Map) -> float:
    """The share of a patch that is missing and no glass on the slide's thumbnail."""
    rows, columns = np.nonzero(missing[::_SAMPLED, ::_SAMPLED])
    per_px = side / len(missing)
    places = []
    for first, at, length, cells in zip(xy, (columns, rows), slide.size_px, blank.shape[::-1], strict=True):
        place = (first + at * _SAMPLED * per_px) * cells / length
        places.append(np.minimum(place.astype(np.int64), cells - 1))
    seen = 255 - blank[places[1], places[0]].astype(np.float64)
    return float(seen.sum() / (255 * missing[::_SAMPLED, ::_SAMPLED].size))


def _cuts_tissue(patch: RGB, missing: NDArray[np.bool_]) -> bool:
    """Whether what is stored along the missing part is tissue."""
    side = 2 * _RIM_PX + 1
    rim = np.asarray(cv2.dilate(missing.view(np.uint8), np.ones((side, side), np.uint8)), np.bool_) & ~missing
    return bool((patch[rim].min(axis=1) < _BRIGHT).mean() > _CUT) if rim.any() else False
