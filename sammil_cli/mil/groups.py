"""Groups of instances: what masking and consistency act on. The bookkeeping is done once per slide."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Groups:
    """z groups over n patches and g group features. Group 0 holds the patches in no region when grouped by region."""

    patch: Tensor  # (n,) int64, group of each patch
    instance: Tensor  # (n + g,) int64, group of each instance; a group feature lies in its region's group
    size: Tensor  # (z,) int64, patches of each group
    instance_size: Tensor  # (z,) int64, patches and group features of each group
    area: Tensor  # (z,) float, pixels of the paper's canvas; 1 for patches in no region
    sorted_group: Tensor  # (n,) int64, group of the i-th patch when patches stand group by group
    sorted_rank: Tensor  # (n,) int64, its rank inside the group

    def members(self, group_features: bool) -> tuple[Tensor, Tensor]:
        """The group of each instance (N,) and the size of each group (z,), with or without group features."""
        return (self.instance, self.instance_size) if group_features else (self.patch, self.size)


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
    patch, group_feature = group[region + 1], group[group_region + 1]
    size = torch.bincount(patch, minlength=len(area))
    sorted_group = torch.repeat_interleave(size)
    start = torch.cumsum(size, 0) - size
    return Groups(
        patch=patch,
        instance=torch.cat([patch, group_feature]),
        size=size,
        instance_size=size + torch.bincount(group_feature, minlength=len(area)),
        area=area,
        sorted_group=sorted_group,
        sorted_rank=torch.arange(len(patch), device=patch.device) - start[sorted_group],
    )
