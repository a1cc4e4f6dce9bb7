"""Pseudo-bags: a bag split at random, each part with the slide's label (eq. 6 and 11)."""

import torch
from torch import Tensor


def split(count: int, parts: int, generator: torch.Generator, device: torch.device) -> list[Tensor]:
    """A random partition of `count` instances into at most `parts` index tensors of nearly equal size, none empty.

    The released code gives the whole remainder to the last part; here the sizes differ by at most one.
    """
    order = torch.randperm(count, generator=generator, device=device)
    return list(torch.tensor_split(order, max(1, min(parts, count))))
