"""What a MIL model must beat: the commonest class, and logistic regression on the mean of a slide's patches."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from sammil_cli.features.bag import FeatureBag
from sammil_cli.training.decision import Decision
from sammil_cli.training.fold import Fold
from sammil_cli.training.thresholds import YOUDEN, Labels, Values, fold_threshold

MAJORITY, MEAN_POOL = "majority", "mean-pool"
_MOST_STEPS = 10_000
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C, from much to little regularisation


def class_shares(labels: Labels, classes: int) -> Values:
    """The share of each class (C,) among training slides: all that `majority` knows."""
    return np.bincount(labels, minlength=classes) / len(labels)


def mean_features(read: Callable[[str], FeatureBag], slides: Iterable[str]) -> dict[str, Values]:
    """The mean (d,) of the patch features of each slide; one bag is in memory at a time."""
    return {slide: read(slide).features.mean(axis=0, dtype=np.float64) for slide in slides}


def fit_mean_pool(
    features: Values, labels: Labels, val_features: Values, val_labels: Labels, classes: int
) -> Callable[[Values], Values]:
    """Logistic regression (L2, classes not weighted) on standardised mean features.

    How much it is held back is chosen on the validation part, as the model's epoch is: a baseline that is left to
    overfit would flatter every model beside it.

    Args:
        features: (t, d) of training slides. labels: (t,). val_features, val_labels: of validation slides.
        classes: C; a class without a training slide gets probability 0.

    Returns:
        A function of features (s, d) that gives probabilities (s, C).
    """
    from sklearn.linear_model import LogisticRegression  # here: it takes a second to load
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = np.unique(labels)
    if len(known) < 2:
        shares = class_shares(labels, classes)
        return lambda others: np.tile(shares, (len(others), 1))

    def fit(strength: float) -> Callable[[Values], Values]:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength, solver="lbfgs", max_iter=_MOST_STEPS))
        fitted.fit(features, labels)

        def predict(others: Values) -> Values:
            probabilities = np.zeros((len(others), classes))
            probabilities[:, known] = fitted.predict_proba(others)
            return probabilities

        return predict

    candidates = [fit(strength) for strength in _STRENGTHS]
    losses = [log_loss(val_labels, judge(val_features), labels=np.arange(classes)) for judge in candidates]
    return candidates[int(np.argmin(losses))]


def judge_of_fold(
    vectors: Mapping[str, Values], labels: Mapping[str, int], fold: Fold, classes: int, decision: Decision = YOUDEN
) -> tuple[Callable[[Values], Values], float | None]:
    """The logistic regression of one fold, and its threshold from validation; None with more than two classes.

    Args:
        vectors: (d,) of each slide. labels: of each slide. decision: what the threshold is chosen for.

    Returns:
        A function of vectors (s, d) that gives probabilities (s, classes), and the threshold.
    """
    train, val = (np.array([labels[slide] for slide in part], np.int64) for part in (fold.train, fold.val))
    of_train, of_val = (np.stack([vectors[slide] for slide in part]) for part in (fold.train, fold.val))
    judge = fit_mean_pool(of_train, train, of_val, val, classes)
    return judge, fold_threshold(val, judge(of_val), decision.honest)
