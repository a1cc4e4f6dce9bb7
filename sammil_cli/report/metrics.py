"""Predictions and what is said of them: metrics (of weighted slides, too), calibration, curves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammil_cli.training.thresholds import Labels, Probabilities, Values

Flags = NDArray[np.bool_]

CONFIDENCE_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Out-of-fold predictions: r rows, one per slide and repeat; C classes.

    slides, patients (r) ids; repeat, fold (r,) of the model that judged; labels, predicted (r,); probabilities (r, C),
    calibrated. `positive_class`: of two classes the name of class 1, for titles of tables; None = not to be named.
    """

    slides: tuple[str, ...]
    patients: tuple[str, ...]
    repeat: Labels
    fold: Labels
    labels: Labels
    predicted: Labels
    probabilities: Probabilities
    positive_class: str | None = None

    @property
    def folds_in_words(self) -> str:
        """`3 x 5 folds`: repeats and the folds of each."""
        return f"{len(set(self.repeat.tolist()))} x {len(set(self.fold.tolist()))} folds"

    def rows(self, chosen: Flags) -> "Predictions":
        """The rows (r,) that are chosen."""
        where = np.flatnonzero(chosen).tolist()
        return Predictions(
            slides=tuple(self.slides[i] for i in where),
            patients=tuple(self.patients[i] for i in where),
            repeat=self.repeat[where],
            fold=self.fold[where],
            labels=self.labels[where],
            predicted=self.predicted[where],
            probabilities=self.probabilities[where],
            positive_class=self.positive_class,
        )

    def by_repeat(self) -> Iterator["Predictions"]:
        """The rows of each repeat."""
        for repeat in np.unique(self.repeat):
            yield self.rows(self.repeat == repeat)

    def by_fold(self) -> Iterator["Predictions"]:
        """The rows of each fold of each repeat."""
        for part in self.by_repeat():
            for fold in np.unique(part.fold):
                yield part.rows(part.fold == fold)

    def against_rest(self, index: int) -> "Predictions":
        """Class `index` as the positive one of two; the others are the negative one."""
        score = self.probabilities[:, index]
        return replace(
            self,
            labels=(self.labels == index).astype(np.int64),
            predicted=(self.predicted == index).astype(np.int64),
            probabilities=np.stack([1 - score, score], axis=1),
        )


def metric_names(classes: int) -> tuple[str, ...]:
    """The metrics of decisions and ranks: of class 1, or macro means over more than two classes."""
    names = ("auc", "accuracy", "f1", "balanced_accuracy")
    return (*names, "sensitivity", "specificity") if classes == 2 else names


def weighted_metrics(
    labels: Labels, predicted: Labels, probabilities: Probabilities, weights: Values
) -> dict[str, Values]:
    """Each metric of `metric_names` and `brier` for D weightings of the same s slides.

    `brier` is the mean over slides of the sum over classes of (probability - truth)^2, 0 to 2 (Brier 1950). A metric
    is NaN where it is not defined: AUC, sensitivity, specificity, balanced accuracy without one of the classes, F1
    of a class that neither occurs nor is called (in a macro mean that class is left out).

    Args:
        labels, predicted: (s,). probabilities: (s, C). weights: (D, s), how often each slide counts.

    Returns:
        (D,) values per metric.
    """
    classes = probabilities.shape[1]
    one_hot = np.eye(classes)[labels]
    found = [
        _of_class(labels == index, predicted == index, probabilities[:, index], weights)
        for index in ([1] if classes == 2 else range(classes))
    ]
    total = weights.sum(axis=1)
    means = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    f1 = np.stack([one["f1"] for one in found])
    values = {
        "auc": means["auc"],
        "accuracy": _ratio(weights @ (labels == predicted), total),
        "f1": _ratio(np.nan_to_num(f1).sum(axis=0), (~np.isnan(f1)).sum(axis=0).astype(np.float64)),
        "balanced_accuracy": means["sensitivity"],
        "brier": _ratio(weights @ ((probabilities - one_hot) ** 2).sum(axis=1), total),
    }
    if classes == 2:
        both = {name: means[name] for name in ("sensitivity", "specificity")}
        values |= {**both, "balanced_accuracy": (both["sensitivity"] + both["specificity"]) / 2}
    return values


def _of_class(truth: Flags, called: Flags, scores: Values, weights: Values) -> dict[str, Values]:
    positive, negative = weights @ truth, weights @ ~truth
    hit, false = weights @ (truth & called), weights @ (~truth & called)
    return {
        "auc": _weighted_auc(truth, scores, weights),
        "f1": _ratio(2 * hit, positive + hit + false),
        "sensitivity": _ratio(hit, positive),
        "specificity": _ratio(negative - false, negative),
    }


def _weighted_auc(truth: Flags, scores: Values, weights: Values) -> Values:
    """The share of pairs (positive, negative) in right order, ties half; pairs count by the product of weights."""
    order = np.argsort(scores, kind="stable")
    ties = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])  # where each group of equal scores starts
    positive = np.add.reduceat(weights[:, order] * truth[order], ties, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], ties, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    return _ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def _ratio(upper: Values, lower: Values) -> Values:
    result = np.full(len(lower), np.nan)
    np.divide(upper, lower, out=result, where=lower > 0)
    return result


def fold_metrics(labels: Labels, probabilities: Probabilities, predicted: Labels) -> dict[str, float]:
    """The metrics of `metric_names` of one fold's slides; NaN where one is not defined."""
    values = weighted_metrics(labels, predicted, probabilities, np.ones((1, len(labels))))
    return {name: float(values[name][0]) for name in metric_names(probabilities.shape[1])}


def over_folds(folds: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and spread of each metric: sd of the folds themselves (ddof 0, docs/methods.md §1), no error of the mean.

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


def reliability(labels: Labels, probabilities: Probabilities) -> list[tuple[float, float, int]]:
    """Mean confidence, share that is right and number of slides in each of 15 equal bins of confidence that has any.

    Confidence is the probability of the most probable class; it is right where that class is the true one, whatever
    the threshold decides.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    return [
        (float(confidence[place == index].mean()), float(right[place == index].mean()), int((place == index).sum()))
        for index in np.unique(place)
    ]


def calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Expected calibration error: |confidence - share right| of the bins of `reliability`, weighed by their slides."""
    bins = reliability(labels, probabilities)
    return sum(abs(confidence - right) * count for confidence, right, count in bins) / len(labels)


def roc_points(labels: Labels, scores: Values) -> list[tuple[float, float]]:
    """Points (false positive rate, true positive rate); none where a class is absent."""
    if len(np.unique(labels)) < 2:
        return []
    from sklearn.metrics import roc_curve  # here: it takes a second to load

    fpr, tpr, _ = roc_curve(labels, scores)
    return list(zip(fpr.tolist(), tpr.tolist(), strict=True))


def pr_points(labels: Labels, scores: Values) -> list[tuple[float, float]]:
    """Points (recall, precision), recall rising; none where class 1 is absent."""
    if not labels.any():
        return []
    from sklearn.metrics import precision_recall_curve  # here: it takes a second to load

    precision, recall, _ = precision_recall_curve(labels, scores)
    return list(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))


def average_precision(labels: Labels, scores: Values) -> float:
    """Mean precision over the positives, each at its own score: the area below the steps of `pr_points`.

    What ranks at random has the share of the positives. NaN where class 1 is absent.
    """
    from sklearn.metrics import average_precision_score  # here: it takes a second to load

    return float(average_precision_score(labels, scores)) if labels.any() else float("nan")


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """(C, C) counts: row = true class, column = predicted class."""
    from sklearn.metrics import confusion_matrix  # here: it takes a second to load

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
