"""The optimisers and learning-rate schedules that a recipe names."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RAdam

from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.fused_adam import FusedAdam

_STEP_FACTOR = 0.2  # of `step`, from the middle of the epochs on: DTFD-MIL's
_LOOKAHEAD_EVERY, _LOOKAHEAD_SHARE = 6, 0.5  # k and α of TransMIL's


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    high, low = recipe.learning_rate, recipe.final_learning_rate
    if recipe.schedule == "cosine":
        return low + (high - low) * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
    if recipe.schedule == "step":
        return high * (_STEP_FACTOR if epoch >= recipe.epochs // 2 else 1.0)
    return high


def make_optimiser(model: nn.Module, recipe: Recipe) -> Optimizer | FusedAdam:
    """The recipe's optimiser over all weights that learn."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if recipe.optimiser == "lookahead-radam":
        return LookaheadRAdam(weights, recipe)
    decoupled = recipe.optimiser == "adamw"
    decay = recipe.weight_decay
    return FusedAdam(weights, recipe.learning_rate, recipe.betas, weight_decay=decay, decoupled=decoupled)


class LookaheadRAdam(RAdam):
    """RAdam whose weights, after every 6th step, go half of the way back to where they were 6 steps ago.

    Lookahead as TransMIL trains with it (Zhang et al. 2019; docs/methods.md §6). Weight decay is left out for biases
    and norms, that is for every tensor of one dimension.
    """

    def __init__(self, weights: Sequence[nn.Parameter], recipe: Recipe) -> None:
        matrices = [weight for weight in weights if weight.ndim > 1]
        super().__init__(matrices, recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay)
        self.add_param_group({"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """See `RAdam.step`."""
        for weight in self._weights():  # where it starts from; kept with the moments, so that a checkpoint has it
            if weight.grad is not None and "slow" not in self.state[weight]:
                self._first(weight)
        found: float | None = super().step(closure)
        for weight in self._weights():
            state = self.state[weight]
            if "slow" in state and int(state["step"]) % _LOOKAHEAD_EVERY == 0:
                slow: Tensor = state["slow"]
                slow.lerp_(weight, _LOOKAHEAD_SHARE)
                weight.copy_(slow)
        return found

    def _first(self, weight: nn.Parameter) -> None:
        """What RAdam would set up at the first step, and the slow weights."""
        zeros = torch.zeros_like(weight, memory_format=torch.preserve_format)
        self.state[weight].update(
            step=torch.tensor(0.0), exp_avg=zeros, exp_avg_sq=zeros.clone(), slow=weight.detach().clone()
        )

    def _weights(self) -> list[nn.Parameter]:
        return [weight for group in self.param_groups for weight in group["params"]]
