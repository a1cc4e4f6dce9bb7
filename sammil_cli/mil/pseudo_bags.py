"""Pseudo-bags: a bag split at random, each part with the slide's label (eq. 6 and 11)."""

import torch
from torch import Tensor


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
