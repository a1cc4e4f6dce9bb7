"""What choosing on the test fold is worth: the published protocol on shuffled labels, and without its choices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.report.metrics import fold_metrics, over_folds
from sammil_cli.training.thresholds import Labels, Probabilities, Values, decide, youden_threshold

SHUFFLES = 200
NAMES = ("auc", "accuracy", "f1")
_SEED = 20_240_301  # fixed: the same predictions give the same chance level


@dataclass(frozen=True, kw_only=True)
class FoldEpochs:
    """One fold's test slides at every trained epoch: labels (s,), probabilities (E, s, C)."""

    labels: Labels
    probabilities: Values


def nothing_chosen(folds: Sequence[FoldEpochs]) -> dict[str, dict[str, float | None]]:
    """Mean and spread over folds when the last epoch counts, at threshold 0.5 (the largest of more classes)."""
    found = []
    for fold in folds:
        last = fold.probabilities[-1]
        found.append(_of_fold(fold.labels, last, decide(last, 0.5 if last.shape[1] == 2 else None)))
    return over_folds(found)


def chance_level(folds: Sequence[FoldEpochs], shuffles: int = SHUFFLES) -> dict[str, dict[str, float | None]]:
    """What the published protocol reports when the test labels mean nothing.

    The labels of a fold's test slides are shuffled; then, as published, the epoch with the largest AUC (the first of
    equals) and the threshold with the largest sensitivity + specificity - 1 are chosen on those very labels. Without
    choice the AUC would be 0.5.

    Returns:
        Per metric the mean and the 95th percentile over shuffles of the mean over folds; None where not defined.
    """
    from scipy.stats import rankdata  # here: it takes a second to load

    generator = np.random.default_rng(_SEED)
    means: dict[str, list[float]] = {name: [] for name in NAMES}
    ranks = [rankdata(fold.probabilities, axis=1) for fold in folds]
    for _ in range(shuffles):
        found = []
        for fold, rank in zip(folds, ranks, strict=True):
            labels = generator.permutation(fold.labels)
            auc = _auc_of_epochs(labels, rank)
            chosen = fold.probabilities[0 if np.isnan(auc).all() else int(np.nanargmax(auc))]
            threshold = youden_threshold(labels, chosen[:, 1]) if chosen.shape[1] == 2 else None
            found.append(_of_fold(labels, chosen, decide(chosen, threshold)))
        for name, value in over_folds(found).items():
            if value["mean"] is not None:
                means[name].append(value["mean"])
    return {
        name: {
            "mean": round(float(np.mean(values)), 6) if values else None,
            "p95": round(float(np.quantile(values, 0.95)), 6) if values else None,
        }
        for name, values in means.items()
    }


def _of_fold(labels: Labels, probabilities: Probabilities, predicted: Labels) -> dict[str, float]:
    found = fold_metrics(labels, probabilities, predicted)
    return {name: found[name] for name in NAMES}


def _auc_of_epochs(labels: Labels, rank: Values) -> Values:
    """AUC (E,) at each epoch from midranks (E, s, C): of class 1, or the macro mean of each class against the rest."""
    classes = rank.shape[2]
    found = []
    for index in [1] if classes == 2 else range(classes):
        truth = labels == index
        positive = int(truth.sum())
        pairs = positive * (len(labels) - positive)
        if not pairs:
            return np.full(len(rank), np.nan)
        found.append((rank[:, truth, index].sum(axis=1) - positive * (positive + 1) / 2) / pairs)
    return np.asarray(np.mean(found, axis=0), np.float64)
