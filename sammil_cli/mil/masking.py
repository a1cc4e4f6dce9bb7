"""Which instances a training step sees: the three masking strategies (Fig. 3, eq. 5 and 7-10).

Masking removes instances. Eq. 5 and 10 print a product with the mask, but zeroed instances would still take part
in the softmax of the attention; the released code removes them, too.
"""

import torch
from torch import Tensor

STRATEGIES = ("none", "random", "non-group", "sam-guided")
RATIO_FUNCTIONS = ("constant", "linear", "sigmoid")


def mask_ratios(area: Tensor, *, target: float, function: str, slope: float, center: float) -> Tensor:
    """The mask ratio of each group (eq. 7-8): MR_g = MR_target * R(A_g).

    sigmoid: R = 1 / (1 + exp(-slope (A - center))), so that a = slope and b = -slope * center in eq. 7.
    constant: R = 1. linear: R = A / max A; the paper names both (Table 4) and defines neither.

    Args:
        area: (z,) areas of the groups in pixels of the paper's canvas, all > 0.

    Returns:
        (z,) ratios between 0 and `target`, float64.
    """
    exact = area.double()  # 0.9 in single precision is less than 0.9, and 0.9 * 1000 would mask 899
    if function == "constant":
        ratio = torch.ones_like(exact)
    elif function == "linear":
        ratio = exact / exact.max().clamp(min=1)
    else:
        ratio = torch.sigmoid(slope * (exact - center))
    return target * ratio


def keep_random(count: int, ratio: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count,) bool: floor(count * ratio) of them False, at random."""
    ratios = torch.full((1,), ratio, dtype=torch.float64, device=device)
    return keep_in_groups(torch.zeros(count, dtype=torch.int64, device=device), ratios, generator)


def keep_in_groups(group: Tensor, ratio: Tensor, generator: torch.Generator) -> Tensor:
    """Drops floor(n_g * MR_g) instances of each group at random (eq. 9), all groups in one draw.

    Args:
        group: (n,) int64 in 0 … z - 1.
        ratio: (z,) mask ratio of each group.

    Returns:
        (n,) bool, True = kept. At least one instance is kept over all.
    """
    n = len(group)
    draw = torch.rand(n, generator=generator, device=group.device)
    by_draw = torch.argsort(draw)
    order = by_draw[torch.argsort(group[by_draw], stable=True)]  # group by group, shuffled inside
    size = torch.bincount(group, minlength=len(ratio))
    start = torch.cumsum(size, 0) - size
    rank = torch.empty_like(group)
    rank[order] = torch.arange(n, device=group.device) - start[group[order]]
    # 0.3 * 10 is 2.9999… in floating point: a hair is added so that whole numbers stay whole.
    drop = torch.floor(size * ratio.double() + 1e-6).long()
    keep = rank >= drop[group]
    if n and not bool(keep.any()):
        keep[by_draw[0]] = True
    return keep


def keep_instances(
    strategy: str,
    region: Tensor,
    patches: int,
    region_area: Tensor,
    *,
    target: float,
    function: str,
    slope: float,
    center: float,
    generator: torch.Generator,
) -> Tensor:
    """The composite mask over all instances (eq. 9): (N,) bool, True = kept.

    - `none`: all are kept. `random` (a): any instance may go, group features too, at the target ratio.
    - `non-group` (b): group features stay, patches go at the target ratio.
    - `sam-guided` (c): group features stay; patches go group by group at MR_g. A group is a region; patches outside
      every region are a group of their own, of area 1, as in the released code: they are hardly ever masked.

    Args:
        region: (N,) region of each instance, the first `patches` of them patches, the others group features.
        region_area: (m,) see `contract.Bag`.
    """
    total = len(region)
    if strategy == "none":
        return torch.ones(total, dtype=torch.bool, device=region.device)
    if strategy == "random":
        return keep_random(total, target, generator, region.device)
    keep = torch.ones(total, dtype=torch.bool, device=region.device)
    if strategy == "non-group":
        keep[:patches] = keep_random(patches, target, generator, region.device)
        return keep
    area = torch.cat([region_area.new_ones(1), region_area])  # group 0: patches in no region
    ratio = mask_ratios(area, target=target, function=function, slope=slope, center=center)
    keep[:patches] = keep_in_groups(region[:patches] + 1, ratio, generator)
    return keep
