"""Training one fold: Adam, cosine schedule, one bag per step, early stopping on the validation part (METHODS §0)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor

from sammil_cli.errors import SammilError
from sammil_cli.mil.contract import Bag, MILModel

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


@dataclass
class Trained:
    """The chosen epoch of a fold: `state` are its weights, `val_probabilities` (v, C) what it says of validation."""

    state: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = -1
    val_auc: float = float("nan")
    val_loss: float = float("inf")
    val_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))


def train_fold(
    model: MILModel,
    load: Loader,
    train: Sequence[tuple[str, int]],
    val: Sequence[tuple[str, int]],
    recipe: Recipe,
    *,
    seed: int,
    log: Callable[[int, EpochLog], None],
) -> Trained:
    """Trains a model in place and returns its best epoch.

    The best epoch has the largest validation AUC; of equals, the smallest validation loss. (The published loop takes
    the first of equals, which on small validation parts is an early, untrained epoch.)

    Args:
        load: slide id -> bag; called for `train` and `val` slides only.
        train, val: slide ids with their labels.
        log: called after each epoch with its mean loss terms and validation figures.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    labels = np.array([label for _, label in val])
    best = Trained()
    for epoch in range(recipe.epochs):
        figures = _train_epoch(model, load, train, optimiser, generator, order)
        schedule.step()
        probabilities = predict(model, load, [slide for slide, _ in val])
        auc, loss = area_under_curve(labels, probabilities), _loss(labels, probabilities)
        log(epoch, {**figures, "val_auc": auc, "val_loss": loss})
        if best.epoch < 0 or (_or_zero(auc), -loss) > (_or_zero(best.val_auc), -best.val_loss):
            state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            best = Trained(state, epoch, auc, loss, probabilities)
        if epoch + 1 >= recipe.min_epochs and epoch - best.epoch >= recipe.patience:
            break
    return best


def _train_epoch(
    model: MILModel,
    load: Loader,
    train: Sequence[tuple[str, int]],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    order: torch.Generator,
) -> EpochLog:
    """One pass over the training slides in a new order; mean of each loss term."""
    model.train()
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    for index in torch.randperm(len(train), generator=order).tolist():
        slide_id, label = train[index]
        terms = model.losses(load(slide_id), torch.tensor(label, device=device), generator)
        total = torch.stack(list(terms.values())).sum()
        if not bool(torch.isfinite(total)):
            names = ", ".join(f"{name} {float(value.detach()):g}" for name, value in terms.items())
            raise SammilError(
                f"the loss is not finite on slide {slide_id}: {names}",
                remedy="lower learning_rate or consistency_weight, and look at the slide's features",
            )
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        for name, value in (*terms.items(), ("total", total)):
            sums[f"loss_{name}"] = sums.get(f"loss_{name}", 0.0) + float(value.detach())
    return {name: value / len(train) for name, value in sums.items()}


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
