"""One pass over the training slides: a step of the optimiser for each, or for several of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sammil_cli.errors import SammilError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.gradients import MeanGradients
from sammil_cli.training.optimisers import learning_rate, make_optimiser

Loader = Callable[[str], Bag]
EpochLog = dict[str, float]


class Run:
    """A model in training: optimiser and random numbers with it, so that it can be stopped and taken up again."""

    def __init__(self, model: MILModel, train: Sequence[tuple[str, int]], recipe: Recipe, seed: int) -> None:
        self._model, self._train, self._recipe = model, train, recipe
        self._parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self._device = self._parameters[0].device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._order = torch.Generator().manual_seed(seed)
        self._optimiser = make_optimiser(model, recipe)
        labels = torch.tensor([label for _, label in train])
        # On the device from the start: a copy per step would make the host wait for it.
        self._labels = labels.to(self._device)
        self._weights = class_weights(labels, model.spec.classes, recipe.class_weights).to(self._device)
        # Of `balanced` sampling: how likely each slide is to be drawn.
        self._chances = class_weights(labels, model.spec.classes, "balanced").double()

    def epoch(self, number: int, load: Loader) -> EpochLog:
        """One pass over the training slides; mean of each loss term, norm of each mean gradient.

        Raises:
            SammilError: a loss is not finite; the message names the slide.
        """
        self._model.train()
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._recipe, number)
        names: list[str] = []
        steps = []
        order = self._draw_order()
        gradients = MeanGradients(self._parameters, len(order), number)
        gathered = _Gathered(self._parameters, self._recipe.accumulate)
        for step, index in enumerate(order):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._recipe.precision == "bfloat16"):
                terms = self._model.losses(load(self._train[index][0]), self._labels[index], self._generator)
            names = names or list(terms)
            gradients.add_terms(step, terms, self._weights[index])
            values = torch.stack(list(terms.values()))
            self._optimiser.zero_grad(set_to_none=True)
            (values.sum() * self._weights[index]).backward()  # type: ignore[no-untyped-call]
            gradients.add_total(step)
            steps.append(values.detach())
            if gathered.is_due(last=step + 1 == len(order)):
                self._clip()
                self._optimiser.step()
                self._model.after_step((number + (step + 1) / len(order)) / self._recipe.epochs)
        seen = torch.stack(steps).double().cpu()  # the only time in an epoch that the host waits for the steps
        lost = (~torch.isfinite(seen).all(dim=1)).nonzero()[:, 0].tolist()
        if lost:
            slide, row = self._train[order[lost[0]]][0], seen[lost[0]].tolist()
            raise SammilError(
                f"the loss is not finite on slide {slide}: "
                + ", ".join(f"{name} {value:g}" for name, value in zip(names, row, strict=True)),
                remedy=f"lower learning_rate{' or consistency_weight' if 'consistency' in names else ''}, "
                "and look at the slide's features",
            )
        means = seen.mean(dim=0).tolist()
        return {
            **{f"loss_{name}": value for name, value in zip(names, means, strict=True)},
            "loss_total": sum(means),
            **{f"gradient_{name}": norm for name, norm in gradients.norms(names).items()},
        }

    def _draw_order(self) -> list[int]:
        """The slides of an epoch, in their order."""
        count = len(self._train)
        if self._recipe.sampling == "fixed":
            return list(range(count))
        if self._recipe.sampling == "balanced":
            drawn = torch.multinomial(self._chances, count, replacement=True, generator=self._order)
        else:
            drawn = torch.randperm(count, generator=self._order)
        found: list[int] = drawn.tolist()
        return found

    def _clip(self) -> None:
        """Each part of the model by itself, where the recipe says so."""
        if self._recipe.clip_norm is not None:
            for part in self._model.children():
                weights = [weight for weight in part.parameters() if weight.grad is not None]
                torch.nn.utils.clip_grad_norm_(weights, self._recipe.clip_norm)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on."""
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
        return tensors | {
            "random.generator": self._generator.get_state(),
            "random.order": self._order.get_state(),
            "random.torch": torch.get_rng_state(),
            **({"random.cuda": torch.cuda.get_rng_state(self._device)} if self._device.type == "cuda" else {}),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes up what `state` gave."""
        self._model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
        self._generator.set_state(tensors["random.generator"])
        self._order.set_state(tensors["random.order"])
        torch.set_rng_state(tensors["random.torch"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)


def class_weights(labels: Tensor, classes: int, kind: str) -> Tensor:
    """The weight of each slide's loss (s,): 1, or inverse to its class's share, 1 on average over slides."""
    if kind == "none":
        return torch.ones(len(labels))
    counts = torch.bincount(labels, minlength=classes)
    weights: Tensor = len(labels) / ((counts > 0).sum() * counts[labels])
    return weights


class _Gathered:
    """The mean gradient of several slides, for one step of the optimiser. Of one slide it is left where it is."""

    def __init__(self, weights: Sequence[Tensor], slides: int) -> None:
        self._weights, self._slides = weights, slides
        self._sums: list[Tensor | None] = [None] * len(weights)
        self._count = 0

    def is_due(self, *, last: bool) -> bool:
        """Takes in the gradient of one slide; whether a step is due, and the weights have the gradient for it."""
        if self._slides == 1:
            return True
        self._count += 1
        for place, weight in enumerate(self._weights):
            if weight.grad is not None:
                before = self._sums[place]
                self._sums[place] = weight.grad if before is None else before + weight.grad
        if self._count < self._slides and not last:
            return False
        for place, weight in enumerate(self._weights):
            total = self._sums[place]
            weight.grad = None if total is None else total / self._slides
            self._sums[place] = None
        self._count = 0
        return True
