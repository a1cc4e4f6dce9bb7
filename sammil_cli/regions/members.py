"""Which patches lie in which regions (x ∈ s_r of eq. 3): pixels counted exactly, with integral images."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.regions.region_mask import RegionMask

# Pixels of a region that are counted at once, 20 MB with their sums: a region as large as a slide is taken in strips.
_STRIP_PX = 1 << 22

_Points = NDArray[np.int64]  # (n, 2) x and y


def find_members(
    regions: RegionMap, xy: NDArray[np.int32], side_px0: int, min_share: float, rule: str = "overlap"
) -> Membership:
    """Finds the member patches of each region.

    Args:
        xy: (n, 2) level-0 corners of the patches.
        side_px0: patch side in level-0 pixels.
        min_share: 0-1, share of the patch's pixels on the canvas; for the rule `overlap` only.
        rule: `overlap`, a patch is a member when the region covers more than `min_share` of it, at 0 when it covers
            any of it; or `released`, what the published code does (see `released_members`), which loses the patches
            that a region enters from the right or from below.
    """
    parts = _released(regions, xy, side_px0) if rule == "released" else _overlaps(regions, xy, side_px0, min_share)
    found = list(parts)
    return Membership(
        start=np.cumsum([0, *(len(patches) for patches in found)], dtype=np.int64),
        patch=np.concatenate(found) if found else np.empty(0, np.int32),
    )


def released_members(
    mask: RegionMask, box: tuple[float, float, float, float], corner: _Points, window_px: int
) -> NDArray[np.int32]:
    """The member patches of one mask by the published rule (docs/methods.md §10.1, 4), rising.

    A patch belongs to a mask when its corner lies in the mask's box and any pixel of the mask in the patch's window.

    Args:
        box: x, y, width, height as SAM records it: its width is the last column less the first, so that a corner in
            the last column or row is outside.
        corner: (n, 2) corners of the patches, rounded to pixels of the mask's canvas.
        window_px: side of the window, the patch's rounded down; 0 = nothing belongs to any mask.
    """
    x, y, width, height = box
    inside = (corner >= (x, y)).all(axis=1) & (corner < (x + width, y + height)).all(axis=1)
    near = np.flatnonzero(inside)
    return near[_covered(mask, corner[near], corner[near] + window_px) > 0].astype(np.int32)


def smallest_region(members: Membership, area_px: NDArray[np.int64], patches: int) -> NDArray[np.int32]:
    """(n,) the smallest region each patch is a member of (of equals, the lower id); -1 = in none."""
    region = np.full(patches, -1, np.int32)
    size = members.size
    for candidate in np.lexsort((-np.arange(len(size)), -area_px)):
        region[members.patch[members.start[candidate] : members.start[candidate + 1]]] = candidate
    return region


def _overlaps(
    regions: RegionMap, xy: NDArray[np.int32], side_px0: int, min_share: float
) -> Iterator[NDArray[np.int32]]:
    """The patches of each region that it covers to more than `min_share`."""
    canvas = regions.canvas
    # The canvas pixels that a patch touches: at least one, even where a patch is smaller than a pixel.
    low = np.floor((xy - canvas.origin_px) / canvas.downsample).astype(np.int64)
    high = np.maximum(np.ceil((xy + side_px0 - canvas.origin_px) / canvas.downsample).astype(np.int64), low + 1)
    needed = min_share * (high - low).prod(axis=1)
    near_of = _Rows(low, high)
    for region in range(len(regions)):
        near = near_of.box(regions.box[region])
        covered = _covered(regions.mask(region), low[near], high[near])
        yield np.sort(near[covered > needed[near]]).astype(np.int32)


def _released(regions: RegionMap, xy: NDArray[np.int32], side_px0: int) -> Iterator[NDArray[np.int32]]:
    """The patches of each region by the published rule."""
    canvas = regions.canvas
    corner = np.rint((xy - canvas.origin_px) / canvas.downsample).astype(np.int64)
    window = int(side_px0 // canvas.downsample)
    near_of = _Rows(corner, corner + 1)
    for region in range(len(regions)):
        x, y, width, height = (int(value) for value in regions.box[region])
        near = np.sort(near_of.box(regions.box[region]))
        found = released_members(regions.mask(region), (x, y, width - 1, height - 1), corner[near], window)
        yield near[found].astype(np.int32)


class _Rows:
    """Windows from `low` to `high` (n, 2) in the order of their rows, so that those near a box are found in a slice."""

    def __init__(self, low: _Points, high: _Points) -> None:
        self._order = np.argsort(low[:, 1], kind="stable")
        self._low, self._high = low[self._order], high[self._order]
        self._tallest = int((high - low)[:, 1].max(initial=0))

    def box(self, box: NDArray[np.int32]) -> NDArray[np.int64]:
        """Which windows share a pixel with the box x, y, width, height; in no order."""
        x, y, width, height = (int(value) for value in box)
        first, last = np.searchsorted(self._low[:, 1], (y - self._tallest + 1, y + height))
        low, high = self._low[first:last], self._high[first:last]
        near = (low[:, 0] < x + width) & (high[:, 0] > x) & (high[:, 1] > y)
        return np.asarray(self._order[first:last][near])


def _covered(mask: RegionMask, low: _Points, high: _Points) -> NDArray[np.int64]:
    """(n,) pixels of a mask in windows from `low` to `high` (n, 2), which may lie anywhere."""
    x, y, width, height = mask.box
    covered = np.zeros(len(low), np.int64)
    if not len(low):
        return covered
    (left, top), (right, bottom) = (np.clip(corner - (x, y), 0, (width, height)).T for corner in (low, high))
    columns = max(1, _STRIP_PX // height)
    for first in range(0, width, columns):
        count = min(columns, width - first)
        sums = cv2.integral(mask.within((x + first, y, count, height)).view(np.uint8))
        begin, end = (np.clip(side - first, 0, count) for side in (left, right))
        covered += sums[bottom, end] - sums[top, end] - sums[bottom, begin] + sums[top, begin]
    return covered
