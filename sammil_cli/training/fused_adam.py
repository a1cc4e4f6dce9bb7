"""Adam and AdamW through torch's fused kernel."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

_EPSILON = 1e-8

Moments = dict[int, dict[str, Tensor]]


class WeightGroup(TypedDict):
    """Weights, and the learning rate of their next step."""

    params: list[nn.Parameter]
    lr: float


class FusedAdam:
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) where `decoupled`, with torch's bits.

    `torch.optim.Adam(fused=True)` calls the same kernel; but its constructor loads torch's compiler, which takes longer
    than a small training, and its step gathers anew what never changes here. The methods are those that a training uses
    of `torch.optim.Optimizer`.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float],
        *,
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        self.param_groups: list[WeightGroup] = [{"params": list(weights), "lr": learning_rate}]
        self._weights, self._betas, self._weight_decay = list(weights), betas, weight_decay
        self._update = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._state: Moments = {}

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        for weight in self._weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves the weights that have a gradient."""
        moved = [number for number, weight in enumerate(self._weights) if weight.grad is not None]
        if not moved:
            return
        states = [self._state.get(number) or self._begin(number) for number in moved]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        self._update(
            [self._weights[number] for number in moved],
            [gradient for number in moved if (gradient := self._weights[number].grad) is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            amsgrad=False,
            lr=self.param_groups[0]["lr"],
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=self._weight_decay,
            eps=_EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Moments]:
        """`state`: by the number of each weight that has moved, `step`, `exp_avg` and `exp_avg_sq`, as torch has it."""
        return {"state": {number: dict(state) for number, state in self._state.items()}}

    def load_state_dict(self, state: Mapping[str, Moments]) -> None:
        """Takes up what `state_dict` gave."""
        self._state = {
            number: {name: value.to(self._weights[number].device).clone() for name, value in moments.items()}
            for number, moments in state["state"].items()
        }

    def _begin(self, number: int) -> dict[str, Tensor]:
        weight = self._weights[number]
        zeros = torch.zeros_like(weight, memory_format=torch.preserve_format)
        step = torch.zeros((), dtype=torch.float32, device=weight.device)
        self._state[number] = {"step": step, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}
        return self._state[number]
