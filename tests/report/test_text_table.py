"""Tables on a narrow terminal: what is broken, what is cut, and what stays whole."""

import re

import pytest

from sammil_cli import console
from sammil_cli.report.text_table import TextTable, broken_lines, fit

INTERVAL, SPREAD = "0.979 [0.937, 1.000]", "0.944 ± 0.095"


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+\.\d+|\d+", text)


def printed(capsys: pytest.CaptureFixture[str], columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A wide table of models as the terminal shows it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    header = ("repeat", "fold", "model", *(f"metric {n}" for n in range(9)))
    rows = [(0, fold, "sam-mil with group features", *([INTERVAL, SPREAD, 1.5] * 3)) for fold in range(3)]
    console.print_table("Judged", header, rows)
    return capsys.readouterr().out.splitlines()


def test_a_table_that_fits_is_left_as_it_is() -> None:
    (table,) = fit(("model", "AUC"), [("abmil", "0.983"), ("mean of the patches", "–")], 80)
    assert table == TextTable(
        header=["model", "AUC"], rows=[["abmil", "0.983"], ["mean of the patches", "–"]], widths=[19, 5],
        numeric=[False, True],
    )  # fmt: skip


def test_texts_go_on_in_the_next_line_and_numbers_do_not() -> None:
    (table,) = fit(("model", "AUC"), [("the mean of all patches of a slide", INTERVAL)], 40)
    assert table.width <= 40
    assert table.rows == [["the mean of\nall patches\nof a slide", "0.979 [0.937, 1.000]"]]
    (table,) = fit(("model", "AUC"), [("the mean of all patches of a slide", "0.95 ± 0.02 in 0.91 to 0.98")], 34)
    assert table.rows[0][1].split("\n") == ["0.95 ± 0.02 in", "0.91 to 0.98"]


def test_too_many_columns_are_cut_into_tables_that_name_their_rows() -> None:
    header = ("repeat", "fold", *(f"metric {n}" for n in range(6)))
    rows = [("0", str(fold), *[INTERVAL] * 6) for fold in range(3)]
    parts = fit(header, rows, 80)
    assert len(parts) > 1
    assert all(list(part.header[:2]) == ["repeat", "fold"] for part in parts)
    assert [name for part in parts for name in part.header[2:]] == list(header[2:])
    assert all(part.width <= 80 for part in parts)
    assert all([row[1] for row in part.rows] == ["0", "1", "2"] for part in parts)


def test_long_paths_and_check_sums_are_broken_and_short_ids_are_not() -> None:
    path, digest = "/archive/of/all/slides/2019/TCGA-AA-0001.svs", "0123456789abcdef" * 4
    (table,) = fit(("id", "file", "sha256"), [("demo_001", path, digest)], 70)
    assert table.width <= 70
    slide, file, sha256 = table.rows[0]
    assert slide == "demo_001"
    assert file.replace("\n", "") == path
    assert sha256.replace("\n", "") == digest
    assert broken_lines(path, 24) == ["/archive/of/all/slides/", "2019/TCGA-AA-0001.svs"]


def test_numbers_stay_whole_where_even_they_do_not_fit() -> None:
    (table,) = fit(("n", "pixels"), [("1", "123,456,789,012,345")], 10)
    assert table.rows == [["1", "123,456,789,012,345"]]
    assert broken_lines("", 10) == [""]
    assert fit(("a",), [], 80)[0].rows == []


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_printed_table_fits_and_breaks_no_number(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(capsys, columns, monkeypatch)
    assert lines[0] == "Judged"
    assert max(map(len, lines)) <= columns
    shown = " ".join(lines[1:])
    for one in (INTERVAL, SPREAD):
        assert shown.count(one) == 9
    assert set(numbers(shown)) == set(numbers(f"{INTERVAL} {SPREAD} 1.5 0 1 2 3 4 5 6 7 8"))


def test_numbers_are_set_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("", ("model", "AUC", "n"), [("abmil", "0.9", 5), ("mean", "–", 24)])
    assert [line.strip("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")] == [
        " abmil │ 0.9 │  5 ",
        " mean  │   – │ 24 ",
    ]


def test_wrapping_moves_words_and_changes_none() -> None:
    text = "encoding 80 %, reading (0.95 ± 0.02), 5 to 6; [1, 2] of 3: all"
    for width in range(16, 70):
        assert " ".join(broken_lines(text, width)) == text


def test_what_broken_lines_leave_of_their_column_goes_to_another_one() -> None:
    """`balanced accuracy` takes 11 of its 14 in two lines; the last header can have what is left."""
    header = ("metric", "of", "pooled", "95 % interval", "folds: mean ± sd")
    rows = [
        ("sensitivity", "brightness-only", "0.986", "0.899 to 0.998", SPREAD),
        ("balanced accuracy", "sam-mil", "0.917", "0.701 to 0.966", SPREAD),
    ]
    (table,) = fit(header, rows, 80)
    assert table.header == list(header)
    assert table.rows[1][0] == "balanced\naccuracy"
    assert table.widths == [11, 15, 6, 14, 16]
    assert table.width <= 80


@pytest.mark.parametrize("width", range(30, 120, 3))
def test_no_column_is_wider_than_its_longest_line(width: int) -> None:
    header = ("stage", "file", "why", "AUC")
    rows = [("train", f"artifacts/{'bags_' * n}x.h5", "mask_ratio changed, " * n, INTERVAL) for n in range(5)]
    for table in fit(header, rows, width):
        for column, size in zip(zip(table.header, *table.rows, strict=True), table.widths, strict=True):
            assert size == max(len(line) for cell in column for line in cell.split("\n"))
