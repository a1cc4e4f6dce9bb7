"""How hard each loss term pulls at the weights: the norm of its gradient, averaged over an epoch."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

MOST_STEPS = 64  # of an epoch, averaged over
APART = 16  # of all steps of a long training, one in so many is averaged over


class MeanGradients:
    """Averages the gradient of each loss term over the steps of an epoch, as the optimiser is given it.

    One step's norm misleads: a term that pulls the same way on every slide has a small one in each step and a large
    one on average, where classification mostly cancels. So the gradients are averaged first, then their norm is taken.

    An epoch of up to `MOST_STEPS` steps is averaged over all of them, a longer one over `MOST_STEPS` evenly spaced
    steps; not every epoch is, see `is_averaged`. Each of these steps costs one extra backward pass for every term but
    the first, whose gradient is the total's minus the others'. Training itself stays the same to the bit; each term
    takes as much memory as the weights; no step waits for the device.

    Args:
        parameters: the weights. steps: how many the epoch has. epoch: its number, from 0.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], steps: int, epoch: int) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        count = min(steps, MOST_STEPS) if is_averaged(epoch, steps) else 0
        self._counted = {number * steps // count for number in range(count)}
        self._first: str | None = None
        self._total = _Sum(self._parameters)
        self._others: dict[str, _Sum] = {}

    def add_terms(self, step: int, terms: Mapping[str, Tensor], weight: Tensor) -> None:
        """Takes in a step's terms before the backward pass of their sum; `weight` () is the slide's."""
        if step not in self._counted:
            return
        pulling = {name: term for name, term in terms.items() if term.requires_grad}
        if self._first is None:
            self._first = next(iter(pulling), None)
        for name, term in pulling.items():
            if name != self._first:
                found = torch.autograd.grad(term * weight, self._parameters, retain_graph=True, allow_unused=True)
                self._others.setdefault(name, _Sum(self._parameters)).add(found)

    def add_total(self, step: int) -> None:
        """Takes in the same step's gradient of all terms, after their backward pass."""
        if step in self._counted:
            self._total.add(parameter.grad for parameter in self._parameters)

    def norms(self, names: Iterable[str]) -> dict[str, float]:
        """L2 norm of the averaged gradient of each of these terms; NaN for one that has no gradient, and of an epoch
        that is not averaged.
        """
        for other in self._others.values():
            self._total.subtract(other)
        sums = self._others if self._first is None else {self._first: self._total, **self._others}
        found = torch.stack([one.norm() for one in sums.values()]) / len(self._counted) if sums else torch.empty(0)
        known = dict(zip(sums, found.tolist(), strict=True))
        return {name: known.get(name, float("nan")) for name in names}


def is_averaged(epoch: int, steps: int) -> bool:
    """Whether the gradients of an epoch (from 0) of so many steps are averaged: of the first two, then of so many that
    one step in `APART` counts.
    """
    return epoch < 2 or epoch % math.ceil(APART * min(steps, MOST_STEPS) / steps) == 0


class _Sum:
    """A running sum of gradients, a tensor for each weight."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._values = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]

    def add(self, gradients: Iterable[Tensor | None]) -> None:
        for value, gradient in zip(self._values, gradients, strict=True):
            if gradient is not None:
                value += gradient

    def subtract(self, other: "_Sum") -> None:
        for value, less in zip(self._values, other._values, strict=True):
            value -= less

    def norm(self) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in self._values]))
        return norm
