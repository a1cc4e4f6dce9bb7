"""The watch itself: it must see what makes a host wait, in the backward pass too."""

from collections.abc import Callable

import pytest
import torch
from op_watch import OpWatch
from torch import Tensor

X = torch.tensor([3.0, 1.0, 2.0, 1.0])
I = torch.tensor([0, 2, 1, 0])  # noqa: E741 - the letter of an index


@pytest.mark.parametrize(
    ("act", "waits"),
    [
        (lambda: X.sum().item(), 1),
        (lambda: float(X[1]), 1),
        (lambda: bool((X > 0).all()), 1),
        (lambda: X[X > 1], 1),
        (lambda: X.clone().__setitem__(X > 1, torch.zeros(())), 1),
        (lambda: X.nonzero(), 1),
        (lambda: torch.masked_select(X, X > 1), 1),
        (lambda: torch.unique(I), 1),
        (lambda: torch.bincount(I), 1),
        (lambda: torch.repeat_interleave(I), 1),
        (lambda: torch.equal(X, X), 1),
        (lambda: torch.tensor([1.0, 2.0]), 1),
        (lambda: torch.repeat_interleave(I, output_size=3), 0),
        (lambda: X[I], 0),
        (lambda: X * 2 + X[1], 0),
        (lambda: torch.where(X > 1, X, X * 0), 0),
        (lambda: X.clone().index_fill_(0, I, 0.0), 0),
    ],
)
def test_operations_that_make_the_host_wait_are_counted(act: Callable[[], object], waits: int) -> None:
    with OpWatch() as watch:
        act()
    assert watch.waits.total() == waits, watch.waits


def test_the_backward_pass_is_seen() -> None:
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient * float(gradient.sum())

    x = X.clone().requires_grad_()
    with OpWatch() as watch:
        value = Slow.apply(x).sum()
        before = watch.waits.total(), watch.ops["mul"]
        value.backward()
    assert before == (0, 1)
    assert (watch.waits.total(), watch.ops["mul"]) == (1, 2)
