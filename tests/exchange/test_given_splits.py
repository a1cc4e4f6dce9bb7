"""CLAM's splits, as columns of labels.csv: what a split tests does not learn in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from csv_rows import rows_of

Sammil = Callable[..., Any]
LABELS = "slide_id,case_id,site,label\na1,A,x,normal\na2,A,x,normal\nb,B,y,tumour\nc,C,y,normal\nd,D,,tumour\n"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "old"
    (folder / "h5_files").mkdir(parents=True)
    for number, slide in enumerate(("a1", "a2", "b", "c", "d")):
        with h5py.File(folder / f"h5_files/{slide}.h5", "w") as file:
            file["features"] = np.random.default_rng(number).normal(size=(2, 4)).astype(np.float32)
            file["coords"] = np.array([[0, 0], [256, 0]])
    (folder / "labels.csv").write_text(LABELS)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return folder


def test_several_splits_become_a_column_each(old: Path, sammil: Sammil) -> None:
    (old / "splits_0.csv").write_text(",train,val,test\n0,a1,d,a2\n1,b,,\n2,c,,\n")
    (old / "splits_1.csv").write_text(",train,val,test\n0,b,a1,c\n1,a2,,d\n")
    answer = sammil("convert-legacy", old, "--no-slides", "--patch-px-level0", 256)
    assert answer.code == 0, answer.err
    assert (
        "2 slides were left out of the train or val part of a split that has their patient elsewhere (1 to 1 in each"
        in answer.out
    )
    parts = {row["slide_id"]: (row["site"], row["fold_0"], row["fold_1"]) for row in rows_of(Path("data/labels.csv"))}
    assert parts == {
        "a1": ("x", "", "val"),
        "a2": ("x", "test", ""),
        "b": ("y", "train", "train"),
        "c": ("y", "train", "test"),
        "d": ("", "val", "test"),
    }


def test_the_header_that_init_writes_is_no_label_table(old: Path, sammil: Sammil) -> None:
    assert sammil("init", ".", "--no-dvc").code == 0
    assert len(Path("data/labels.csv").read_text().splitlines()) == 1
    answer = sammil("convert-legacy", old, "--no-slides", "--patch-px-level0", 256)
    assert "labels: 5 slides" in answer.out
    assert len(rows_of(Path("data/labels.csv"))) == 5


@pytest.mark.parametrize(
    ("rows", "column", "parts"),
    [
        ("0,a1,d,c\n1,a2,,b\n", "split", ["train", "train", "test", "test", "val"]),
        ("0,b,d,c\n1,,,a1\n", "fold_0", ["test", "", "train", "test", "val"]),  # a2 is nowhere
    ],
)
def test_one_split_is_the_column_split_where_it_names_every_slide(
    old: Path, sammil: Sammil, rows: str, column: str, parts: list[str]
) -> None:
    (old / "splits_0.csv").write_text(f",train,val,test\n{rows}")
    assert sammil("convert-legacy", old, "--no-slides", "--patch-px-level0", 256).code == 0
    assert [row[column] for row in rows_of(Path("data/labels.csv"))] == parts
