"""Splits that name patients, label tables in a zip, and classes as numbers."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from csv_rows import rows_of

from sammil_cli.errors import InputError
from sammil_cli.exchange.split_patients import slides_of_patients
from sammil_cli.exchange.tables import OldTables, read_tables, write_tables
from sammil_cli.legacy.inventory import Kind, take_inventory
from sammil_cli.legacy.tables import Split
from sammil_cli.project.project import Project

SLIDES = {"P1_a", "P1_b", "P10_a", "P2_a", "other"}


def split(**parts: Sequence[str]) -> Split:
    empty: dict[str, Sequence[str]] = {"train": (), "val": (), "test": ()}
    return Split(0, {role: tuple(ids) for role, ids in (empty | parts).items()}, Path("splits_0.csv"))


def resolved(one: Split, patient_of: dict[str, str] | None = None) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    remarks: list[str] = []
    [found] = slides_of_patients([one], SLIDES, patient_of or {}, remarks)
    return found.parts, remarks


def test_patients_stand_for_all_their_slides_and_no_number_is_cut() -> None:
    parts, remarks = resolved(split(train=["P1"], val=["P10"], test=["P2", "P7"]))
    assert parts == {"train": ("P1_a", "P1_b"), "val": ("P10_a",), "test": ("P2_a", "P7")}
    assert remarks == ["the splits name patients: 3 of them (P1, P10, P2) stand for their 4 slides"]


def test_the_labels_say_whose_a_slide_is() -> None:
    patient_of = {"P1_a": "ann", "other": "ann", "P2_a": "bob"}
    parts, _ = resolved(split(train=["ann", "P10_a"], test=["bob"]), patient_of)
    assert parts == {"train": ("P1_a", "other", "P10_a"), "val": (), "test": ("P2_a",)}


def test_splits_of_slides_stay_as_they_are_also_where_one_is_part_of_another() -> None:
    one = split(train=["P1_a.svs", "P1"], test=["P2_a"])
    parts, remarks = resolved(one)
    assert (parts, remarks) == (one.parts, [])


def test_a_slide_of_two_patients_in_two_parts_is_refused() -> None:
    with pytest.raises(InputError, match="'P1_a' has the ids of two patients, of train and of test") as caught:
        resolved(split(train=["P1_a", "ann"], test=["bob"]), {"P1_a": "bob", "P2_a": "ann"})
    assert "patient_id" in caught.value.remedy


def read(folder: Path, labels: Path | None = None, splits: Path | None = None) -> OldTables:
    return read_tables(take_inventory(folder), Project(), SLIDES, labels, splits, None)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    return tmp_path / "old"


def test_splits_of_patients_become_folds_of_slides(old: Path) -> None:
    (old / "splits_0.csv").write_text(",train,val,test\n0,P1,P10,P2\n")
    tables = read(old)
    write_tables(tables, Project(), SLIDES)
    found = [(row["slide_id"], row["role"]) for row in rows_of(Path("runs/splits.csv"))]
    assert found == [("P1_a", "train"), ("P1_b", "train"), ("P10_a", "val"), ("P2_a", "test")]
    assert any("name patients" in remark for remark in tables.remarks)


def test_a_label_table_in_a_zip_is_told(old: Path) -> None:
    with zipfile.ZipFile(old / "labels.csv.zip", "w") as archive:
        archive.writestr("labels.csv", "slide_id,label\nP1_a,x\nP2_a,y\n")
    assert [remark for remark in read(old).remarks if "labels.csv.zip is a zip archive of tables" in remark]
    with pytest.raises(InputError, match=r"is a zip archive that holds labels\.csv") as caught:
        read(old, labels=old / "labels.csv.zip")
    assert caught.value.remedy == f"unzip -p {old / 'labels.csv.zip'} > labels.csv, then --labels labels.csv"
    with pytest.raises(InputError, match="zip archive"):
        read(old, splits=old / "labels.csv.zip")


def test_the_real_zip_of_labels_is_told(real_data: Path) -> None:
    """pandas packed it under a name of its own, `../tcga_lung_subset.csv.zip`."""
    folder = real_data / "mil" / "tcga_regions"
    assert folder / "tcga_lung_subset.csv.zip" in take_inventory(folder).of(Kind.ZIPPED)


def test_numbers_become_the_words_that_lie_beside_them(old: Path) -> None:
    (old / "label.csv").write_text("P1_a,1\nP1_b,0\nP2_a,1\n")
    (old / "classes.csv").write_text("number,label\n0,tumour\n1,normal\n")
    write_tables(read(old), Project(), SLIDES)
    labels = {row["slide_id"]: row["label"] for row in rows_of(Path("data/labels.csv"))}
    assert labels == {"P1_a": "normal", "P1_b": "tumour", "P2_a": "normal"}
    (old / "classes.csv").write_text("number,label\n0,tumour\n")
    with pytest.raises(InputError, match="does not name the class '1'"):
        read(old, labels=old / "label.csv")
