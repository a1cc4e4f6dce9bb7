"""Orders in which patches go, and the area between curves."""

import numpy as np
import pytest
from placed_bag_maker import placed_bag

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.patient_means import mean_difference, mean_share
from sammil_cli.report.ranked_regions import RegionPatches
from sammil_cli.report.removal import DRAWS, SHARES, area_between, at_shares, numbers_gone, orders
from sammil_cli.report.removal_figure import draw_removal


def test_every_order_has_each_patch_once_and_is_the_same_each_time() -> None:
    bag = placed_bag(5, 5, [[7, 8], [20, 21, 22], list(range(10))])
    evidence = np.linspace(0, 1, 25)
    inside = RegionPatches(bag)
    ranked = inside.rank(evidence, evidence, 0.5)
    first, second = (orders("s", evidence[::-1], evidence, (inside, ranked)) for _ in range(2))
    assert {name: len(draws) for name, draws in first.items()} == {
        "attention": 1,
        "evidence": 1,
        "regions": 1,
        "random patches": DRAWS,
        "random regions": DRAWS,
    }
    for name, draws in first.items():
        for one, again in zip(draws, second[name], strict=True):
            assert sorted(one.tolist()) == list(range(25))
            np.testing.assert_array_equal(one, again)
    assert first["attention"][0].tolist() == list(range(25))
    assert first["evidence"][0].tolist() == list(range(24, -1, -1))
    by_region = first["regions"][0].tolist()
    assert set(by_region[:3]) == {20, 21, 22}  # the region with evidence goes first, whole
    assert set(by_region[3:5]) | set(by_region[5:13]) == set(range(10))
    assert not set(by_region[13:]) & {20, 21, 22, *range(10)}  # what lies in none goes last
    other = orders("t", evidence, evidence, None)
    assert set(other) == {"attention", "evidence", "random patches"}
    assert other["random patches"][0].tolist() != first["random patches"][0].tolist()


def test_one_patch_is_always_left_and_small_bags_are_read_between_whole_patches() -> None:
    assert numbers_gone(1000) == [0, 10, 20, 50, 100, 200, 300, 400, 500]
    assert numbers_gone(2) == [0] + [1] * 8
    assert numbers_gone(1) == [0] * 9
    curve = at_shares(10, np.array([1.0, *[0.8] * 4, 0.6, 0.4, 0.2, 0.0]))  # 0, 1, 1, 1, 1, 2, 3, 4, 5 gone
    assert curve[1] == pytest.approx(1 - 0.2 * 0.1)
    assert curve[4] == pytest.approx(0.8)
    assert curve[-1] == 0


def test_the_area_is_the_mean_gap_from_nothing_to_half() -> None:
    random = np.ones(len(SHARES))
    assert area_between(np.zeros(len(SHARES)), random) == pytest.approx(1)
    assert area_between(random, random) == 0
    assert area_between(1 - np.array(SHARES), random) == pytest.approx(0.25)


def test_a_mean_has_an_interval_of_patients_and_their_slides_are_no_further_evidence() -> None:
    values = np.array([0.9, 0.8, 1.0, 0.7, 0.6, 0.9])
    patients = ["a", "b", "c", "d", "e", "f"]
    alone = mean_share(values, patients, level=0.95, draws=400)
    twice = mean_share(np.repeat(values, 2), np.repeat(patients, 2).tolist(), level=0.95, draws=400)
    assert alone.value == pytest.approx(values.mean())
    assert 0 < alone.low < alone.value < alone.high <= 1
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low, rel=0.02)
    gap = mean_difference(values - 0.8, patients, level=0.95, draws=400)
    assert gap.low < 0 < gap.high
    assert all(np.isnan([mean_difference(values, ["a"] * 6, level=0.95, draws=100).low]))
    assert isinstance(mean_share(np.ones(3), ["a", "b", "c"], level=0.95, draws=100), Estimate)
    assert mean_share(np.ones(3), ["a", "b", "c"], level=0.95, draws=100).low < 0.7  # three hits of three are few


def test_the_figure_has_a_panel_for_each_group() -> None:
    curves = {"evidence": np.linspace(1, 0, 9), "random patches": np.ones(9)}
    one = draw_removal([("called <b>$x", curves)])
    four = draw_removal([(f"called {number}", curves) for number in range(4)])
    assert one.startswith(b"\x89PNG")
    assert one == draw_removal([("called <b>$x", curves)])
    assert int.from_bytes(four[20:24]) > 1.7 * int.from_bytes(one[20:24])  # a second row
