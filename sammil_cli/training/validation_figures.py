"""The figures of the validation part after each epoch, to the bits that scikit-learn gives them.

scikit-learn takes four milliseconds for each, most of it to look at what it is given: a tenth of a small epoch.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy


def area_under_curve(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """AUC of the positive class, or the macro mean of one class against the rest; NaN where a class is absent.

    Args:
        labels: (s,) classes. probabilities: (s, C).
    """
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return float("nan")
    if classes == 2:
        return _of_one_class(labels == 1, probabilities[:, 1])
    return float(np.mean([_of_one_class(labels == one, probabilities[:, one]) for one in range(classes)]))


def _of_one_class(is_positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The area under the ROC curve by trapezoids, between its corners."""
    order = np.argsort(scores, kind="stable")[::-1]
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of runs of equal scores
    caught = np.cumsum(is_positive[order], dtype=np.float64)[ends]
    alarms = 1 + ends - caught
    if len(ends) > 2:
        corners = np.flatnonzero(np.r_[True, np.logical_or(np.diff(alarms, 2), np.diff(caught, 2)), True])
        caught, alarms = caught[corners], alarms[corners]
    caught, alarms = np.r_[0.0, caught], np.r_[0.0, alarms]
    return float(np.trapezoid(caught / caught[-1], alarms / alarms[-1]))


def log_loss(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """The mean negative logarithm of the probability (s, C) of each slide's class (s,)."""
    least = np.finfo(np.float64).eps
    is_class = (labels[:, None] == np.arange(probabilities.shape[1])).astype(np.float64)
    return float((-xlogy(is_class, probabilities.clip(least, 1 - least)).sum(axis=1)).mean())
