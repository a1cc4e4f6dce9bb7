"""Contrast of values between groups: by hand, by chance, and against scikit-learn's explained variance."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sammil_cli.regions import contrast as module
from sammil_cli.regions.contrast import contrast, squares


def test_the_adjusted_share_by_hand() -> None:
    # Mean 3; total 4 + 1 + 1 + 4 = 10, within 0.5 + 0.5 = 1: 0.9, adjusted 1 - 0.1 * 3 / 2.
    values = np.array([[1.0], [2.0], [4.0], [5.0]])
    assert contrast(values, np.array([7, 7, 3, 3])) == pytest.approx(0.85)
    # A patch in no region counts for nothing.
    assert contrast(np.vstack([values, [[99.0]]]), np.array([7, 7, 3, 3, -1])) == pytest.approx(0.85)


def test_a_dimension_counts_by_its_variance() -> None:
    # The first dimension lies between the groups, the second one, of a ninth of its variance, within them.
    values = np.array([[-3.0, -1], [-3, 1], [3, -1], [3, 1]])
    assert contrast(values, np.array([0, 0, 1, 1])) == pytest.approx(1 - 0.1 * 3 / 2)


def test_groups_that_explain_everything_have_1_and_groups_that_explain_nothing_at_most_0() -> None:
    values = np.repeat([[1.0, 2.0], [3.0, -2.0], [0.0, 9.0]], 4, axis=0)
    assert contrast(values, np.repeat([0, 1, 2], 4)) == pytest.approx(1)
    unrelated = contrast(values, np.tile([0, 1, 2, 3], 3))
    assert unrelated is not None
    assert unrelated == pytest.approx(1 - 11 / 8)  # nothing between: adjusted below 0


@pytest.mark.parametrize("groups", [2, 30, 1000])
def test_groups_at_random_have_0_however_many_there_are(groups: int) -> None:
    rng = np.random.default_rng(groups)
    found = [contrast(rng.standard_normal((3000, 2)), rng.integers(0, groups, 3000)) for _ in range(20)]
    assert np.mean(np.asarray(found, float)) == pytest.approx(0, abs=0.005)


def test_it_is_the_adjusted_r2_of_a_regression_on_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_VALUES", 7 * 3)  # several blocks, the last one smaller
    rng = np.random.default_rng(1)
    group = rng.integers(0, 5, 61)
    values = rng.standard_normal((61, 3)) + rng.standard_normal((5, 3))[group] * (1, 0.2, 3) + 1000
    dummies = np.eye(5)[group]
    residual = values - LinearRegression().fit(dummies, values).predict(dummies)
    share = 1 - (residual**2).sum() / ((values - values.mean(0)) ** 2).sum()
    assert contrast(values, group) == pytest.approx(1 - (1 - share) * 60 / 56)
    assert contrast(values.astype(np.float16), group) == pytest.approx(1 - (1 - share) * 60 / 56, abs=0.02)


@pytest.mark.parametrize(
    ("values", "group"),
    [
        (np.ones((4, 1)), [0, 0, 1, 1]),
        (np.full((4, 1), 0.1, np.float32), [0, 0, 1, 1]),
        (np.arange(4.0)[:, None], [0, 0, 0, 0]),
        (np.arange(4.0)[:, None], [-1, -1, -1, -1]),
        (np.arange(4.0)[:, None], [0, 1, 2, 3]),
        (np.empty((0, 1)), []),
    ],
    ids=["all alike", "alike up to rounding", "one group", "no group", "a group for each", "nothing"],
)
def test_where_it_means_nothing_there_is_none(values: np.ndarray, group: list[int]) -> None:
    assert contrast(values, np.array(group, int)) is None


@pytest.mark.parametrize("count", [1, 4, 25, 100])
def test_squares_are_as_many_as_asked_for_and_square(count: int) -> None:
    y, x = np.nonzero(np.hypot(*np.mgrid[-60:60, -60:60]) < 50)  # a disk: squares are cut at its border
    square = squares(x + 500, y + 900, count)
    sizes = np.unique(square, return_counts=True)[1]
    assert len(sizes) == pytest.approx(count, rel=0.25)
    fullest = square == np.bincount(square).argmax()
    assert abs(int(np.ptp(x[fullest])) - int(np.ptp(y[fullest]))) <= (1 if count > 1 else 0)


def test_one_region_is_compared_with_one_square_which_has_no_contrast() -> None:
    y, x = np.mgrid[:20, :30].reshape(2, -1)
    square = squares(x, y, 1)
    assert square.tolist() == [0] * 600
    assert contrast(x[:, None].astype(float), square) is None


def test_squares_of_nothing_are_none() -> None:
    assert squares(np.empty(0, int), np.empty(0, int), 3).tolist() == []
