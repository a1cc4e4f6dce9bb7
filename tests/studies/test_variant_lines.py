"""What an ablation says while it trains: a line for each row, and nothing of its folds."""

import numpy as np
import pytest

from sammil_cli import console
from sammil_cli.report.metrics import Predictions
from sammil_cli.studies.variant import Variant, VariantLines

ROWS = Predictions(
    slides=("a", "b"),
    patients=("a", "b"),
    repeat=np.zeros(2, np.int64),
    fold=np.zeros(2, np.int64),
    labels=np.array([0, 1]),
    predicted=np.array([0, 1]),
    probabilities=np.array([[0.9, 0.1], [0.2, 0.8]]),
    positive_class="tumour",
)


def test_a_row_is_a_line_with_its_figure_and_the_time_that_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]

    def make(seconds: float) -> Variant:
        console.print_table("Chosen on validation", ("fold",), [(0,)])
        now[0] += seconds
        return ROWS, {}

    lines = VariantLines(4, clock=lambda: now[0])
    for name, seconds in (("kept", 1.0), ("one", 60.0), ("two", 120.0), ("three", 30.0)):
        assert lines.made(name, "(mask_ratio=0.5)", lambda seconds=seconds: make(seconds)) == (ROWS, {})  # type: ignore[misc]
    assert capsys.readouterr().out.splitlines() == [
        "1 of 4, kept (mask_ratio=0.5): AUC 1.000, 1 s, about 3 s left",
        "2 of 4, one (mask_ratio=0.5): AUC 1.000, 1 min 0 s, about 2 min 0 s left",  # what was kept says nothing
        "3 of 4, two (mask_ratio=0.5): AUC 1.000, 2 min 0 s, about 1 min 30 s left",
        "4 of 4, three (mask_ratio=0.5): AUC 1.000, 30 s",
    ]


def test_progress_says_what_it_is_a_part_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)
    with console.within("2 of 4, one"), console.progress(300, "train", "epochs") as bar:
        bar.at(300, "")
    assert capsys.readouterr().err.splitlines()[-1] == "2 of 4, one: train: 300 of 300 epochs in 0 s"
