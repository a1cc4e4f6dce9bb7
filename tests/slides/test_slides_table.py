"""`data/slides.csv`: what the user says of single slides; slips are refused, columns of the user's own are not."""

from pathlib import Path

import pytest

from sammil_cli.errors import InputError
from sammil_cli.slides.table import SlideEntry, read_slides_table

COLUMNS = ("tissue_threshold", "segmenter")


def table_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "slides.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_table_says_nothing(tmp_path: Path) -> None:
    assert read_slides_table(tmp_path / "slides.csv", COLUMNS) == {}


def test_cells_are_overrides_as_text_and_empty_cells_are_none(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "slide_id,stain,tissue_threshold,mpp,segmenter\na,HE,12,,otsu\nb,HE,,0.25,\nc,,,,\nd,IHC, 007 ,1,od\n"
    )
    assert read_slides_table(table, COLUMNS) == {
        "a": SlideEntry(mpp=None, overrides={"tissue_threshold": "12", "segmenter": "otsu"}),
        "b": SlideEntry(mpp=0.25, overrides={}),
        "c": SlideEntry(mpp=None, overrides={}),
        "d": SlideEntry(mpp=1.0, overrides={"tissue_threshold": "007", "segmenter": "od"}),
    }


def test_mpp_need_not_be_a_column(tmp_path: Path) -> None:
    table = table_of(tmp_path, "slide_id,segmenter\na,od\n")
    assert read_slides_table(table, COLUMNS) == {"a": SlideEntry(overrides={"segmenter": "od"})}
    assert read_slides_table(table) == {"a": SlideEntry()}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tissue_treshold", "tissue_threshold"),
        ("mmp", "mpp"),
        ("MPP", "mpp"),
        ("Scene", "scene"),
        ("scenes", "scene"),
        ("Segmenter", "segmenter"),
    ],
)
def test_a_misspelt_column_is_refused_with_what_was_meant(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"has the column '{name}'") as caught:
        read_slides_table(table_of(tmp_path, f"slide_id,{name}\na,1\n"), COLUMNS)
    assert f"did you mean {meant}?" in caught.value.remedy


@pytest.mark.parametrize("name", ["stain", "site", "tissue", "tissue_type", "scanner", "note", "comment"])
def test_a_column_of_the_users_own_is_passed_over(tmp_path: Path, name: str) -> None:
    assert read_slides_table(table_of(tmp_path, f"slide_id,{name}\na,1\n"), COLUMNS) == {"a": SlideEntry()}


def test_a_slide_listed_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    table = table_of(tmp_path, "slide_id,mpp\na,0.5\nb,0.5\na,0.25\n")
    with pytest.raises(InputError, match=r"slide 'a' twice: lines 2 and 4"):
        read_slides_table(table)


def test_lines_count_as_an_editor_counts_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lines 2 and 5"):
        read_slides_table(table_of(tmp_path, "slide_id,mpp\na,0.5\n\n\na,0.5\n"))


def test_a_line_without_a_slide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3 has no slide_id"):
        read_slides_table(table_of(tmp_path, "slide_id,mpp\na,0.5\n,0.5\n"))


def test_a_scene_is_a_whole_number_from_one_on(tmp_path: Path) -> None:
    table = table_of(tmp_path, "slide_id,scene\na,2\nb,\nc,03\n")
    assert read_slides_table(table) == {"a": SlideEntry(scene=2), "b": SlideEntry(), "c": SlideEntry(scene=3)}
    for text in ("0", "-1", "1.5", "core A", "1e3", "²"):
        with pytest.raises(InputError, match=rf"line 3: scene '{text}' is no whole number"):
            read_slides_table(table_of(tmp_path, f"slide_id,scene\na,1\nb,{text}\n"))
