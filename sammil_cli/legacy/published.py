"""SAM-MIL's published rule for group features, to prove that stored group rows are what they seem to be."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from sammil_cli.legacy.rows import Floats, rounding
from sammil_cli.legacy.segments import Document
from sammil_cli.regions.members import released_members
from sammil_cli.regions.region_mask import RegionMask


def published_groups(document: Document, features: Floats, xy: NDArray[np.int32], patch_px: int) -> Floats:
    """The group features of one document by the published rule (`regions.membership.released_members`).

    Returns:
        (g, d) float32: the mean of each mask with members, in the masks' order.
    """
    corner = np.rint((xy - np.array(document.origin_px)) / document.downsample).astype(np.int64)
    window = patch_px // document.downsample
    groups = []
    for legacy in document.masks:
        if not legacy.mask.any():
            continue
        members = released_members(RegionMask.of(legacy.mask), legacy.box, corner, window)
        if len(members):
            groups.append(features[members].astype(np.float32).mean(axis=0))
    return np.array(groups, np.float32).reshape(-1, features.shape[1])


def count_equal(stored: Floats, expected: Floats) -> int:
    """How many stored rows are among the expected ones, up to rounding."""
    if not len(stored) or not len(expected):
        return 0
    return int((cdist(stored, expected, "chebyshev").min(axis=1) <= rounding(expected)).sum())
