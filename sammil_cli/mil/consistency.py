"""Consistency of attention inside a region (Appendix F): instances of one region should weigh alike."""

import torch
from torch import Tensor

_TINY = 1e-20  # the root has no gradient at 0: groups of equal attention start flat instead of at NaN


def region_consistency(attention: Tensor, region: Tensor, regions: int) -> Tensor:
    """Mean over instances i of sqrt(sum_j (a_i - a_j)^2), j over the instances of i's region.

    Regions with fewer than two instances do not count; instances in no region (-1) are one more group. This is the
    form of the released code (METHODS §10.5), here on the trained model, where it has a gradient. In closed form,
    sum_j (a_i - a_j)^2 = n (a_i - mean)^2 + sum_j (a_j - mean)^2, so that the cost is linear.

    Args:
        attention: (N,) softmax weights.
        region: (N,) int64, -1 … regions - 1.

    Returns:
        () the loss; 0 when no region has two instances.
    """
    group = region + 1
    size = torch.bincount(group, minlength=regions + 1).to(attention.dtype)
    zeros = attention.new_zeros(regions + 1)
    mean = zeros.index_add(0, group, attention) / size.clamp(min=1)
    deviation = (attention - mean[group]) ** 2
    spread = zeros.index_add(0, group, deviation)
    distance = torch.sqrt(size[group] * deviation + spread[group] + _TINY)
    counts = (size[group] >= 2).to(attention.dtype)
    return (distance * counts).sum() / counts.sum().clamp(min=1)
