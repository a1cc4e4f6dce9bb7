"""Columns of labels.csv by which results are looked at."""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import cohort_of_table
from sammil_cli.cohort.columns import column_of
from sammil_cli.cohort.label_table import read_table
from sammil_cli.errors import InputError


def column(path: Path, text: str, name: str, slides: set[str]) -> dict[str, str | None]:
    path.write_text(text, encoding="utf-8")
    table, _ = read_table(path, slides)
    assert table is not None
    return column_of(table, name, cohort_of_table(table, ("a", "b"), slides).members)


def test_empty_cells_and_words_for_nothing_are_none(tmp_path: Path) -> None:
    text = "slide_id,label,scanner\ns1,a,Leica\ns2,b, Leica \ns3,b,NA\ns4,a,\n"
    found = column(tmp_path / "l.csv", text, "scanner", {"s1", "s2", "s3", "s4"})
    assert found == {"s1": "Leica", "s2": "Leica", "s3": None, "s4": None}


def test_in_a_table_of_patients_each_slide_has_its_patients_value(tmp_path: Path) -> None:
    text = "patient_id,label,sex\nP1,a,f\nP2,b,m\n"
    found = column(tmp_path / "l.csv", text, "sex", {"P1_x", "P1_y", "P2_x"})
    assert found == {"P1_x": "f", "P1_y": "f", "P2_x": "m"}


def test_a_misspelt_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    text = "slide_id,label,scanner\ns1,a,x\ns2,b,y\n"
    with pytest.raises(InputError, match="no column 'scaner'") as refusal:
        column(tmp_path / "l.csv", text, "scaner", {"s1", "s2"})
    assert refusal.value.remedy == "did you mean --by scanner?"


def test_more_than_20_values_are_refused_with_the_fix(tmp_path: Path) -> None:
    rows = "".join(f"s{place},{'ab'[place % 2]},{place}\n" for place in range(21))
    with pytest.raises(InputError, match="has 21 values, 20 at most") as refusal:
        column(tmp_path / "l.csv", "slide_id,label,age\n" + rows, "age", {f"s{place}" for place in range(21)})
    assert "a column of its own, such as age_group" in str(refusal.value.remedy)
