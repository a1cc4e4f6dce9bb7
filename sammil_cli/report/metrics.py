"""Metrics of predictions, per fold and over folds, and the threshold that validation chooses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_curve, roc_curve

from sammil_cli.training.loop import area_under_curve

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def youden_threshold(labels: Labels, scores: NDArray[np.float64]) -> float:
    """The score from which on a slide is called positive: the largest sensitivity + specificity - 1.

    METHODS §1: the minimum of FPR - TPR on the ROC curve, the first of equals; predict 1 iff score >= threshold.

    Args:
        labels: (v,) 0 or 1. scores: (v,) probability of class 1.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    fpr, tpr, thresholds = roc_curve(labels, scores)
    best = thresholds[int(np.argmin(fpr - tpr))]
    return float(best) if np.isfinite(best) else 1.0  # scikit-learn's first threshold is infinite: nobody is positive


def validation_threshold(labels: Labels, scores: NDArray[np.float64]) -> float:
    """Youden's threshold for use on other slides: midway between its score and the next lower one.

    Any value of that gap decides alike on the validation part. Its upper end, the published choice, is the lowest
    score of a caught positive slide, so that a new one a hair below would be missed.
    """
    upper = youden_threshold(labels, scores)
    lower = scores[scores < upper]
    return float((upper + lower.max()) / 2) if len(lower) else upper


def decide(probabilities: Probabilities, threshold: float | None) -> Labels:
    """Predicted classes (s,) of probabilities (s, C): by the threshold on class 1, or the largest one."""
    if threshold is None:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    return np.asarray(probabilities[:, 1] >= threshold, np.int64)


def fold_metrics(labels: Labels, probabilities: Probabilities, predicted: Labels) -> dict[str, float]:
    """Accuracy, AUC and F1 (of class 1, or the macro mean of more classes); AUC is NaN where a class is absent."""
    average = "binary" if probabilities.shape[1] == 2 else "macro"
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "auc": area_under_curve(labels, probabilities),
        "f1": float(f1_score(labels, predicted, average=average, zero_division=0.0)),
    }


def over_folds(folds: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and spread of each metric: sd is that of the folds themselves (ddof 0, METHODS §1), no error of the mean.

    Folds where a metric is not defined are left out of it. None where no fold defines it.
    """
    summary: dict[str, dict[str, float | None]] = {}
    for name in folds[0]:
        values = np.array([fold[name] for fold in folds])
        values = values[~np.isnan(values)]
        summary[name] = {
            "mean": round(float(values.mean()), 6) if len(values) else None,
            "sd": round(float(values.std()), 6) if len(values) else None,
        }
    return summary


def roc_points(labels: Labels, scores: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Points (false positive rate, true positive rate); none where a class is absent."""
    if len(np.unique(labels)) < 2:
        return []
    fpr, tpr, _ = roc_curve(labels, scores)
    return list(zip(fpr.tolist(), tpr.tolist(), strict=True))


def pr_points(labels: Labels, scores: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Points (recall, precision), recall rising; none where class 1 is absent."""
    if not labels.any():
        return []
    precision, recall, _ = precision_recall_curve(labels, scores)
    return list(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """(C, C) counts: row = true class, column = predicted class."""
    return np.asarray(confusion_matrix(labels, predicted, labels=np.arange(classes)), np.int64)


def mean_curve(points: Sequence[tuple[str, float, float]], steps: int = 101) -> list[tuple[float, float]]:
    """The mean over curves of y at `steps` places of x between 0 and 1.

    Args:
        points: curve name, x, y; x never falls inside a curve. Where a curve jumps, its last y at that x counts.
    """
    names = list(dict.fromkeys(name for name, _, _ in points))
    if not names:
        return []
    grid = np.linspace(0, 1, steps)
    heights = []
    for name in names:
        curve = np.array([(x, y) for other, x, y in points if other == name])
        heights.append(np.interp(grid, curve[:, 0], curve[:, 1]))
    mean = np.mean(heights, axis=0)
    return [(round(float(x), 4), round(float(y), 6)) for x, y in zip(grid, mean, strict=True)]
