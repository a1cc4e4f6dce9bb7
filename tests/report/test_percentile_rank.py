"""Ranks of values within a slide."""

import numpy as np
import pytest

from sammil_cli.report.scales import percentile_rank


def test_ranks_by_hand() -> None:
    assert percentile_rank(np.array([30.0, 10.0, 20.0])).tolist() == [1.0, 0.0, 0.5]


def test_ties_share_their_mean_rank() -> None:
    # Ranks 0..4: 1 -> 0; the three 2s -> (1 + 2 + 3) / 3 = 2; 9 -> 4
    assert percentile_rank(np.array([2.0, 9.0, 2.0, 1.0, 2.0])).tolist() == [0.5, 1.0, 0.5, 0.0, 0.5]


def test_one_huge_value_does_not_flatten_the_others() -> None:
    assert percentile_rank(np.array([1e-6, 2e-6, 3e-6, 1e3])).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("values", "ranks"), [([], []), ([5.0], [0.0]), ([5.0, 5.0], [0.5, 0.5])])
def test_ranks_of_few_values(values: list[float], ranks: list[float]) -> None:
    assert percentile_rank(np.array(values)).tolist() == ranks
