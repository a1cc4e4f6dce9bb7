"""Sensitivity by lesion area: bins, and intervals that do not take a patient's slides for independent ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged_files import write_run

from sammil_cli.errors import InputError
from sammil_cli.figures.lesion_size import positives_of, read_edges, run, ticks_between
from sammil_cli.project.project import Project
from sammil_cli.report.lesion_bins import bins_of, recall_of, terciles
from sammil_cli.report.metrics import Predictions


def judged(patients: list[str]) -> Predictions:
    """Three positive slides in two repeats, and a negative one; slide b is found in one of the repeats."""
    return Predictions(
        slides=("a", "b", "c", "n", "a", "b", "c", "n"),
        patients=tuple(patients * 2),
        repeat=np.repeat([0, 1], 4),
        fold=np.zeros(8, np.int64),
        labels=np.array([1, 1, 1, 0] * 2),
        predicted=np.array([1, 0, 1, 1, 1, 1, 1, 0]),
        probabilities=np.stack([1 - np.arange(8) / 10, np.arange(8) / 10], axis=1),
        positive_class="tumour",
    )


def test_the_interval_is_wilsons_where_each_patient_has_one_slide() -> None:
    found = recall_of(np.array([1, 1, 1, 0.0]), ["a", "b", "c", "d"], level=0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.75, 0.3006, 0.9544), abs=1e-4)
    whole = recall_of(np.ones(10), [str(i) for i in range(10)], level=0.95)
    assert (whole.value, whole.low, whole.high) == pytest.approx((1.0, 0.7225, 1.0), abs=1e-4)


def test_slides_of_one_patient_are_one_trial() -> None:
    alone = recall_of(np.ones(2), ["a", "b"], level=0.95)
    several = recall_of(np.ones(8), ["a"] * 4 + ["b"] * 4, level=0.95)
    assert several.low == pytest.approx(alone.low)
    assert recall_of(np.ones(8), [str(i) for i in range(8)], level=0.95).low > several.low + 0.2


@pytest.mark.parametrize(("share", "patients"), [(0.5, 20), (0.9, 20), (0.8, 50), (0.95, 200)])
def test_the_interval_holds_the_share_about_as_often_as_it_says_also_where_slides_of_a_patient_agree(
    share: float, patients: int
) -> None:
    generator = np.random.default_rng(3)
    names = [str(i) for i in range(patients) for _ in range(2)]
    held = 0
    for _ in range(300):
        found = np.repeat(generator.random(patients) < share, 2).astype(float)
        interval = recall_of(found, names, level=0.95)
        held += interval.low <= share <= interval.high
    assert held / 300 > 0.9


def test_slides_stand_in_the_bin_of_their_area_with_the_share_of_repeats_that_finds_them() -> None:
    positives = positives_of(judged(["p", "p", "q", "r"]), {"a": 0.1, "b": 1.0, "c": 2.0})
    assert positives.found.tolist() == [1, 0.5, 1]
    low, high = bins_of(positives, [1.0], level=0.95)
    assert (low.slides, low.recall.value, low.low, low.high) == (1, 1.0, 0.0, 1.0)
    assert (high.slides, high.patients, high.recall.value) == (2, 2, 0.75)  # 1.0 lies on the edge: the upper bin
    assert len(bins_of(positives, [5.0, 9.0], level=0.95)) == 1  # bins without a slide are none


def test_three_bins_of_equal_numbers_and_fewer_where_areas_are_alike() -> None:
    assert terciles(np.array([1.0, 2, 4, 8, 16, 32])) == pytest.approx([np.sqrt(8), np.sqrt(128)])
    assert terciles(np.array([1.0, 1.0])) == []


@pytest.mark.parametrize("text", ["", "a", "1,1", "2,1", "0,1", "inf", "nan"])
def test_edges_that_are_no_rising_areas_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="rising"):
        read_edges(text)


def test_edges_are_areas() -> None:
    assert read_edges("0.1,1, 10") == [0.1, 1, 10]


def test_ticks_are_round_areas() -> None:
    assert ticks_between(0.05, 3) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])


def test_two_trainings_with_other_positive_classes_are_no_pair(tmp_path: Path) -> None:
    rows = judged(["p", "p", "q", "r"])
    for name, positive in (("one", "tumour"), ("other", "normal")):
        write_run(tmp_path / name, replace(rows, positive_class=positive))
    folders = [tmp_path / "one/runs", tmp_path / "other/runs"]
    with pytest.raises(InputError, match="their positive classes differ"):
        run(Project(), folders, None, tmp_path, level=0.95)
