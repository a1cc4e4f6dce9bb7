"""Which patches lie in which regions (x ∈ s_r of eq. 3): exact overlaps, counted with integral images."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import RegionMap


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Sparse patch-region membership, region by region: region r holds `patch[start[r]:start[r + 1]]`.

    `start` (m + 1,) int64, `patch` (k,) int32, rising inside a region. A patch may lie in several regions.
    """

    start: NDArray[np.int64]
    patch: NDArray[np.int32]

    @property
    def size(self) -> NDArray[np.int64]:
        """(m,) member patches of each region."""
        return np.diff(self.start)


def find_members(regions: RegionMap, xy: NDArray[np.int32], side_px0: int, min_share: float) -> Membership:
    """Finds the member patches of each region.

    A patch is a member when the region covers more than `min_share` of it; at 0, when it covers any of it.
    The published code asks for the patch's corner inside the region's box besides (METHODS §10.1), which loses
    the patches that a region enters from the right or from below; here it is plainly the overlap.

    Args:
        xy: (n, 2) level-0 corners of the patches.
        side_px0: patch side in level-0 pixels.
        min_share: 0-1, share of the patch's pixels on the canvas.
    """
    canvas = regions.canvas
    width, height = canvas.size_px
    # The canvas pixels that a patch touches: at least one, even where a patch is smaller than a pixel.
    low = np.floor((xy - canvas.origin_px) / canvas.downsample).astype(np.int64)
    high = np.maximum(np.ceil((xy + side_px0 - canvas.origin_px) / canvas.downsample).astype(np.int64), low + 1)
    x0, y0 = np.clip(low, 0, (width, height)).T
    x1, y1 = np.clip(high, 0, (width, height)).T
    pixels = ((high - low)[:, 0] * (high - low)[:, 1]).astype(np.float64)
    found: list[NDArray[np.int32]] = []
    for region, (bx, by, bw, bh) in enumerate(regions.box):
        near = np.flatnonzero((x0 < bx + bw) & (x1 > bx) & (y0 < by + bh) & (y1 > by))
        total = cv2.integral(regions.mask(region).array().astype(np.uint8))
        left, right = np.clip(x0[near] - bx, 0, bw), np.clip(x1[near] - bx, 0, bw)
        top, bottom = np.clip(y0[near] - by, 0, bh), np.clip(y1[near] - by, 0, bh)
        covered = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        found.append(near[covered > min_share * pixels[near]].astype(np.int32))
    return Membership(
        start=np.cumsum([0, *(len(patches) for patches in found)], dtype=np.int64),
        patch=np.concatenate(found) if found else np.empty(0, np.int32),
    )


def smallest_region(members: Membership, area_px: NDArray[np.int64], patches: int) -> NDArray[np.int32]:
    """(n,) the smallest region each patch is a member of (of equals, the lower id); -1 = in none."""
    region = np.full(patches, -1, np.int32)
    size = members.size
    for candidate in np.lexsort((-np.arange(len(size)), -area_px)):
        region[members.patch[members.start[candidate] : members.start[candidate + 1]]] = candidate
    return region
