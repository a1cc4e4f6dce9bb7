"""Masks by attention: MHIM-MIL hides from its student what its teacher finds easy (docs/methods.md §9).

HAM hides the instances of highest attention, or a random share of the highest; LAM those of lowest; RAM any. Hybrids
hide the union.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_HAIR = 1e-6  # 0.07 * 100 is a little over 7 in floating point: whole numbers stay whole


@dataclass(frozen=True, kw_only=True)
class MaskShares:
    """How much of a bag is hidden; each is a share of its instances, 0 … 1.

    `high_share`: the share of the highest `high` / `high_share` that is hidden, drawn at random; 1 = HAM itself.
    `by_vote`: of several heads each marks its highest (lowest), and the instances with most marks are meant; of equal
    marks those of higher (lower) mean attention. Otherwise all that any head finds, each only its part of the number.
    """

    random: float
    low: float
    high: float
    high_share: float
    by_vote: bool


def kept(weights: Tensor, shares: MaskShares, generator: torch.Generator) -> Tensor:
    """The instances that are not hidden, in their order: (k,) int64. A mask that would hide all of them hides none.

    Args:
        weights: (h, N) attention of the heads.
        generator: on the device of `weights`.
    """
    count, device = weights.shape[1], weights.device
    hidden = torch.zeros(count, dtype=torch.bool, device=device)
    hide_random = _share(shares.random, count)
    if hide_random:
        hidden.index_fill_(0, torch.randperm(count, generator=generator, device=device)[:hide_random], True)
    if shares.low > 0:
        hidden.index_fill_(0, most(-weights, _share(shares.low, count), shares.by_vote), True)
    if shares.high > 0:
        # Where more than all would be drawn from, they are drawn from all.
        highest = most(weights, min(count, _share(shares.high / shares.high_share, count)), shares.by_vote)
        share = max(shares.high_share, shares.high)
        drawn = torch.randperm(len(highest), generator=generator, device=device)[: _share(share, len(highest))]
        hidden.index_fill_(0, highest[drawn], True)
    left = (~hidden).nonzero()[:, 0]
    return left if len(left) else torch.arange(count, device=device)


def most(weights: Tensor, number: int, by_vote: bool) -> Tensor:
    """The instances of most weight to the heads, see `MaskShares`: int64, `number` of them where they are voted for.

    Args:
        weights: (h, N).
    """
    heads, count = weights.shape
    if heads == 1:
        return torch.topk(weights[0], number).indices
    if not by_vote:
        marked = torch.zeros(count, dtype=torch.bool, device=weights.device)
        marked.index_fill_(0, torch.topk(weights, number // heads).indices.flatten(), True)
        return marked.nonzero()[:, 0]
    chosen = torch.topk(weights, number).indices.flatten()
    votes = torch.zeros(count, dtype=torch.int64, device=weights.device).index_add(0, chosen, torch.ones_like(chosen))
    by_mean = torch.argsort(weights.mean(dim=0), descending=True, stable=True)
    return by_mean[torch.argsort(votes[by_mean], descending=True, stable=True)[:number]]


def _share(share: float, count: int) -> int:
    """⌈share · count⌉."""
    return math.ceil(share * count - _HAIR)
