"""CLAM's instance branch (Lu et al. 2021; docs/methods.md §5).

A classifier of each class learns to separate the instances with the most attention from those with the least.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

AT_EACH_END = 8  # B: instances with the most attention, and as many with the least
_FAR_APART = math.log(1000)  # of scores: the smooth maximum is the maximum


def instance_loss(
    scores: Tensor, embedded: Tensor, classifiers: Iterable[nn.Linear], label: Tensor, *, svm: bool, subtyping: bool
) -> Tensor:
    """The loss of the bag's own class; with `subtyping` the mean over all classes.

    For the bag's class, the 8 instances with the most attention have target 1 and the 8 with the least have target 0;
    for another class, the 8 with the most have target 0. A bag of fewer than 8 instances gives all of them.

    Args:
        scores: (C, N), attention of each class before the softmax; only their order counts.
        embedded: (N, h).
        classifiers: of each class, Linear(h, 2).
        label: () int64.
        svm: smooth top-1 SVM, or cross-entropy.

    Returns:
        () the loss.
    """
    layers = tuple(classifiers)
    weight, bias = torch.stack([one.weight for one in layers]), torch.stack([one.bias for one in layers])
    asked = torch.arange(len(layers), device=label.device) if subtyping else label[None]  # (m,) classes
    count = min(AT_EACH_END, len(embedded))
    rows = scores.detach()[asked]
    most, least = rows.topk(count).indices, rows.topk(count, largest=False).indices  # (m, k)
    logits = torch.baddbmm(bias[asked][:, None], embedded[torch.cat([most, least], dim=1)], weight[asked].mT)
    own = asked == label
    targets = torch.cat([own.long()[:, None].expand_as(most), torch.zeros_like(least)], dim=1)
    each = smooth_svm(logits, targets) if svm else cross_entropy(logits.mT, targets, reduction="none")  # (m, 2 k)
    return torch.where(own, each.mean(dim=1), each[:, :count].mean(dim=1)).mean()


def smooth_svm(scores: Tensor, labels: Tensor) -> Tensor:
    """Smooth top-1 SVM (Berrada et al. 2018) with α = τ = 1: log Σ_j exp(s_j + [j ≠ y] − s_y).

    Where the two largest scores lie ln 1000 or more apart it is the maximum of the exponents.

    Args:
        scores: (…, K). labels: (…) int64.

    Returns:
        (…) the loss of each sample.
    """
    other = torch.arange(scores.shape[-1], device=labels.device) != labels[..., None]
    exponents = scores - scores.gather(-1, labels[..., None]) + other
    first, second = scores.detach().topk(2).values.unbind(-1)
    return torch.where(first - second >= _FAR_APART, exponents.amax(dim=-1), exponents.logsumexp(dim=-1))
