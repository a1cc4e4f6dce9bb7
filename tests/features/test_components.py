"""Principal components: those of the textbook, one sign, and nothing of what does not differ."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sammil_cli.features.components import principal_components

RANDOM = np.random.default_rng(0)
FEATURES = (RANDOM.standard_normal((500, 6)) @ RANDOM.standard_normal((6, 12)) + 3).astype(np.float32)


def test_they_are_those_of_standardised_features_over_the_first_ones_deviation() -> None:
    standard = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)
    expected = PCA(4).fit_transform(standard)
    found = principal_components(FEATURES, 4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(expected / expected[:, 0].std()), atol=1e-3)
    assert found[:, 0].std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_order_scale_and_precision_of_the_features_change_little(dtype: type) -> None:
    found = principal_components(FEATURES.astype(dtype), 3)
    np.testing.assert_allclose(found, principal_components(FEATURES, 3), atol=0.02)
    turned = principal_components((7 * FEATURES[::-1] - 2).astype(dtype), 3)
    np.testing.assert_allclose(turned[::-1], found, atol=0.05)


def test_many_rows_are_taken_part_by_part_with_the_same_result() -> None:
    many = np.tile(FEATURES, (10, 1))
    np.testing.assert_allclose(principal_components(many, 3)[:500], principal_components(FEATURES, 3), atol=1e-3)


def test_what_does_not_differ_has_no_component() -> None:
    constant = FEATURES.copy()
    constant[:, 1:] = 5
    found = principal_components(constant, 3)
    assert found[:, 0].std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-5)
    np.testing.assert_array_equal(principal_components(np.full((3, 5), 2.0), 3), 0)
    assert principal_components(FEATURES[:1], 3).tolist() == [[0, 0, 0]]
