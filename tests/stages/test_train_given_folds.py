"""Folds that labels.csv gives, trained and judged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csv_rows import rows_of
from encoded_project import make_project

Sammil = Callable[..., Any]
QUICK = {"folds": 3, "epochs": 3, "patience": 99, "min_epochs": 0, "learning_rate": 0.001}


@pytest.fixture(autouse=True)
def inline(inline_training: None) -> None:
    """In this process."""


def test_splits_that_test_slides_twice_are_judged_as_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Sammil
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", QUICK))
    labels = Path("data/labels.csv")
    header, *rows = labels.read_text(encoding="utf-8").split()
    one = ["test"] * 4 + ["train"] * 7 + [""]
    columns = [[*one[-shift:], *one[:-shift]] for shift in (0, 2, 4)]
    given = [",".join(cells) for cells in zip(rows, *columns, strict=True)]
    labels.write_text("\n".join([f"{header},fold_0,fold_1,fold_2", *given, ""]), encoding="utf-8")
    assert sammil("train").code == 0
    assert sorted(path.name for path in Path("runs/models").glob("repeat_*")) == [
        f"repeat_{k}_fold_0" for k in range(3)
    ]
    assert sammil("evaluate").code == 0
    judged = rows_of(Path("runs/predictions.csv"))
    names = [row.partition(",")[0] for row in rows]
    for repeat, column in enumerate(columns):
        tested = [name for name, part in zip(names, column, strict=True) if part == "test"]
        assert [row["slide_id"] for row in judged if (row["repeat"], row["role"]) == (str(repeat), "test")] == tested
    found = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
    assert (found["repeats"], found["folds"], found["slides"]) == (3, 3, 8)
    assert found["audit"]["shared_patients"] == {"train-test": 0, "val-test": 0, "train-val": 0}
