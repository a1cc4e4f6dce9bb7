"""The pyramid level that is read is as coarse as possible and never coarser than asked."""

import numpy as np
import pytest

from sammil_cli.slides.slide import plan_read

LEVELS = (1.0, 4.0, 16.0, 64.0)


@pytest.mark.parametrize(
    ("target", "level", "shrink"),
    [(1, 0, 1), (2, 0, 2), (3.9, 0, 3.9), (4, 1, 1), (10, 1, 2.5), (16, 2, 1), (1000, 3, 1000 / 64)],
)
def test_the_coarsest_level_that_is_fine_enough_is_read(target: float, level: int, shrink: float) -> None:
    plan = plan_read(LEVELS, target)
    assert plan.level == level
    assert plan.shrink == pytest.approx(shrink)


def test_a_level_whose_downsample_is_rounded_counts_for_what_it_means() -> None:
    assert plan_read((1.0, 4.0003, 16.02), 4).level == 1
    assert plan_read((1.0, 4.0003, 16.02), 16).level == 2
    assert plan_read((1.0, 4.2), 4).level == 0


def test_finer_than_the_slide_reads_level_0_and_says_so() -> None:
    plan = plan_read(LEVELS, 0.5)
    assert (plan.level, plan.shrink) == (0, 0.5)


def test_pixels_are_never_made_up_on_random_pyramids() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        levels = np.cumprod([1.0, *rng.uniform(1.5, 5, rng.integers(0, 6))]).tolist()
        target = float(np.exp(rng.uniform(0, 7)))
        plan = plan_read(levels, target)
        assert plan.shrink >= 0.99
        assert plan.shrink * levels[plan.level] == pytest.approx(target)
        if plan.level + 1 < len(levels):
            assert levels[plan.level + 1] > target  # the next level would be too coarse
