"""A bag from which patches are taken away: what a model would see if they had never been there."""

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.bag import Instances, mean_group_features
from sammil_cli.regions.membership import Membership


def without(bag: Instances, gone: NDArray[np.bool_], *, grouped: bool) -> Instances:
    """The patches that are left, in their order, in the regions that they are left in.

    A region keeps its id and area. Its group feature is the mean of the member patches that are left (eq. 3); a region
    without any has none.

    Args:
        gone: (n,) True = taken away; some must be left.
        grouped: whether group features are wanted; False spares their means.
    """
    left = ~gone
    members = _members_left(bag.members, left)
    if grouped and len(bag.group_features):
        means, group_region = mean_group_features(bag.features[left], members)
    else:
        means, group_region = bag.group_features[:0], bag.group_region[:0]
    return Instances(
        features=bag.features[left],
        region=bag.region[left],
        region_area=bag.region_area,
        group_features=means.astype(bag.features.dtype, copy=False),
        group_region=group_region,
        members=members,
    )


def _members_left(members: Membership, left: NDArray[np.bool_]) -> Membership:
    place = np.cumsum(left) - 1  # of each patch that is left, among those
    kept = left[members.patch]
    before = np.concatenate([[0], np.cumsum(kept)])
    return Membership(
        start=before[members.start].astype(np.int64), patch=place[members.patch[kept]].astype(np.int32, copy=False)
    )
