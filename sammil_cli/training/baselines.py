"""What a MIL model must beat: the commonest class, and logistic regression on the mean of a slide's patches."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sammil_cli.features.bag import FeatureBag

Values = NDArray[np.float64]

MAJORITY, MEAN_POOL = "majority", "mean-pool"
_MOST_STEPS = 10_000


def class_shares(labels: NDArray[np.int64], classes: int) -> Values:
    """The share of each class (C,) among training slides: all that `majority` knows."""
    return np.bincount(labels, minlength=classes) / len(labels)


def mean_features(read: Callable[[str], FeatureBag], slides: Iterable[str]) -> dict[str, Values]:
    """The mean (d,) of the patch features of each slide; one bag is in memory at a time."""
    return {slide: read(slide).features.mean(axis=0, dtype=np.float64) for slide in slides}


def fit_mean_pool(features: Values, labels: NDArray[np.int64], classes: int) -> Callable[[Values], Values]:
    """Logistic regression (L2, C = 1, classes not weighted) on standardised mean features.

    Args:
        features: (t, d) of training slides. labels: (t,).
        classes: C; a class without a training slide gets probability 0.

    Returns:
        A function of features (s, d) that gives probabilities (s, C).
    """
    known = np.unique(labels)
    if len(known) < 2:
        shares = class_shares(labels, classes)
        return lambda others: np.tile(shares, (len(others), 1))
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, solver="lbfgs", max_iter=_MOST_STEPS))
    fitted.fit(features, labels)

    def predict(others: Values) -> Values:
        probabilities = np.zeros((len(others), classes))
        probabilities[:, known] = fitted.predict_proba(others)
        return probabilities

    return predict
