"""Consistency of attention with the regions (eq. 12, Appendix F): four forms, each linear or n log n in cost.

The paper gives two definitions that differ and the released code a third; the gradient of all three falls as a bag
grows. `divergence` is ours and has one scale for every bag (docs/methods.md §10.5). All act on the attention of the
model that is trained, so that they have a gradient; the released code does not. Patches in no region take no part.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sammil_cli.mil.groups import Members

_LEAST_MEAN = 1e-300  # what weighs less adds nothing, but its logarithm would be infinite
_TINY = 1e-20  # the root has no gradient at 0: groups of equal attention start flat instead of at NaN


def consistency(form: str, scores: Tensor, members: Members) -> Tensor:
    """The term in one of `FORMS`.

    Args:
        scores: (N,) what the attention is the softmax of, over all instances: those in no region have their share of
            it, and no part in the term.

    Returns:
        () the loss, of the scores' type, computed in double precision: N numbers cost nothing beside their embedding.
    """
    log_attention = torch.log_softmax(scores, dim=0, dtype=torch.float64)
    inside = log_attention.index_select(0, members.place)
    return FORMS[form](inside, members.group, members.size).to(scores.dtype)


def divergence(log_attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """sum_k A_k sum_i p_i log(n_k p_i): how far attention diverges from its mean inside regions, alike for any N.

    A_k is the attention of group k, p_i = a_i / A_k its distribution inside, n_k the group's size. A_k weighs and gets
    no gradient: no region is pushed against another. The gradient by a score is a_i (log(n_k p_i) - L_k), with L_k the
    inner sum, which lies between 0 and log n_k. Attention that underflows, of an instance or a group, counts as 0.

    Args and returns as `distance`.
    """
    sums = log_attention.new_zeros(len(size)).index_add(0, group, log_attention.exp())
    mean = sums / size.clamp(min=1)  # A_k / n_k
    excess = log_attention - mean.clamp(min=_LEAST_MEAN).log().index_select(0, group)  # log(n_k p_i)
    return (mean.detach().index_select(0, group) * excess.exp() * excess).sum()


def distance(log_attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Mean over instances i of sqrt(sum_j (a_i - a_j)^2), j over the instances of i's group: the released formula.

    Groups with fewer than two instances do not count. In closed form,
    sum_j (a_i - a_j)^2 = n (a_i - mean)^2 + sum_j (a_j - mean)^2, so that the cost is linear.

    Args:
        log_attention: (c,) logarithm of the attention of the instances in a region. group: (c,) int64, 0 … z - 1.
        size: (z,) int64, instances of each group.

    Returns:
        () the loss; 0 when no group has two instances.
    """
    deviation, spread = _within(log_attention.exp(), group, size)
    own_size = size[group].to(deviation.dtype)
    root = torch.sqrt(own_size * deviation + spread.index_select(0, group) + _TINY)
    counts = (own_size >= 2).to(deviation.dtype)
    return (root * counts).sum() / counts.sum().clamp(min=1)


def variance(log_attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Sum over groups of the variance of attention inside the group (Appendix F, in words): linear cost.

    Args and returns as `distance`.
    """
    _, spread = _within(log_attention.exp(), group, size)
    return (spread / size.clamp(min=1)).sum()


def between(log_attention: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Eq. 12: mean similarity 1 - |a_i - a_j| of pairs from different groups, which the loss pushes apart.

    The paper leaves the similarity open and prints a sum, which grows with N²; a mean does not. Sorted, the sum of
    |a_i - a_j| over pairs is a weighted sum of the a: once over all instances, once inside the groups.

    Args and returns as `distance`; 0 when there is one group only.
    """
    attention, n = log_attention.exp(), len(log_attention)
    by_value = torch.argsort(log_attention.detach())
    by_group = by_value[torch.argsort(group[by_value], stable=True)]
    rank = torch.arange(n, device=group.device)
    rank_inside = rank - (torch.cumsum(size, 0) - size)[group[by_group]]
    weight_all = (2 * rank - (n - 1)).to(attention.dtype)
    weight_inside = (2 * rank_inside - (size[group[by_group]] - 1)).to(attention.dtype)
    apart = (weight_all * attention[by_value]).sum() - (weight_inside * attention[by_group]).sum()
    pairs = (n * (n - 1) - (size * (size - 1)).sum()) / 2
    return torch.where(pairs > 0, 1 - apart / pairs.clamp(min=1), apart * 0).to(attention.dtype)


def _within(attention: Tensor, group: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Squared deviation from the group's mean (c,) and its sum over each group (z,)."""
    zeros = attention.new_zeros(len(size))
    mean = zeros.index_add(0, group, attention) / size.clamp(min=1)
    deviation = (attention - mean.index_select(0, group)) ** 2
    return deviation, zeros.index_add(0, group, deviation)


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "divergence": divergence,
    "distance": distance,
    "variance": variance,
    "eq12": between,
}
