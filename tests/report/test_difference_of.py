"""The interval of a difference of two independent numbers, by the intervals of both."""

import math

import pytest

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.spread import difference_of


def test_symmetric_intervals_add_up_as_variances_do() -> None:
    found = difference_of(Estimate(0.8, 0.77, 0.83), Estimate(0.7, 0.66, 0.74))
    assert (found.value, found.low, found.high) == pytest.approx((-0.1, -0.15, -0.05))


def test_each_end_goes_by_the_ends_that_it_is_reached_by() -> None:
    found = difference_of(Estimate(0.9, 0.8, 0.94), Estimate(0.5, 0.47, 0.8))
    assert found.low == pytest.approx(-0.4 - math.hypot(0.03, 0.04))
    assert found.high == pytest.approx(-0.4 + math.hypot(0.3, 0.1))
    turned = difference_of(Estimate(0.5, 0.47, 0.8), Estimate(0.9, 0.8, 0.94))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_what_is_not_defined_stays_so() -> None:
    found = difference_of(Estimate(0.9, 0.8, 0.95), Estimate(math.nan, math.nan, math.nan))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
