"""Where the patches of a bag lie on their grid, for models that look at neighbours."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import read_corners
from sammil_cli.storage.paths import BagPath

_MOST_GAPS = 0.5  # a step that this share of neighbours in a row keep is a grid's
_BY_CHANCE = 20  # fewer gaps may agree by chance on several sides: a few patches, far apart


def grid_places(xy: NDArray[np.int32], patch_px_level0: int) -> NDArray[np.float32] | None:
    """Column and row of every patch in steps of the grid, counted from the first column and row.

    The step is measured: the distance that most neighbours in a row or column keep, so that overlapping patches count
    by their grid. Patches that keep no common distance (drawn at random, or around cells) count by their side; so do a
    few patches with room for others between them.

    Args:
        xy: (n, 2) level-0 corners; (-1, -1) where they are not known. patch_px_level0: their side; 0 = not known.

    Returns:
        (n, 2); whole numbers where all patches lie on one grid. None where places, or both step and side, are unknown.
    """
    if (xy == -1).all():
        return None
    step = grid_step(xy, patch_px_level0)
    return ((xy - xy.min(axis=0)) / step).astype(np.float32) if step > 0 else None


def patch_side(xy: NDArray[np.int32], patch_px_level0: int) -> int:
    """The patches' side in level-0 pixels, or, where that is not known, the step of their grid: to draw them.

    Args:
        xy, patch_px_level0: as for `grid_places`.

    Raises:
        SlideError: `E_BAG`, the bag says neither, or not where the patches lie.
    """
    side = 0 if (xy == -1).all() else patch_px_level0 or measured_step(xy, 0)
    if not side:
        raise SlideError(
            "E_BAG",
            "it cannot be drawn: its bag does not say where its patches lie",
            remedy="convert the features together with their coordinates: sammil convert-legacy --coords DIR "
            "--patch-px-level0 N",
        )
    return side


def read_places(path: BagPath) -> NDArray[np.float32] | None:
    """`grid_places` of a bag's patches; reads no features."""
    return grid_places(*read_corners(path))


def grid_step(xy: NDArray[np.int32], patch_px_level0: int) -> int:
    """Level-0 pixels from patch to patch, as `grid_places` measures them; the patches' side where they keep no grid."""
    return measured_step(xy, patch_px_level0) or patch_px_level0


def measured_step(xy: NDArray[np.int32], side: int) -> int:
    """The distance of most neighbours in a row or a column; 0 where no distance is common, or one only by chance."""
    gaps = np.concatenate([_gaps(xy[:, 0], xy[:, 1]), _gaps(xy[:, 1], xy[:, 0])])
    if not len(gaps):
        return 0
    sizes, counts = np.unique(gaps, return_counts=True)
    most = counts.argmax()
    step = int(sizes[most])
    by_chance = side > 0 and step > side and step % side == 0 and counts[most] < _BY_CHANCE
    return step if counts[most] >= _MOST_GAPS * len(gaps) and not by_chance else 0


def _gaps(along: NDArray[np.integer[Any]], across: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Distances between neighbours in each row: `along` it, where `across` is the same."""
    order = np.lexsort((along, across))
    along, across = along[order].astype(np.int64), across[order]
    gap = along[1:] - along[:-1]
    in_row = (across[1:] == across[:-1]) & (gap > 0)
    found: NDArray[np.int64] = gap[in_row]
    return found
