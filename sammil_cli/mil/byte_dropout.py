"""Dropout by random bytes, joined with the activation before it; its share is in steps of 1/256 (0.25 is exact).

The zeros of the result are the mask: nothing else is kept for the backward pass. A Bernoulli draw for each value would
cost several times as much.
"""

from typing import Any

import torch
from torch import Tensor

_BYTE = 256
_BLOCK_VALUES = 1 << 20  # drawn at once: they stay in a core's cache


def in_bytes(share: float) -> tuple[int, float]:
    """Of 256 byte values, how many zero what they are drawn for; and the factor of what is left, which is something."""
    drop = min(round(share * _BYTE), _BYTE - 1)
    return drop, _BYTE / (_BYTE - drop)


def drop_(values: Tensor, drop: int, generator: torch.Generator | None) -> Tensor:
    """Zeroes values in place, each with probability drop / 256; scales none. None = torch's own random numbers."""
    return gate_(values, random_bytes(values.shape, generator, values.device).to(values.dtype), drop - 0.5)


def relu_dropout(values: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Dropout of relu(values)."""
    found: Tensor = _ReluDropout.apply(values, *in_bytes(share), generator)  # type: ignore[no-untyped-call]
    return found


def gated_dropout(a: Tensor, b: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Dropout of tanh(a) ⊙ sigmoid(b), the gate of gated attention."""
    found: Tensor = _GatedDropout.apply(a, b, *in_bytes(share), generator)  # type: ignore[no-untyped-call]
    return found


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, drop: int, scale: float, generator: torch.Generator | None) -> Tensor:
        result = torch.mul(values, scale).relu_()
        if drop:
            _drop_rows_(result, drop, generator)
        ctx.save_for_backward(result)
        ctx.scale = scale
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (result,) = ctx.saved_tensors
        # Above 0 exactly where the relu was open and the value was kept.
        slope = torch.ops.aten.threshold_backward(gradients[0], result, 0)
        return slope.mul_(ctx.scale), None, None, None


class _GatedDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, drop: int, scale: float, generator: torch.Generator | None) -> Tensor:
        tanh, sigmoid = torch.tanh(a), torch.sigmoid(b)
        if drop:  # a sigmoid is 0 nowhere else, or so near that its slope is, too
            _drop_rows_(sigmoid, drop, generator)
        ctx.save_for_backward(tanh, sigmoid)
        ctx.scale = scale
        return (tanh * sigmoid).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tanh, sigmoid = ctx.saved_tensors
        slope = (gradients[0] * ctx.scale).mul_(sigmoid)  # 0 where it was dropped
        d_a = torch.ops.aten.tanh_backward(slope, tanh)
        d_b = slope.mul_(tanh).addcmul_(slope, sigmoid, value=-1)
        return d_a, d_b, None, None, None


def _drop_rows_(values: Tensor, drop: int, generator: torch.Generator | None) -> None:
    for rows in torch.split(values, max(1, _BLOCK_VALUES // values.shape[-1])):
        drop_(rows, drop, generator)


def gate_(values: Tensor, gate: Tensor, limit: float) -> Tensor:
    """Zeroes values in place where the gate is not above the limit: one pass, and no boolean tensor in between."""
    torch.ops.aten.threshold_backward.grad_input(values, gate, limit, grad_input=values)
    return values


def random_bytes(shape: torch.Size, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform uint8, eight from each 64-bit draw: several times faster than a draw per value."""
    size = shape.numel()
    words = torch.empty(-(-size // 8), dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[:size].view(shape)
