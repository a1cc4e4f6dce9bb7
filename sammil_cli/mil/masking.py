"""Which instances a training step sees: the masking strategies (Fig. 3, eq. 5 and 7-10).

Masking removes instances. Eq. 5 and 10 print a product with the mask, but zeroed instances would still take part
in the softmax of the attention; the released code removes them, too.
"""

from typing import Literal

import torch
from torch import Tensor

from sammil_cli.mil.groups import Groups

PAPER_CENTER = 5000.0  # pixels of the canvas: where the paper's code centres eq. 7
_HAIR = 1e-6  # 0.29 * 100 is 28.9999… in floating point: a hair is added so that whole numbers stay whole


def mask_ratios(area: Tensor, *, target: float, function: str, slope: float, center: float) -> Tensor:
    """The mask ratio of each group (eq. 7-8): MR_g = MR_target * R(A_g).

    sigmoid: R = 1 / (1 + exp(-slope (A - center))), so that a = slope and b = -slope * center in eq. 7.
    constant: R = 1. linear: R = A / max A; the paper names both (Table 4) and defines neither.

    Args:
        area: (z,) areas of the groups in pixels of the paper's canvas; 0 where a group has no patch.

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
    """(count,) bool: floor(count * ratio) of them False, at random; at least one stays True."""
    drop = min(int(count * ratio + _HAIR), count - 1)
    keep = torch.ones(count, dtype=torch.bool, device=device)
    if drop > 0:
        gone = torch.randperm(count, generator=generator, device=device)[:drop]
        keep.index_fill_(0, gone, False)  # an assignment would copy the False to the device, and wait
    return keep


def keep_in_groups(groups: Groups, ratio: Tensor, generator: torch.Generator) -> Tensor:
    """Drops floor(n_g * MR_g) patches of each group at random (eq. 9), all groups in one draw.

    Args:
        ratio: (z,) mask ratio of each group, < 1: each group keeps at least one patch.

    Returns:
        (n,) bool, True = kept.
    """
    patch = groups.patch
    draw = torch.rand(len(patch), generator=generator, device=patch.device, dtype=torch.float64)
    order = torch.argsort(patch + draw)  # group by group, shuffled inside
    drop = torch.floor(groups.size * ratio.double() + _HAIR).long().minimum(groups.size - 1)
    keep = torch.empty_like(patch, dtype=torch.bool)
    keep[order] = groups.sorted_rank >= drop[groups.sorted_group]
    return keep


def keep_instances(
    strategy: str,
    groups: Groups,
    *,
    group_features: bool,
    target: float,
    function: str,
    slope: float,
    center: float | Literal["median"],
    generator: torch.Generator,
) -> Tensor:
    """The composite mask over all instances (eq. 9): (N,) bool, True = kept; patches first, then group features.

    - `none`: all are kept. `random` (a): any instance may go, group features too, at the target ratio.
    - `non-group` (b): group features stay, patches go at the target ratio.
    - `sam-guided` (c): group features stay; patches go group by group at MR_g. Patches outside every region are a
      group of their own, of area 1, as in the released code: they are hardly ever masked.

    With `center` the word `median`, areas count in units in which the slide's median region has the paper's 5000 px:
    the mask is the same whatever size its regions have.
    """
    patches, device = len(groups.patch), groups.patch.device
    total = len(groups.instance) if group_features else patches
    if strategy == "random":
        return keep_random(total, target, generator, device)
    keep = torch.ones(total, dtype=torch.bool, device=device)
    if strategy == "non-group":
        keep[:patches] = keep_random(patches, target, generator, device)
    elif strategy == "sam-guided":
        area = groups.area.masked_fill(groups.size == 0, 0)  # a region without patches is no measure for `linear`
        if center == "median":
            area = area * (PAPER_CENTER / groups.median_area)
            center = PAPER_CENTER
        ratio = mask_ratios(area, target=target, function=function, slope=slope, center=center)
        keep[:patches] = keep_in_groups(groups, ratio, generator)
    return keep
