"""What two runs are compared by, on numbers made by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_study import make_bag

from sammil_cli.features.bag import write_bag
from sammil_cli.project.run_record import FoldEntry
from sammil_cli.studies.agreement import (
    Difference,
    compare_metrics,
    compare_predictions,
    equal_folds,
    feature_difference,
    judge,
)


def test_every_number_of_the_metrics_is_compared_by_its_path() -> None:
    then = {"model": "mean", "auc": {"mean": 0.5, "low": None}, "parts": [1, 2.0], "gone": 1, "notice": None}
    now = {"model": "max", "auc": {"mean": 0.75, "low": 0.1}, "parts": [1, 2.5], "new": 3, "notice": "n too small"}
    count, differences = compare_metrics(then, now)
    assert count == 6  # auc.mean, auc.low, parts[0], parts[1], gone, new; words are passed over
    assert [(one.name, one.size) for one in differences] == [
        ("auc.low", None),
        ("gone", None),
        ("new", None),
        ("parts[1]", 0.5),
        ("auc.mean", 0.25),
    ]


def test_a_number_that_is_none_differs_from_every_number() -> None:
    _, (difference,) = compare_metrics({"auc": math.nan}, {"auc": 0.5})
    assert difference.size is None


def row(slide: str, tumour: float, predicted: str, fold: str = "0") -> dict[str, str]:
    """A row of predictions.csv."""
    probabilities = {"probability_normal": str(1 - tumour), "probability_tumour": str(tumour)}
    return {"repeat": "0", "fold": fold, "slide_id": slide, "label": "normal", "predicted": predicted, **probabilities}


def test_predictions_are_compared_slide_by_slide() -> None:
    then = [row("a", 0.5, "tumour"), row("b", 0.25, "normal"), row("c", 0.125, "normal"), row("d", 0.5, "normal")]
    now = [row("d", 0.5, "normal", fold="1"), row("c", 0.25, "normal"), row("b", 0.25, "tumour"), row("a", 0.25, "no")]
    count, differences, decisions = compare_predictions(then, now)
    assert (count, decisions) == (4, 2)
    assert {(one.name.partition(":")[0], one.size) for one in differences} == {
        ("d, fold 0.0", None),  # judged in another fold
        ("d, fold 0.1", None),
        ("b, fold 0.0", None),  # another decision from the same probabilities
        ("a, fold 0.0", 0.25),
        ("c, fold 0.0", 0.125),
    }
    assert compare_predictions(then, then[::-1]) == (4, (), 0)


def test_folds_are_equal_with_the_same_weights_and_threshold() -> None:
    common: dict[str, Any] = {"repeat": 0, "seed": 1, "epoch": 2, "other_environment": None}
    then, weights, threshold, renamed = (
        [FoldEntry(name=name, fold=0, threshold=number, weights_sha256=sha256, **common), last]
        for last in [FoldEntry(name="last", fold=1, threshold=None, weights_sha256="b", **common)]
        for name, number, sha256 in [("first", 0.5, "a"), ("first", 0.5, "c"), ("first", 0.25, "a"), ("new", 0.5, "a")]
    )
    assert [equal_folds(then, now) for now in (then, weights, threshold, renamed, [])] == [2, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("sizes", "tolerance", "all_equal", "verdict"),
    [
        ([], 0.0, True, "identical"),
        ([], 0.0, False, "within tolerance"),
        ([0.01], 0.01, True, "within tolerance"),
        ([0.001, 0.011], 0.01, True, "different"),
        ([None], 9.0, True, "different"),
    ],
)
def test_the_verdict_follows_from_the_largest_difference(
    sizes: list[float | None], tolerance: float, all_equal: bool, verdict: str
) -> None:
    differences = [Difference(name="auc", then=0.5, now=0.6, size=size) for size in sizes]
    assert judge(differences, tolerance, all_equal=all_equal) == verdict


def test_bags_are_compared_by_what_they_hold_whatever_they_say_of_their_making(tmp_path: Path) -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    for name, change, recipe in (("then", 0.0, {}), ("same", 0.0, {"code": "other"}), ("near", 0.25, {})):
        write_bag(tmp_path / name / "s.h5", make_bag("s", features + np.float32(change)), recipe)
    write_bag(tmp_path / "fewer" / "s.h5", make_bag("s", features[:3]), {})
    write_bag(tmp_path / "then" / "t.h5", make_bag("t", features), {})
    then = tmp_path / "then" / "s.h5"
    found = {name: feature_difference(then, tmp_path / name / "s.h5") for name in ("same", "near")}
    assert found == {"same": 0.0, "near": 0.25}
    assert feature_difference(then, tmp_path / "fewer" / "s.h5") == math.inf
    assert feature_difference(then, tmp_path / "then" / "t.h5") == math.inf
