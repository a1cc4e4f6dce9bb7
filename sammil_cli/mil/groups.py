"""Groups of instances: what masking and consistency act on. The bookkeeping is done once per slide."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Members:
    """The c instances that lie in a region, for the consistency term: what lies in no region belongs to no group."""

    place: Tensor  # (c,) int64, where each stands among all instances
    group: Tensor  # (c,) int64, its group
    size: Tensor  # (z,) int64, members of each group


@dataclass(frozen=True, kw_only=True)
class Groups:
    """z groups over n patches and g group features. Group 0 holds the patches in no region when grouped by region.

    To masks those patches are a group like any other, as published; `members` leaves them out.
    """

    patch: Tensor  # (n,) int64, group of each patch
    instance: Tensor  # (n + g,) int64, group of each instance; a group feature lies in its region's group
    size: Tensor  # (z,) int64, patches of each group
    area: Tensor  # (z,) float, pixels of the paper's canvas; 1 for patches in no region
    median_area: Tensor  # () float, of the regions that have patches; infinite without any
    sorted_group: Tensor  # (n,) int64, group of the i-th patch when patches stand group by group
    sorted_rank: Tensor  # (n,) int64, its rank inside the group

    patch_members: Members  # the patches in a region
    instance_members: Members  # and the group features, which all lie in one

    def members(self, group_features: bool) -> Members:
        """The instances in a region, with or without group features."""
        return self.instance_members if group_features else self.patch_members


def make_groups(region: Tensor, group_region: Tensor, region_area: Tensor, grouping: str) -> Groups:
    """Groups by region id, or by equal area, as the released code has them (docs/methods.md §10.1, 6).

    Args:
        region: (n,) region of each patch, -1 = none. group_region: (g,) region of each group feature.
        region_area: (m,) areas. grouping: `region` or `area`.
    """
    area = torch.cat([region_area.new_ones(1), region_area])
    group = torch.arange(len(area), device=area.device)
    if grouping == "area":
        area, group = torch.unique(area, return_inverse=True)
    patch = group[region + 1]
    instance = torch.cat([patch, group[group_region + 1]])
    covered = (region >= 0).nonzero()[:, 0]
    empty = torch.bincount(region[covered], minlength=len(region_area)) == 0
    held = torch.cat([region_area.new_full((1,), torch.nan), region_area.masked_fill(empty, torch.nan)])
    own = torch.arange(len(patch), len(instance), device=patch.device)  # places of the group features
    size = torch.bincount(patch, minlength=len(area))
    sorted_group = torch.repeat_interleave(size)
    start = torch.cumsum(size, 0) - size
    return Groups(
        patch=patch,
        instance=instance,
        size=size,
        area=area,
        median_area=held.nanquantile(0.5).nan_to_num(nan=torch.inf, posinf=torch.inf),
        sorted_group=sorted_group,
        sorted_rank=torch.arange(len(patch), device=patch.device) - start[sorted_group],
        patch_members=_members(covered, instance, len(area)),
        instance_members=_members(torch.cat([covered, own]), instance, len(area)),
    )


def _members(place: Tensor, instance: Tensor, groups: int) -> Members:
    group = instance[place]
    return Members(place=place, group=group, size=torch.bincount(group, minlength=groups))
