"""Thresholds: where they are chosen (on validation), how folds agree on one, and how they decide."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammil_cli.training.decision import Decision

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Values = NDArray[np.float64]

YOUDEN = Decision()
SELECTED_ON_TEST = "selected on test - not an estimate of generalisation"
_MOST_DIGITS = 17  # decimals; what these do not tell apart is written as it is stored


def fold_threshold(labels: Labels, probabilities: Probabilities, decision: Decision) -> float | None:
    """The threshold of a fold, from its validation part: None with more than two classes, where the largest wins.

    In the protocol `honest`: `validation_threshold`. Paper: Youden's own, and validation is the test fold, as
    published. A `fixed` threshold is the target itself, which is meant for calibrated probabilities.

    Args:
        labels: (v,) 0 or 1. probabilities: (v, C).
    """
    if probabilities.shape[1] != 2:
        return None
    if decision.rule == "fixed":
        return decision.target
    if decision.protocol == "paper":
        return youden_threshold(labels, probabilities[:, 1])
    return validation_threshold(labels, probabilities[:, 1], decision)


def mean_threshold(thresholds: Sequence[float | None]) -> float | None:
    """The threshold of several folds together: their mean; None where one has none: then the largest class wins."""
    known = [threshold for threshold in thresholds if threshold is not None]
    return float(np.mean(known)) if len(known) == len(thresholds) else None


def youden_threshold(labels: Labels, scores: Values) -> float:
    """The score from which on a slide is called positive: the largest sensitivity + specificity - 1.

    The minimum of FPR - TPR on the ROC curve, the first of equals; predict 1 iff score >= threshold
    (docs/methods.md §1).

    Args:
        labels: (v,) 0 or 1. scores: (v,) probability of class 1.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    from sklearn.metrics import roc_curve  # here: it takes a second to load

    fpr, tpr, thresholds = roc_curve(labels, scores)
    best = thresholds[int(np.argmin(fpr - tpr))]
    return float(best) if np.isfinite(best) else 1.0  # scikit-learn's first threshold is infinite: nobody is positive


def validation_threshold(labels: Labels, scores: Values, decision: Decision = YOUDEN) -> float:
    """The threshold by a rule, for use on other slides: midway between the chosen score and the next lower one.

    Any value of that gap decides alike on the validation part. Its upper end, the published choice, is the lowest
    score of a caught positive slide, so that a new one a hair below would be missed. Below the lowest score lies 0.
    Where a class is missing nothing can be chosen: 0.5.

    Args:
        labels: (v,) 0 or 1. scores: (v,) of class 1, between 0 and 1.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    upper = youden_threshold(labels, scores) if decision.rule == "youden" else _chosen_score(labels, scores, decision)
    lower = scores[scores < upper]
    return float((upper + (lower.max() if len(lower) else 0)) / 2)


def _chosen_score(labels: Labels, scores: Values, decision: Decision) -> float:
    """The score that a rule with a target chooses; of equals the highest, which calls the fewest slides positive.

    `sensitivity`: of the scores that reach the target the one with the largest specificity, and of those with the
    largest sensitivity, which costs nothing on validation; `specificity` the other way round. `cost`: the least
    target x missed positives + false alarms.
    """
    from sklearn.metrics import roc_curve  # here: it takes a second to load

    target = float(decision.target or 0)
    fpr, tpr, found = roc_curve(labels, scores, drop_intermediate=False)
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    caught, alarms = np.rint(tpr * positives), np.rint(fpr * negatives)
    sensitivity, specificity = caught / positives, (negatives - alarms) / negatives
    if decision.rule == "cost":
        best = int(np.argmin(target * (positives - caught) + alarms))
    else:
        first, second = (sensitivity, specificity) if decision.rule == "sensitivity" else (specificity, sensitivity)
        able = np.flatnonzero(first >= target)  # never empty: to call all of them alike reaches any target
        best = int(max(able, key=lambda place: (second[place], first[place], -place)))
    return float(found[best]) if np.isfinite(found[best]) else 1.0


def in_digits(
    probabilities: Probabilities, threshold: float | None, predicted: int, digits: int
) -> tuple[list[str], str]:
    """One slide's probabilities (C,) and its threshold as text in which its decision can be read.

    Rounding may lift a probability onto its threshold, or make two classes equal. The text therefore has at least
    `digits` decimals, and more where the decision could not be read otherwise. Without a threshold its text is empty.
    """
    numbers = [*probabilities.tolist(), *([] if threshold is None else [threshold])]
    for places in range(digits, _MOST_DIGITS):
        texts = [f"{number:.{places}f}" for number in numbers]
        if _read(texts, threshold is not None) == predicted:
            break
    else:
        texts = [repr(number) for number in numbers]
    return (texts, "") if threshold is None else (texts[:-1], texts[-1])


def _read(texts: Sequence[str], with_threshold: bool) -> int:
    values = np.array([[float(text) for text in texts]])
    return int(decide(values[:, :-1], float(values[0, -1]))[0] if with_threshold else decide(values, None)[0])


def decide(probabilities: Probabilities, threshold: float | None) -> Labels:
    """Predicted classes (s,) of probabilities (s, C): by the threshold on class 1, or the largest one."""
    if threshold is None:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    return np.asarray(probabilities[:, 1] >= threshold, np.int64)
