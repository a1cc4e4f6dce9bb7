"""Consistency of attention with the regions (eq. 12, Appendix F): three readings, each linear or n log n in cost.

The paper gives two definitions that differ and the released code a third (docs/methods.md §10.5); each is a choice
here. All act on the attention of the model that is trained, so that they have a gradient; the released code does not.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_TINY = 1e-20  # the root has no gradient at 0: groups of equal attention start flat instead of at NaN


def distance(attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Mean over instances i of sqrt(sum_j (a_i - a_j)^2), j over the instances of i's group: the released formula.

    Groups with fewer than two instances do not count. In closed form,
    sum_j (a_i - a_j)^2 = n (a_i - mean)^2 + sum_j (a_j - mean)^2, so that the cost is linear.

    Args:
        attention: (N,) softmax weights. group: (N,) int64, 0 … z - 1. size: (z,) int64, instances of each group.

    Returns:
        () the loss; 0 when no group has two instances.
    """
    deviation, spread = _within(attention, group, size)
    own_size = size[group].to(attention.dtype)
    root = torch.sqrt(own_size * deviation + spread[group] + _TINY)
    counts = (own_size >= 2).to(attention.dtype)
    return (root * counts).sum() / counts.sum().clamp(min=1)


def variance(attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Sum over groups of the variance of attention inside the group (Appendix F, in words): linear cost.

    Args and returns as `distance`.
    """
    _, spread = _within(attention, group, size)
    return (spread / size.clamp(min=1)).sum()


def between(attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Eq. 12: mean similarity 1 - |a_i - a_j| of pairs from different groups, which the loss pushes apart.

    The paper leaves the similarity open and prints a sum, which grows with N²; a mean does not. Sorted, the sum of
    |a_i - a_j| over pairs is a weighted sum of the a: once over all instances, once inside the groups.

    Args and returns as `distance`; 0 when there is one group only.
    """
    n = len(attention)
    by_value = torch.argsort(attention.detach())
    by_group = by_value[torch.argsort(group[by_value], stable=True)]
    rank = torch.arange(n, device=group.device)
    rank_inside = rank - (torch.cumsum(size, 0) - size)[group[by_group]]
    weight_all = (2 * rank - (n - 1)).to(attention.dtype)
    weight_inside = (2 * rank_inside - (size[group[by_group]] - 1)).to(attention.dtype)
    apart = (weight_all * attention[by_value]).sum() - (weight_inside * attention[by_group]).sum()
    pairs = (n * (n - 1) - (size * (size - 1)).sum()) / 2
    return torch.where(pairs > 0, 1 - apart / pairs.clamp(min=1), apart * 0).to(attention.dtype)


def _within(attention: Tensor, group: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Squared deviation from the group's mean (N,) and its sum over each group (z,)."""
    zeros = attention.new_zeros(len(size))
    mean = zeros.index_add(0, group, attention) / size.clamp(min=1)
    deviation = (attention - mean[group]) ** 2
    return deviation, zeros.index_add(0, group, deviation)


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "distance": distance,
    "variance": variance,
    "eq12": between,
}
