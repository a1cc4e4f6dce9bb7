"""The baselines: what they see, and what they say."""

from types import SimpleNamespace

import numpy as np
import pytest

from sammil_cli.training.baselines import class_shares, fit_mean_pool, mean_features


def test_shares_by_hand() -> None:
    assert class_shares(np.array([0, 2, 2, 2]), 3).tolist() == [0.25, 0.0, 0.75]


def test_each_slide_is_read_once_and_averaged_in_double_precision() -> None:
    read = []

    def reader(slide: str) -> SimpleNamespace:
        read.append(slide)
        features = np.full((4096, 2), 16, np.float16)  # the sum, 65536, is beyond float16
        features[:, 1] = np.arange(4096) % 2
        return SimpleNamespace(features=features)

    found = mean_features(reader, ["a", "b"])
    assert read == ["a", "b"]
    assert found["a"].dtype == np.float64
    assert found["b"].tolist() == [16.0, 0.5]


def test_mean_pool_learns_what_a_mean_shows() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = rng.normal(size=(60, 5)) * [1, 1, 1, 1, 1000]
    features[:, 2] += 4 * labels
    judge = fit_mean_pool(features[:30], labels[:30], features[30:40], labels[30:40], 2)
    said = judge(features[40:])
    assert said.sum(axis=1) == pytest.approx(1)
    assert (said.argmax(axis=1) == labels[40:]).mean() >= 0.9


def test_the_scale_of_features_does_not_matter_and_is_learned_on_the_training_part_only() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(30, 3)), np.arange(30) % 2
    judge = fit_mean_pool(features[:20], labels[:20], features[20:], labels[20:], 2)
    other = features * 1000 + 7
    scaled = fit_mean_pool(other[:20], labels[:20], other[20:], labels[20:], 2)
    assert scaled(features[20:] * 1000 + 7) == pytest.approx(judge(features[20:]), abs=1e-6)
    assert judge(features[20:])[:1] == pytest.approx(judge(features[20:21]))


def test_a_class_without_a_training_slide_gets_no_probability() -> None:
    rng = np.random.default_rng(2)
    train = (rng.normal(size=(12, 3)), np.arange(12) % 2 * 2)
    said = fit_mean_pool(*train, *train, 3)(rng.normal(size=(4, 3)))
    assert said.shape == (4, 3)
    assert (said[:, 1] == 0).all()
    assert (said[:, [0, 2]] > 0).all()


def test_one_class_in_training_is_all_that_is_known() -> None:
    one = (np.ones((3, 2)), np.array([1, 1, 1]))
    assert fit_mean_pool(*one, *one, 2)(np.zeros((2, 2))).tolist() == [[0, 1], [0, 1]]


def test_regularisation_is_chosen_on_validation() -> None:
    """More features than slides and no signal: fitted freely, the training noise is believed; held back, it is not."""
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(60, 40)), np.arange(60) % 2
    judge = fit_mean_pool(features[:30], labels[:30], features[30:], labels[30:], 2)
    assert np.abs(judge(features[:30])[:, 1] - 0.5).max() < 0.2
    trusting = fit_mean_pool(features[:30], labels[:30], features[:30], labels[:30], 2)
    assert np.abs(trusting(features[:30])[:, 1] - 0.5).max() > 0.4
