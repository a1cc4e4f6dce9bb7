"""Training one fold: Adam, cosine schedule, one bag per step, early stopping on validation (docs/methods.md §0)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor

from sammil_cli.errors import SammilError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from sammil_cli.training.gradients import MeanGradients

Loader = Callable[[str], Bag]
EpochLog = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a fold is trained. Early stopping: no better epoch for `patience` epochs, not before `min_epochs`."""

    epochs: int
    patience: int
    min_epochs: int
    learning_rate: float
    weight_decay: float
    class_weights: str = "none"
    precision: str = "float32"


@dataclass
class Trained:
    """The chosen epoch of a fold: `state` are its weights, `val_probabilities` (v, C) what it says of validation."""

    state: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = -1
    val_auc: float = float("nan")
    val_loss: float = float("inf")
    val_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    every_epoch: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 0)))  # (E, v, C)


def train_fold(
    model: MILModel,
    load: Loader,
    train: Sequence[tuple[str, int]],
    val: Sequence[tuple[str, int]],
    recipe: Recipe,
    *,
    seed: int,
    log: Callable[[int, EpochLog], None],
    checkpoint: Path | None = None,
) -> Trained:
    """Trains a model in place and returns its best epoch.

    The best epoch has the largest validation AUC; of equals, the smallest validation loss. (The published loop takes
    the first of equals, which on small validation parts is an early, untrained epoch.)

    Args:
        load: slide id -> bag; called for `train` and `val` slides only.
        train, val: slide ids with their labels.
        log: called after each epoch with its mean loss terms, the norm of each term's averaged gradient (see
            `training.gradients`; NaN for a term without one) and validation figures.
        checkpoint: written after each epoch; where it is there already, training goes on from it, and ends with the
            same numbers as without the interruption.
    """
    run = _Run(model, train, recipe, seed)
    labels = np.array([label for _, label in val])
    best = Trained()
    history: list[EpochLog] = []
    said: list[NDArray[np.float64]] = []
    saved = read_checkpoint(checkpoint) if checkpoint else None
    if saved is not None:
        run.restore(saved.tensors)
        history, said = saved.history, list(saved.probabilities)
        for epoch, figures in enumerate(history):
            log(epoch, figures)
        figures = history[saved.best_epoch]
        best = Trained(saved.best, saved.best_epoch, figures["val_auc"], figures["val_loss"], said[saved.best_epoch])
    for epoch in range(len(history), recipe.epochs):
        if epoch >= recipe.min_epochs and epoch - 1 - best.epoch >= recipe.patience:
            break
        figures = run.epoch(epoch, load)
        probabilities = predict(model, load, [slide for slide, _ in val])
        auc, loss = area_under_curve(labels, probabilities), _loss(labels, probabilities)
        history.append({**figures, "val_auc": auc, "val_loss": loss})
        said.append(probabilities)
        log(epoch, history[-1])
        if best.epoch < 0 or (_or_zero(auc), -loss) > (_or_zero(best.val_auc), -best.val_loss):
            state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            best = Trained(state, epoch, auc, loss, probabilities)
        if checkpoint:
            now = Checkpoint(
                tensors=run.state(), best=best.state, best_epoch=best.epoch, history=history, probabilities=said
            )
            write_checkpoint(checkpoint, now)
    best.every_epoch = np.array(said)
    return best


class _Run:
    """A model in training: optimiser and random numbers with it, so that it can be stopped and taken up again."""

    def __init__(self, model: MILModel, train: Sequence[tuple[str, int]], recipe: Recipe, seed: int) -> None:
        self._model, self._train, self._recipe = model, train, recipe
        self._parameters = list(model.parameters())
        self._device = self._parameters[0].device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._order = torch.Generator().manual_seed(seed)
        self._adam = torch.optim.Adam(
            self._parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        labels = torch.tensor([label for _, label in train])
        # On the device from the start: a copy per step would make the host wait for it.
        self._labels = labels.to(self._device)
        self._weights = _class_weights(labels, model.spec.classes, recipe.class_weights).to(self._device)

    def epoch(self, number: int, load: Loader) -> EpochLog:
        """One pass over the training slides in a new order; mean of each loss term, norm of each mean gradient.

        Raises:
            SammilError: a loss is not finite; the message names the slide.
        """
        self._model.train()
        for group in self._adam.param_groups:  # cosine from learning_rate to 0, by epoch
            group["lr"] = self._recipe.learning_rate * (1 + math.cos(math.pi * number / self._recipe.epochs)) / 2
        names: list[str] = []
        steps = []
        order = torch.randperm(len(self._train), generator=self._order).tolist()
        gradients = MeanGradients(self._parameters, len(order))
        for step, index in enumerate(order):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._recipe.precision == "bfloat16"):
                terms = self._model.losses(load(self._train[index][0]), self._labels[index], self._generator)
            names = names or list(terms)
            gradients.add_terms(step, terms, self._weights[index])
            values = torch.stack(list(terms.values()))
            self._adam.zero_grad(set_to_none=True)
            (values.sum() * self._weights[index]).backward()  # type: ignore[no-untyped-call]
            gradients.add_total(step)
            self._adam.step()
            steps.append(values.detach())
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

    def state(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on."""
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        for number, moments in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments.items()}
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
            if name.startswith("adam."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})
        self._generator.set_state(tensors["random.generator"])
        self._order.set_state(tensors["random.order"])
        torch.set_rng_state(tensors["random.torch"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)


def _class_weights(labels: Tensor, classes: int, kind: str) -> Tensor:
    """The weight of each slide's loss (s,): 1, or inverse to its class's share, 1 on average over slides."""
    if kind == "none":
        return torch.ones(len(labels))
    counts = torch.bincount(labels, minlength=classes)
    weights: Tensor = len(labels) / ((counts > 0).sum() * counts[labels])
    return weights


@torch.inference_mode()
def predict(model: MILModel, load: Loader, slides: Sequence[str]) -> NDArray[np.float64]:
    """Class probabilities (s, C) of slides: the whole bag, no dropout, no mask."""
    model.eval()
    logits = [model(load(slide)).logits for slide in slides]
    return np.asarray(torch.softmax(torch.stack(logits).double(), dim=1).cpu().numpy(), np.float64)


def area_under_curve(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """AUC of the positive class, or the macro mean of one class against the rest; NaN where a class is absent."""
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return float("nan")
    if classes == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


def _loss(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    return float(log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value
