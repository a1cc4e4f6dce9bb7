"""Pseudo-bags: a bag split at random, each part with the slide's label (eq. 6 and 11)."""

import torch
from torch import Tensor

_BLOCK = 1 << 14  # patch-region pairs whose features are added up at once


def divide(
    features: Tensor, groups: int, parts: int, pairs: tuple[Tensor, Tensor] | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Eq. 6: which of the N = n + g instances each pseudo-bag has.

    Args:
        features: (n, d) of the patches. groups: g, the group features among the instances.
        pairs: None = the instances are divided, group features among them, as in the released code. Otherwise the
            patch and the group feature of each patch-region pair, (k,) int64 each: the patches are divided, and each
            part has the group features of its own patches (ℱ_SAM after Divide, as eq. 6 reads).

    Returns:
        (parts, N + e) bool members, and the e group features that only pseudo-bags have: (e, d), or None of none.
    """
    device, patches = features.device, len(features)
    if pairs is None or not groups:
        part, parts = draw_parts(patches + groups, parts, generator, device)
        return part == torch.arange(parts, device=device)[:, None], None
    part, parts = draw_parts(patches, parts, generator, device)
    means, size = _means(features, part[pairs[0]] * groups + pairs[1], pairs[0], parts * groups)
    place = torch.arange(parts, device=device)[:, None]
    own = (torch.arange(parts * groups, device=device) // groups == place) & (size > 0)
    return torch.cat([part == place, own.new_zeros(parts, groups), own], dim=1), means


def _means(features: Tensor, cell: Tensor, patch: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The mean feature of each cell (eq. 3), at least in float32, and its size; pair i puts `patch[i]` in `cell[i]`."""
    kind = torch.promote_types(features.dtype, torch.float32)
    sums = torch.zeros(cells, features.shape[1], dtype=kind, device=features.device)
    for rows in range(0, len(cell), _BLOCK):
        some = slice(rows, rows + _BLOCK)
        sums.index_add_(0, cell[some], features[patch[some]].to(kind))
    size = sums.new_zeros(cells).index_add_(0, cell, sums.new_ones(len(cell)))
    return sums / size.clamp(min=1)[:, None], size


def draw_parts(
    count: int, parts: int, generator: torch.Generator, device: torch.device, *, remainder_last: bool = False
) -> tuple[Tensor, int]:
    """A random partition of `count` instances into at most `parts` parts of nearly equal size, none empty.

    Args:
        remainder_last: each part has floor(count / parts) instances and the last one the remainder besides, as in
            the released code; otherwise sizes differ by at most one.

    Returns:
        (count,) int64 the part of each instance, and the number of parts.
    """
    parts = max(1, min(parts, count))
    place = torch.arange(count, device=device)
    part = (place // (count // parts)).clamp(max=parts - 1) if remainder_last else place * parts // max(count, 1)
    order = torch.randperm(count, generator=generator, device=device)
    return torch.empty_like(part).index_copy_(0, order, part), parts
