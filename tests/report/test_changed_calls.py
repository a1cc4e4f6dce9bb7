"""Which slides two runs disagree on, and what became of them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sammil_cli.report.changed_calls import changed_table, counts_of, slides_of_two, write_slides
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.shared_slides import shared_slides

CLASSES = ("luad", "lusc", "normal")


def run(called: dict[str, list[int]], labels: dict[str, int], classes: int = 3) -> Predictions:
    """A run in which the class that a repeat calls has 0.6, and the others share the rest."""
    repeats = len(next(iter(called.values())))
    slides = tuple(called) * repeats
    predicted = np.array([called[slide][repeat] for repeat in range(repeats) for slide in called])
    probabilities = np.full((len(slides), classes), 0.4 / (classes - 1))
    probabilities[np.arange(len(slides)), predicted] = 0.6
    return Predictions(
        slides=slides,
        patients=tuple(f"p_{slide}" for slide in slides),
        repeat=np.repeat(np.arange(repeats), len(called)),
        fold=np.zeros(len(slides), np.int64),
        labels=np.array([labels[slide] for slide in slides]),
        predicted=predicted,
        probabilities=probabilities,
    )


LABELS = {"a": 0, "b": 0, "c": 1, "d": 2, "e": 1}
FIRST = run({"a": [0, 0, 1], "b": [1, 1, 1], "c": [1, 1, 0], "d": [0, 0, 0], "e": [1, 1, 1]}, LABELS)
SECOND = run({"a": [0, 1, 0], "b": [0, 0, 0], "c": [0, 0, 1], "d": [1, 1, 1], "e": [2, 2, 2]}, LABELS)


def test_slides_made_wrong_come_first_and_most_repeats_decide() -> None:
    slides = slides_of_two(shared_slides(FIRST, SECOND, "new", "old"), CLASSES)
    assert [(one.slide_id, one.change) for one in slides] == [
        ("e", "made wrong"),
        ("c", "made wrong"),
        ("b", "put right"),
        ("d", "wrong, another class"),
        ("a", ""),
    ]
    moved = slides[0]
    assert (moved.patient_id, moved.label, moved.of) == ("p_e", "lusc", "lusc")
    assert (moved.reference.called, moved.run.called) == ("lusc", "normal")
    assert (moved.reference.probability, moved.run.probability) == pytest.approx((0.6, 0.2))
    assert counts_of(slides) == {"made_wrong": 2, "put_right": 1, "wrong_another_class": 1}


def test_of_as_many_repeats_the_more_probable_class_counts() -> None:
    tie = run({"a": [0, 1]}, LABELS)
    probabilities = tie.probabilities.copy()
    probabilities[1] = [0.05, 0.9, 0.05]
    surer = Predictions(**{**tie.__dict__, "probabilities": probabilities})
    (one,) = slides_of_two(shared_slides(surer, surer, "same", "same"), CLASSES)
    assert (one.reference.called, one.change) == ("lusc", "")


def test_the_table_shows_ten_and_the_file_all(tmp_path: Path) -> None:
    names = [f"s{number:02}" for number in range(12)]
    labels = dict.fromkeys(names, 1)
    first, second = (run({name: [call] for name in names}, labels, classes=2) for call in (1, 0))
    slides = slides_of_two(shared_slides(first, second, "new", "old"), ("normal", "tumour"))
    table = changed_table("old", "new", slides, tmp_path / "slides.csv")
    assert table is not None
    assert table.title == "Where old and new disagree: 12 made wrong, of 12 slides"
    assert table.header == ("slide", "label", "called", "P(tumour)", "change")
    assert table.rows[0] == ("s00", "tumour", "tumour → normal", "0.600 → 0.400", "made wrong")
    assert len(table.rows) == 10
    assert "The first 10 of 12." in table.note
    write_slides(tmp_path / "slides.csv", "old", [("new", slides)])
    with (tmp_path / "slides.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide_id"] for row in rows] == names
    assert {row["probability_of"] for row in rows} == {"tumour"}
    assert (
        changed_table("old", "old", slides_of_two(shared_slides(first, first, "old", "old"), CLASSES), tmp_path) is None
    )


def test_runs_without_a_common_slide_disagree_on_none() -> None:
    other = run({"z": [0, 0, 0]}, {"z": 0})
    assert slides_of_two(shared_slides(FIRST, other, "new", "old"), CLASSES) == []
