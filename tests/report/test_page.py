"""The report page: the numbers are in it, and nothing of the user's becomes HTML."""

import base64
import html.parser
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.report.page import document, write_page

SUMMARY: dict[str, Any] = {
    "model": "sam-mil",
    "protocol": "honest",
    "folds": 2,
    "folds_with_auc": 1,
    "slides": 23,
    "patients": 19,
    "accuracy": {"mean": 0.8125, "sd": 0.0625},
    "auc": {"mean": 0.912345, "sd": 0.034567},
    "f1": {"mean": None, "sd": None},
}
FOLDS = [
    {"repeat": 0, "fold": 0, "test slides": 11, "val AUC": None, "threshold": 0.4567, "auc": 0.95},
    {"repeat": 0, "fold": 1, "test slides": 12, "val AUC": 0.875, "threshold": None, "auc": float("nan")},
]


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
        self.sources += [value or "" for name, value in attrs if name == "src"]

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


def test_the_page_holds_the_metrics_with_their_spread(tmp_path: Path) -> None:
    text, reader = write(tmp_path, SUMMARY)
    assert reader.rows[1:4] == [
        ["Accuracy", "0.812 ± 0.062"],
        ["AUC", "0.912 ± 0.035"],
        ["F1", "not defined in any fold"],
    ]
    assert "23 slides of 19 patients, 2 folds" in text
    assert "sam-mil: out-of-fold report" in text


def test_the_page_holds_a_row_per_fold_and_a_dash_where_there_is_no_number(tmp_path: Path) -> None:
    _, reader = write(tmp_path, SUMMARY)
    assert reader.rows[4:] == [
        ["repeat", "fold", "test slides", "val AUC", "threshold", "auc"],
        ["0", "0", "11", "–", "0.457", "0.950"],
        ["0", "1", "12", "0.875", "–", "–"],
    ]


@pytest.mark.parametrize(("folds_with_auc", "said"), [(2, False), (1, True)])
def test_the_page_says_so_when_folds_have_no_auc(tmp_path: Path, folds_with_auc: int, said: bool) -> None:
    text, _ = write(tmp_path, {**SUMMARY, "folds_with_auc": folds_with_auc})
    assert ("not defined in 1 folds" in text) == said


def test_pictures_are_inside_the_page(tmp_path: Path) -> None:
    _, reader = write(tmp_path, SUMMARY, ROC=b"first", Confusion=b"second")
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in reader.sources] == [
        b"first",
        b"second",
    ]


@pytest.mark.parametrize("key", ["model", "protocol"])
def test_what_the_user_named_is_text_and_no_html(tmp_path: Path, key: str) -> None:
    text, reader = write(tmp_path, {**SUMMARY, key: "<script>alert('x')</script>"})
    assert "script" not in reader.tags
    assert "&lt;script&gt;" in text


def test_titles_of_pictures_cannot_break_out_of_their_attribute(tmp_path: Path) -> None:
    title = "' onerror='alert(1)"
    write_page(tmp_path / "index.html", SUMMARY, FOLDS, {title: b"png"})
    reader = Reader()
    reader.feed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert len(reader.sources) == 1
    assert "onerror='alert" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_document_is_whole_and_its_title_is_text() -> None:
    text = document("a <b> & c", "<p>body</p>")
    assert text.startswith("<!doctype html>")
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert "<body><p>body</p></body></html>" in text
