"""Bands around pooled curves: the curve is scikit-learn's, and the band is what other patients would give."""

import numpy as np
import pytest
from made_up_report import CLASSES, predictions
from sklearn.metrics import precision_recall_curve, roc_curve

from sammil_cli.report import figures
from sammil_cli.report.curve_bands import pr_bands, roc_bands
from sammil_cli.report.metrics import Predictions

GRID = np.linspace(0, 1, 101)


def rows(count: int = 60) -> Predictions:
    found = predictions(count)
    rng = np.random.default_rng(3)
    score = np.round(np.clip(found.probabilities[:, 1] + rng.normal(0, 0.2, count), 0, 1), 1)  # with ties
    found.probabilities[:] = np.stack([1 - score, score], axis=1)
    return found


def test_the_pooled_curves_are_those_of_all_test_parts_together() -> None:
    judged = rows()
    (roc,), (pr,) = (of(judged, CLASSES, level=0.95, draws=20) for of in (roc_bands, pr_bands))
    across, up, _ = roc_curve(judged.labels, judged.probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(roc.value, np.interp(GRID, across, up))
    precision, recall, _ = precision_recall_curve(judged.labels, judged.probabilities[:, 1])
    wanted = [precision[np.flatnonzero(recall >= one - 1e-12).max()] for one in np.maximum(GRID, 1e-9)]
    np.testing.assert_allclose(pr.value, wanted)
    assert roc.name == pr.name == "tumour"


def test_a_band_holds_its_curve_narrows_with_more_patients_and_is_the_same_again() -> None:
    few, many = (roc_bands(rows(count), CLASSES, level=0.95, draws=200)[0] for count in (40, 400))
    for band in (few, many):
        assert np.all(band.low <= band.value + 0.05)
        assert np.all(band.value - 0.05 <= band.high)
    assert (many.high - many.low).mean() < 0.6 * (few.high - few.low).mean()
    again = roc_bands(rows(40), CLASSES, level=0.95, draws=200)[0]
    np.testing.assert_array_equal(again.low, few.low)


def test_each_of_more_classes_has_a_band_and_a_class_that_nobody_has_none() -> None:
    judged = rows()
    both = judged.probabilities / 2
    three = Predictions(**{**vars(judged), "probabilities": np.column_stack([both, both[:, 0]])})
    assert [band.name for band in pr_bands(three, ("A", "B", "C"), level=0.9, draws=5)] == ["A", "B"]
    one_class = judged.rows(judged.labels == 1)
    assert roc_bands(one_class, CLASSES, level=0.9, draws=5) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_figures_with_bands_are_the_same_bytes_again_and_show_them(count: int) -> None:
    bands = roc_bands(rows(), CLASSES, level=0.95, draws=20) * count
    points = [("fold 0.0", 0.0, 0.0), ("fold 0.0", 1.0, 1.0)]
    drawn = figures.pooled_curves(points, bands, ("x", "y"), diagonal=True)
    assert drawn == figures.pooled_curves(points, bands, ("x", "y"), diagonal=True)
    assert (drawn == figures.curves(points, "x", "y", diagonal=True)) == (count == 0)
