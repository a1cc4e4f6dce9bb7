"""The report page: the numbers are in it, and nothing of the user's becomes HTML."""

import base64
import html.parser
from pathlib import Path
from typing import Any

import pytest
from made_up_report import FOLDS, NAMES, SUMMARY

from sammil_cli.report.document import page
from sammil_cli.report.page import write_page, write_tables
from sammil_cli.report.tables import Table
from sammil_cli.training.thresholds import SELECTED_ON_TEST


class Reader(html.parser.HTMLParser):
    """Collects table rows, tags and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        self.sources += [value or "" for name, value in attrs if name == "src" and tag == "img"]

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def write(folder: Path, summary: dict[str, Any], **curves: bytes) -> tuple[str, Reader]:
    write_page(folder / "report" / "index.html", summary, FOLDS, curves)
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    return text, reader


def test_the_page_holds_the_metrics_with_intervals_spread_and_baselines(tmp_path: Path) -> None:
    text, reader = write(tmp_path, SUMMARY)
    assert reader.rows[:8] == [
        ["metric", "of", "pooled", "95 % interval", "folds: mean ± sd"],
        ["AUC", "sam-mil", "0.900", "0.810 to 0.988", "0.912 ± 0.035"],
        ["", "DeLong", "0.900", "0.790 to 0.970", ""],
        ["", "majority", "0.500", "0.500 to 0.500", "0.500 ± 0.000"],
        ["accuracy", "sam-mil", "0.800", "0.700 to 0.900", "0.812 ± 0.062"],
        ["", "majority", "0.500", "0.500 to 0.500", "0.500 ± 0.000"],
        ["F1", "sam-mil", "–", "–", "–"],
        ["", "majority", "0.500", "0.500 to 0.500", "0.500 ± 0.000"],
    ]
    assert "The sd is the spread of the folds, not the error of the mean." in text
    assert "23 slides of 19 patients, 2 folds" in text
    assert "sam-mil: out-of-fold report" in text


def test_the_page_holds_a_row_per_fold_and_a_dash_where_there_is_no_number(tmp_path: Path) -> None:
    _, reader = write(tmp_path, SUMMARY)
    assert reader.rows[-3:] == [
        ["repeat", "fold", "test slides", "val AUC", "threshold", "auc"],
        ["0", "0", "11", "–", "0.457", "0.950"],
        ["0", "1", "12", "0.875", "–", "–"],
    ]


def test_calibration_stands_before_and_after(tmp_path: Path) -> None:
    _, reader = write(tmp_path, {**SUMMARY, "ece_calibrated": {"pooled": 0.0625}})
    assert ["ECE", "as the model says", "0.125", "–"] in reader.rows
    assert ["", "calibrated", "0.062", "–"] in reader.rows
    assert ["Brier score", "as the model says", "0.250", "0.200 to 0.300"] in reader.rows


def test_more_than_two_classes_have_a_row_each(tmp_path: Path) -> None:
    one = {"pooled": 0.75, "low": 0.5, "high": 1.0}
    none = {"pooled": None, "low": None, "high": None}
    per_class = {
        "A": {"auc": one, "f1": one, "sensitivity": one, "specificity": one, "slides": 7},
        "<B>": {"auc": none, "f1": none, "sensitivity": none, "specificity": none, "slides": 0},
    }
    text, reader = write(tmp_path, {**SUMMARY, "per_class": per_class})
    assert ["A", "7", *["0.750 (0.500 to 1.000)"] * 4] in reader.rows
    assert ["<B>", "0", "–", "–", "–", "–"] in reader.rows
    assert "&lt;B&gt;" in text


def test_the_page_warns_of_what_must_be_known(tmp_path: Path) -> None:
    assert 'class="warning"' not in write(tmp_path, SUMMARY)[0]
    text, _ = write(tmp_path, {**SUMMARY, "notice": "n too small <very>"})
    assert '<p class="warning">n too small &lt;very&gt;</p>' in text


def test_the_published_protocol_marks_every_row_and_shows_what_choice_is_worth(tmp_path: Path) -> None:
    spread = {name: {"mean": 0.9, "sd": 0.05} for name in NAMES}
    plain = {name: {"mean": 0.7, "sd": 0.04} for name in NAMES}
    chance = {name: {"mean": 0.65, "p95": 0.71} for name in NAMES}
    optimism = {"published": spread, "nothing_chosen": plain, "chance": chance}
    summary = {**SUMMARY, "protocol": f"paper: {SELECTED_ON_TEST}", "optimism": optimism}
    text, reader = write(tmp_path, summary)
    wanted = ["AUC", "0.900 ± 0.050", "0.700 ± 0.040", "0.650", "0.710", SELECTED_ON_TEST]
    assert wanted in reader.rows
    assert {row[-1] for row in reader.rows} == {"", SELECTED_ON_TEST}  # a header ends in an empty cell
    assert "chosen on the test slides themselves" in text


def test_pictures_are_inside_the_page(tmp_path: Path) -> None:
    _, reader = write(tmp_path, SUMMARY, ROC=b"first", Confusion=b"second")
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in reader.sources] == [
        b"first",
        b"second",
    ]


@pytest.mark.parametrize("key", ["model", "protocol", "positive_class"])
def test_what_the_user_named_is_text_and_no_html(tmp_path: Path, key: str) -> None:
    text, reader = write(tmp_path, {**SUMMARY, key: "<script>alert('x')</script>"})
    assert reader.tags.count("script") == 2  # those of the page itself
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_titles_of_pictures_cannot_break_out_of_their_attribute(tmp_path: Path) -> None:
    title = "' onerror='alert(1)"
    write_page(tmp_path / "index.html", SUMMARY, FOLDS, {title: b"png"})
    reader = Reader()
    reader.feed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert len(reader.sources) == 1
    assert "onerror='alert" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_page_is_whole_and_its_title_is_text_in_which_nothing_is_unseen() -> None:
    text = page("numbers", title="a <b> & c\u202e", tables=[], figures=[], remark="", wide=True, mark=None)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>a &lt;b&gt; &amp; c\\u202e</title>" in text
    assert text.rstrip().endswith("</html>")
    assert "\u202e" not in text


def test_a_page_of_tables_holds_their_titles_rows_and_notes_as_text(tmp_path: Path) -> None:
    one = Table(title="Masks <1>", header=("mask", "AUC"), rows=[("none", "0.5"), ("<i>", "0.6")], note="a & b")
    write_tables(tmp_path / "index.html", "Ablation", [one, one])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.rows == 2 * [["mask", "AUC"], ["none", "0.5"], ["<i>", "0.6"]]
    assert text.count(">Masks &lt;1&gt;</h2>") == text.count("a &amp; b") == 2
    assert "<h1>Ablation</h1>" in text
