"""The chance level of the published protocol, against the same loop written out."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sammil_cli.report.optimism import FoldEpochs, _auc_of_epochs, chance_level, nothing_chosen
from sammil_cli.training.thresholds import decide, youden_threshold


def fold(epochs: int, slides: int, seed: int, classes: int = 2) -> FoldEpochs:
    """Probabilities that know nothing of the labels; rounded, so that some are equal."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), (epochs, slides)).round(2)
    probabilities[..., 0] += 1 - probabilities.sum(axis=-1)
    return FoldEpochs(labels=np.arange(slides) % classes, probabilities=probabilities)


def test_the_auc_of_all_epochs_is_that_of_each() -> None:
    from scipy.stats import rankdata

    one = fold(7, 23, seed=1)
    labels = np.random.default_rng(5).permutation(one.labels)
    expected = [roc_auc_score(labels, epoch[:, 1]) for epoch in one.probabilities]
    assert _auc_of_epochs(labels, rankdata(one.probabilities, axis=1)) == pytest.approx(expected)


def test_one_epoch_leaves_only_the_threshold_to_choose() -> None:
    found = chance_level([fold(1, 30, seed=2), fold(1, 30, seed=3)], shuffles=100)
    assert found["auc"]["mean"] == pytest.approx(0.5, abs=0.03)
    assert found["accuracy"]["mean"] > 0.58  # the threshold is chosen on the labels that it is judged by


def test_more_epochs_to_choose_from_raise_the_chance_level() -> None:
    few, many = (chance_level([fold(epochs, 30, seed=4)], shuffles=60) for epochs in (2, 100))
    assert 0.5 < few["auc"]["mean"] < many["auc"]["mean"] - 0.1
    assert many["auc"]["mean"] > 0.7
    assert many["auc"]["p95"] > many["auc"]["mean"]


def test_the_chance_level_is_the_mean_over_folds_of_the_best_epoch() -> None:
    folds = [fold(5, 12, seed=6), fold(9, 10, seed=7)]  # early stopping leaves folds of different length
    generator = np.random.default_rng(20_240_301)
    areas, shares = [], []
    for _ in range(20):
        best, right = [], []
        for one in folds:
            labels = generator.permutation(one.labels)
            aucs = [roc_auc_score(labels, epoch[:, 1]) for epoch in one.probabilities]
            chosen = one.probabilities[int(np.argmax(aucs))]
            best.append(max(aucs))
            right.append(np.mean(decide(chosen, youden_threshold(labels, chosen[:, 1])) == labels))
        areas.append(np.mean(best))
        shares.append(np.mean(right))
    found = chance_level(folds, shuffles=20)
    assert found["auc"] == {
        "mean": pytest.approx(np.mean(areas), abs=1e-5),
        "p95": pytest.approx(np.quantile(areas, 0.95), abs=1e-5),
    }
    assert found["accuracy"]["mean"] == pytest.approx(np.mean(shares), abs=1e-5)


def test_it_is_the_same_each_time() -> None:
    assert chance_level([fold(5, 12, seed=8)], shuffles=10) == chance_level([fold(5, 12, seed=8)], shuffles=10)


def test_nothing_chosen_is_the_last_epoch_at_one_half() -> None:
    probabilities = np.array([[[0.1, 0.9], [0.9, 0.1]], [[0.6, 0.4], [0.45, 0.55]]])
    found = nothing_chosen([FoldEpochs(labels=np.array([1, 0]), probabilities=probabilities)])
    assert found == {name: {"mean": 0.0, "sd": 0.0} for name in ("auc", "accuracy", "f1")}


def test_three_classes_have_a_chance_level_too() -> None:
    found = chance_level([fold(20, 30, seed=9, classes=3)], shuffles=30)
    assert 0.5 < found["auc"]["mean"] < 0.8
    assert 0.2 < found["accuracy"]["mean"] < 0.6


def test_a_fold_of_one_class_has_no_auc_and_breaks_nothing() -> None:
    alone = FoldEpochs(labels=np.zeros(5, np.int64), probabilities=fold(3, 5, seed=10).probabilities)
    assert chance_level([alone], shuffles=5)["auc"] == {"mean": None, "p95": None}
    other = fold(3, 12, seed=11)
    both, one = (chance_level(folds, shuffles=1)["auc"] for folds in ([other, alone], [other]))
    assert both == one
    assert both["mean"] is not None
