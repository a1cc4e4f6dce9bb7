"""Rows of slides: one for each, the most confident errors first, numbers in which the decision can be read."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from made_up_report import CLASSES, predictions

from sammil_cli.report.document import number_columns, picture_size
from sammil_cli.report.listing import facts_of, listing
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.slide_rows import judged_rows, pictures_in


def judged(positive: list[float], labels: list[int], names: str, thresholds: dict[tuple[int, int], float]) -> list[str]:
    """Name and outcome of each row; a name that comes again is another repeat's."""
    count = len(positive)
    repeat = np.array([names[:place].count(name) for place, name in enumerate(names)])
    limits = np.array([thresholds[int(one), 0] for one in repeat])
    rows = Predictions(
        slides=tuple(names),
        patients=tuple(names),
        repeat=repeat,
        fold=np.zeros(count, np.int64),
        labels=np.array(labels),
        predicted=(np.array(positive) >= limits).astype(np.int64),
        probabilities=np.stack([1 - np.array(positive), np.array(positive)], axis=1),
        positive_class="tumour",
    )
    return [f"{row.name} {row.outcome}" for row in judged_rows(rows, CLASSES, thresholds, {})]


def test_wrong_slides_come_first_by_their_distance_from_the_threshold_and_right_ones_by_name() -> None:
    found = judged([0.6, 0.9, 0.3, 0.1, 0.8], [0, 1, 1, 0, 0], "dcbae", {(0, 0): 0.5})
    assert found == ["e wrong", "b wrong", "d wrong", "a right", "c right"]


def test_a_slide_of_several_repeats_is_one_row_that_says_in_how_many_it_is_wrong() -> None:
    found = judged([0.9, 0.9, 0.2, 0.6, 0.7, 0.3], [1, 0, 1, 0, 1, 1], "ababaa"[:6], {(n, 0): 0.5 for n in range(4)})
    assert found == ["b wrong 2 of 2", "a wrong 2 of 4"]


def test_a_decision_can_be_read_from_the_numbers_and_more_classes_have_no_threshold() -> None:
    rows = replace(predictions(2), probabilities=np.array([[0.7, 0.3], [0.50001, 0.49999]]), predicted=np.array([0, 0]))
    found = {row.name: row for row in judged_rows(rows, CLASSES, {(0, 0): 0.5, (0, 1): 0.5}, {})}
    assert (found["slide_000"].probability, found["slide_000"].threshold) == ("0.300", "0.500")
    assert found["slide_001"].probability == "0.49999"
    three = replace(rows, probabilities=np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), predicted=np.array([2, 0]))
    first, second = judged_rows(three, ("A", "B", "C"), {}, {"slide_000": ["pen: 2%"]})
    assert (first.called, first.probability, first.threshold, first.outcome) == ("C", "0.700", "", "wrong")
    assert (second.called, second.truth, second.probability) == ("A", "B", "0.500")
    assert (
        facts_of(first, None) == "truth A · called C (wrong) · P(predicted) 0.700 · fold 0.0 · patient P000 · pen: 2%"
    )


def test_what_abstaining_leaves_open_is_a_remark() -> None:
    rows = predictions(3)
    sets = np.array([[True, True], [False, True], [False, False]])
    found = {row.name: row.remarks for row in judged_rows(rows, CLASSES, {}, {}, sets)}
    assert found["slide_000"] == ["left open: normal | tumour"]
    assert found["slide_001"] == []
    assert found["slide_002"] == ["left open: no class fits"]


def test_a_table_says_how_many_are_wrong() -> None:
    rows = judged_rows(predictions(20), CLASSES, {(0, fold): 0.5 for fold in range(5)}, {})
    assert listing(rows, "tumour").said.startswith("2 of 20 slides are called wrong")
    assert listing(rows[2:], "tumour", of="patients").said == "All 18 patients are called right."


def test_pictures_come_in_the_order_of_the_names_and_bring_what_lies_beside_them(tmp_path: Path) -> None:
    png = cv2.imencode(".png", np.zeros((30, 70, 3), np.uint8))[1].tobytes()
    for name in ("a.png", "b.png", "z.z.png"):
        (tmp_path / name).write_bytes(png)
    (tmp_path / "b.png").write_bytes(b"cut")
    (tmp_path / "a.csv").write_text("x,y\n")
    found = pictures_in(tmp_path, ["z.z", "gone", "b"], prefix="s/")
    assert [(one.name, one.path, one.size) for one in found] == [
        ("z.z", "s/z.z.png", (70, 30)),
        ("b", "s/b.png", None),
        ("a", "s/a.png", (70, 30)),
    ]
    assert [list(one.files.values()) for one in found] == [[], [], ["s/a.csv"]]
    assert picture_size(b"") is None


def test_numbers_are_told_from_words_column_by_column() -> None:
    assert number_columns([("AUC", "0.9", "–", "12 slides"), ("2", "–", "", "< 0.001")]) == [False, True, False, True]
    assert number_columns([]) == []
