"""Figures: PNG bytes that show something, the same for the same numbers."""

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from sammil_cli.report import figures
from sammil_cli.report.figures import confusion, curves, reliability

ROC = [
    ("fold 0.0", 0.0, 0.0),
    ("fold 0.0", 0.2, 0.9),
    ("fold 0.0", 1.0, 1.0),
    ("fold 0.1", 0.0, 0.3),
    ("fold 0.1", 1.0, 1.0),
]


def decode(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def colours(png: bytes) -> int:
    return len(np.unique(decode(png).reshape(-1, 3), axis=0))


def test_curves_are_a_png_of_more_than_one_colour() -> None:
    assert colours(curves(ROC, "x", "y", diagonal=True)) > 10


def test_the_same_curves_give_the_same_bytes_and_others_do_not() -> None:
    assert curves(ROC, "x", "y", diagonal=True) == curves(ROC, "x", "y", diagonal=True)
    assert curves(ROC, "x", "y", diagonal=True) != curves(ROC, "x", "y", diagonal=False)
    assert curves(ROC, "x", "y", diagonal=True) != curves(ROC[:3], "x", "y", diagonal=True)


def test_no_curve_at_all_still_gives_axes() -> None:
    assert colours(curves([], "x", "y", diagonal=False)) > 1


@pytest.mark.parametrize(("count", "legend"), [(1, True), (10, True), (11, False), (15, False)])
def test_many_curves_are_drawn_without_a_legend_over_them(
    monkeypatch: pytest.MonkeyPatch, count: int, legend: bool
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "to_png", drawn.append)
    curves([(f"fold {i}", x, min(1.0, x + i / 30)) for i in range(count) for x in (0.0, 1.0)], "x", "y", diagonal=False)
    (axes,) = drawn[0].axes
    assert len(axes.get_lines()) == count
    assert (axes.get_legend() is not None) == legend


def test_the_confusion_table_is_darker_where_more_slides_are() -> None:
    image = decode(confusion(np.array([[9, 1], [0, 5]]), ["normal", "tumour"])).astype(int)
    height, width = image.shape[:2]
    # The four cells lie around the middle of the axes; each is judged away from its number.
    blue = (image[..., 0] - image[..., 2]) * (image.max(2) - image.min(2) > 20)
    rows, columns = np.nonzero(blue)
    assert len(rows) > 0.2 * height * width
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    third = (bottom - top) // 3
    brightness = {
        (r, c): image[
            top + r * (bottom - top - third) + third // 4, left + c * (right - left - third) + third // 4
        ].sum()
        for r in (0, 1)
        for c in (0, 1)
    }
    assert brightness[0, 0] < brightness[0, 1]
    assert brightness[1, 1] < brightness[1, 0]


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_a_class_without_slides_can_be_drawn(classes: list[str]) -> None:
    counts = np.zeros((len(classes), len(classes)), np.int64)
    counts[1, 0] = 3
    assert colours(confusion(counts, classes)) > 1


def test_reliability_follows_its_bins_and_draws_both_sets() -> None:
    one, other = [(0.62, 0.5, 4), (0.95, 0.9, 10)], [(0.62, 0.7, 4)]
    pictures = [reliability({"a": one}), reliability({"a": other}), reliability({"a": one, "b": other})]
    assert len(set(pictures)) == 3
    assert reliability({"a": one}) == pictures[0]
    assert colours(pictures[2]) > 10


@pytest.mark.parametrize("bins", [{}, {"a": []}])
def test_reliability_of_nothing_is_drawn(bins: dict[str, list[tuple[float, float, int]]]) -> None:
    assert colours(reliability(bins)) > 1
