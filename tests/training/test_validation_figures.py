"""The figures of validation are scikit-learn's, bit for bit: an epoch that is chosen by them stays the same."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as their_loss
from sklearn.metrics import roc_auc_score

from sammil_cli.training.validation_figures import area_under_curve, log_loss


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_figures_have_the_bits_of_scikit_learn(classes: int) -> None:
    draw = np.random.default_rng(classes)
    for number in range(150):
        slides = int(draw.integers(classes, 70))
        labels = draw.permutation(np.r_[np.arange(classes), draw.integers(0, classes, slides - classes)])
        sharpness = draw.choice([0.1, 1.0, 40.0])
        logits = draw.normal(size=(slides, classes)) * sharpness
        if number % 2:
            logits = logits.round(1)  # ties
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        theirs = (
            roc_auc_score(labels, probabilities[:, 1])
            if classes == 2
            else roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        )
        assert area_under_curve(labels, probabilities) == theirs
        assert log_loss(labels, probabilities) == their_loss(labels, probabilities, labels=np.arange(classes))


def test_a_class_that_is_absent_leaves_no_area_but_a_loss() -> None:
    labels, probabilities = np.array([1, 1]), np.array([[0.25, 0.75], [0.5, 0.5]])
    assert math.isnan(area_under_curve(labels, probabilities))
    assert log_loss(labels, probabilities) == their_loss(labels, probabilities, labels=[0, 1])
