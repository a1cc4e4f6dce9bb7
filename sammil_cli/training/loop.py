"""Training one fold by a recipe: one bag at a time, the epoch chosen on validation (docs/methods.md §0)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammil_cli.mil.contract import MILModel
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.checkpoint import Checkpoint, Keeper, read_checkpoint
from sammil_cli.training.epoch import EpochLog, Loader, Run
from sammil_cli.training.validation_figures import area_under_curve, log_loss

_VALIDATION = ("val_auc", "val_loss", "val_accuracy")


class Log(Protocol):
    """What each epoch's figures are given to."""

    def __call__(self, epoch: int, figures: EpochLog, /, *, first_stage: bool = False) -> None:
        """Takes the figures of one epoch; `first_stage` is given for a model that has two."""


@dataclass
class Trained:
    """The chosen epoch of a fold: `state` are its weights, `val_probabilities` (v, C) what it says of validation.

    `first_stage`: the epochs of the model that was trained before; empty where there was none.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = -1
    val_auc: float = float("nan")
    val_loss: float = float("inf")
    val_accuracy: float = float("nan")
    val_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    every_epoch: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 0)))  # (E, v, C)
    first_stage: list[EpochLog] = field(default_factory=list)


def train_fold(
    model: MILModel,
    load: Loader,
    train: Sequence[tuple[str, int]],
    val: Sequence[tuple[str, int]],
    recipe: Recipe,
    *,
    seed: int,
    log: Log,
    checkpoint: Path | None = None,
) -> Trained:
    """Trains a model in place, its first stage before it where it has one, and returns its best epoch.

    The best epoch is the recipe's choice, see `Recipe.chosen_by`; without validation the last one. (By `auc`, the
    published loop takes the first of equals, which on small validation parts is an early, untrained epoch; we take the
    one with the smallest loss.)

    Args:
        load: slide id -> bag; called for `train` and `val` slides only.
        train, val: slide ids with their labels.
        log: called after each epoch with its mean loss terms, the norm of each term's averaged gradient (see
            `training.gradients`; NaN for a term without one) and validation figures; of a
            first stage with `first_stage=True`.
        checkpoint: written after epochs, see `Keeper`; where it is there already, training goes on from it, and ends
            with the same numbers as without the interruption.
    """
    keeper = Keeper(checkpoint) if checkpoint else None
    fold = _Fold(load=load, train=train, val=val, recipe=recipe, seed=seed, keeper=keeper)
    saved = read_checkpoint(checkpoint) if checkpoint else None
    first, history = model.first_stage(), None
    if first is not None:
        history = saved.first_stage if saved else None
        if history is None:  # it is unfinished, or nothing is there
            first.initialise()
            first.to(next(model.parameters()).device)
            best, history = fold.learn(first, partial(log, first_stage=True), saved)
            first.load_state_dict({**first.state_dict(), **best.state})
            saved = None
        else:
            for epoch, figures in enumerate(history):
                log(epoch, figures, first_stage=True)
    if saved is None:
        generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
        model.begin(first.eval() if first else None, (load(slide) for slide, _ in train), generator)
    best, _ = fold.learn(model, log, saved, history)
    best.first_stage = history or []
    return best


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """What all stages of a fold have in common."""

    load: Loader
    train: Sequence[tuple[str, int]]
    val: Sequence[tuple[str, int]]
    recipe: Recipe
    seed: int
    keeper: Keeper | None

    def learn(
        self, model: MILModel, log: Log, saved: Checkpoint | None, first_stage: list[EpochLog] | None = None
    ) -> tuple[Trained, list[EpochLog]]:
        """Trains one model, from `saved` on where it is there; returns its best epoch, and the figures of all."""
        run = Run(model, self.train, self.recipe, self.seed)
        labels = np.array([label for _, label in self.val])
        history: list[EpochLog] = []
        said: list[NDArray[np.float64]] = []
        best = Trained()
        if saved is not None:
            run.restore(saved.tensors)
            history, said = saved.history, list(saved.probabilities)
            for epoch, figures in enumerate(history):
                log(epoch, figures)
            if saved.best_epoch >= 0:
                best = _kept(saved.best, saved.best_epoch, history[saved.best_epoch], said[saved.best_epoch])
        recipe = self.recipe
        for epoch in range(len(history), recipe.most_epochs):
            waited = epoch - 1 - max(best.epoch, self._first_choice - 1)
            if self.val and epoch >= recipe.min_epochs and waited >= recipe.patience:
                break
            figures = run.epoch(epoch, self.load)
            probabilities = predict(model, self.load, [slide for slide, _ in self.val])
            history.append({**figures, **_validation(labels, probabilities)})
            said.append(probabilities)
            log(epoch, history[-1])
            if self._is_kept(epoch, figures=history[-1], best=best):
                best = _kept(trained_state(model), epoch, history[-1], probabilities)
            if self.keeper and self.keeper.is_due:
                now = Checkpoint(
                    tensors=run.state(),
                    best=best.state,
                    best_epoch=best.epoch,
                    history=history,
                    probabilities=said,
                    first_stage=first_stage,
                )
                self.keeper.keep(now)
        best.every_epoch = np.array(said)
        return best, history

    @property
    def _first_choice(self) -> int:
        """The first epoch that may be kept."""
        return 0 if self.recipe.choose_last is None else self.recipe.epochs - self.recipe.choose_last

    def _is_kept(self, epoch: int, *, figures: EpochLog, best: Trained) -> bool:
        """Whether an epoch is better than the best before; without validation only the last one is."""
        if not self.val:
            return epoch + 1 == self.recipe.most_epochs
        better = best.epoch < 0 or _merit(self.recipe, figures) > _merit(self.recipe, vars(best))
        return epoch >= self._first_choice and better


def trained_state(model: MILModel) -> dict[str, Tensor]:
    """The weights that prediction needs, copied to the CPU."""
    state = model.state_dict().items()
    return {n: t.detach().cpu().clone() for n, t in state if not n.startswith(model.training_only or ("\0",))}


def _kept(state: dict[str, Tensor], epoch: int, figures: EpochLog, said: NDArray[np.float64]) -> Trained:
    auc, loss, accuracy = (figures[name] for name in _VALIDATION)
    return Trained(state, epoch, auc, loss, accuracy, said)


def _validation(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> EpochLog:
    if not len(labels):
        return dict.fromkeys(_VALIDATION, math.nan)
    found = (
        area_under_curve(labels, probabilities),
        log_loss(labels, probabilities),
        float((probabilities.argmax(axis=1) == labels).mean()),
    )
    return dict(zip(_VALIDATION, found, strict=True))


def _merit(recipe: Recipe, figures: Mapping[str, float]) -> tuple[float, ...]:
    """What the kept epoch has the most of."""
    auc, loss, accuracy = (figures[name] for name in _VALIDATION)
    auc = 0.0 if math.isnan(auc) else auc
    return {
        "auc": (auc, -loss),
        "loss": (-loss,),
        "accuracy": (accuracy, auc),
        "auc-and-accuracy": ((auc + accuracy) / 2, -loss),
    }[recipe.chosen_by]


@torch.inference_mode()
def predict(model: MILModel, load: Loader, slides: Sequence[str]) -> NDArray[np.float64]:
    """Class probabilities (s, C) of slides: the whole bag, no dropout, no mask."""
    model.eval()
    if not slides:
        return np.empty((0, model.spec.classes))
    logits = [model(load(slide)).logits for slide in slides]
    return np.asarray(torch.softmax(torch.stack(logits).double(), dim=1).cpu().numpy(), np.float64)
