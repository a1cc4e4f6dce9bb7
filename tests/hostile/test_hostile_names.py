"""Names stand as they are, in every medium and through every command; what nobody sees is written out."""

import csv
import html.parser
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hostile_names import ALL, CLASSES, LINES, SLIDES, is_plain
from inline_executor import open_inline
from matplotlib.figure import Figure
from matplotlib.text import Text
from slide_maker import write_tiny_cohort
from study_fixtures import SMALL, call, inside, set_params, training_inline

from sammil_cli import console
from sammil_cli.cohort.raw_table import read_raw
from sammil_cli.report import figures
from sammil_cli.report.document import fragment
from sammil_cli.report.png import to_png
from sammil_cli.runner import per_slide
from sammil_cli.storage.csv_text import guarded
from sammil_cli.storage.files import read_csv, write_csv
from sammil_cli.storage.shown_text import json_text, shortened, shown

LABELLED = [name for name in SLIDES if name.isprintable()]  # labels of others are refused
DRAWN = SLIDES[1:5:3]
ONLY = io.StringIO()
csv.writer(ONLY).writerow(DRAWN)
COMMANDS = {
    "check": (),
    "inspect": ("--workers", 1),
    "segment": (),
    "patch": (),
    "sam": (),
    "extract": ("--verbose",),
    "train": (),
    "evaluate": (),
    "visualize": ("--only", ONLY.getvalue().strip()),
    "predict": (),
    "status": (),
    "why": (SLIDES[3],),
    "export": ("--to", "sam-mil", ".", "--out", "exported"),
}
Named = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Named:
    """A project of hostile names after all commands, and what each said."""
    folder = tmp_path_factory.mktemp("named") / "study"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    write_tiny_cohort(folder / "data")
    rows = []
    for number, (name, path) in enumerate(zip(LABELLED, sorted((folder / "data/slides").iterdir()), strict=True)):
        named = path.rename(path.with_name(name + path.suffix))
        rows.append((name, CLASSES[number % 2]))
    for name in set(SLIDES) - set(LABELLED):
        named.with_name(name + named.suffix).write_bytes(named.read_bytes() + b"another")
    write_csv(folder / "data/labels.csv", ("slide_id", "label"), rows)
    set_params(folder, **SMALL, model="mean", min_epochs=0, classes=list(CLASSES), positive_class=CLASSES[1])
    set_params(folder, top_patches=0)
    with inside(folder), training_inline(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_slide, "open_executor", open_inline)
        return folder, {verb: call(verb, *words) for verb, words in COMMANDS.items()}


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_shows_names_and_obeys_none(named: Named, verb: str) -> None:
    answer = named[1][verb]
    assert answer.code == 0, answer
    assert is_plain(answer.out), answer.out
    assert is_plain(answer.err), answer.err


def test_every_table_gives_its_names_back_and_none_has_a_cell_that_a_spreadsheet_runs(named: Named) -> None:
    folder = named[0]
    for path in ("runs/new_predictions/predictions.csv", "artifacts/process_lists/extract.csv"):
        assert {row["slide_id"] for row in read_csv(folder / path, ("slide_id",))} == set(SLIDES)
    assert {row["slide_id"] for row in read_csv(folder / "runs/predictions.csv", ("slide_id",))} == set(LABELLED)
    assert {row["label"] for row in read_csv(folder / "runs/predictions.csv", ("label",))} == set(CLASSES)
    for path in {*folder.rglob("*.csv")} - {*folder.rglob("exported/**/*.csv")}:
        cells = {cell for row in csv.reader(path.read_text(encoding="utf-8").splitlines(keepends=True)) for cell in row}
        assert cells == {guarded(cell) if cell[:1] != "'" else cell for cell in cells}, path


class Links(html.parser.HTMLParser):
    """Collects the tags of a page, what it links to, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.links, self.ids, self.text = set[str](), list[str](), set[str](), ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids |= {value or "" for name, value in attrs if name == "id" and tag == "figure"}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_pages_link_to_the_files_and_take_no_name_for_a_tag(named: Named) -> None:
    folder = named[0] / "report/slides"
    page = Links(folder / "index.html")
    files = [link for link in page.links if not link.startswith("#")]
    beside = {f"{name}.{suffix}" for name in DRAWN for suffix in ("csv", "png")}
    assert {unquote(link) for link in files} == {"../index.html", *beside}
    assert all((folder / unquote(link)).is_file() for link in files)
    assert {link[1:] for link in page.links if link.startswith("#")} == page.ids == {fragment(name) for name in DRAWN}
    assert all(shown(name) in page.text for name in DRAWN)
    assert not {"b", "i"} & (page.tags | Links(named[0] / "report/index.html").tags)


def test_json_holds_names_and_nothing_that_nobody_sees(named: Named) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in named[0].rglob("*.*json")}
    assert len(texts) > 3 * len(SLIDES)
    assert all(json.loads(text) for text in texts.values())
    assert [path for path, text in texts.items() if not is_plain(text)] == []


@pytest.mark.parametrize("name", ALL)
def test_a_name_comes_back_from_a_table_and_from_json(tmp_path: Path, name: str) -> None:
    kept = name.encode("utf-8", "backslashreplace").decode()  # half a letter is none
    write_csv(tmp_path / "a.csv", ("slide_id", "x"), [(name, -1.5), ("b", name)])
    if "\0" not in name:
        assert read_csv(tmp_path / "a.csv", ("slide_id",)) == [
            {"slide_id": kept, "x": "-1.5"},
            {"slide_id": "b", "x": kept},
        ]
        assert [row.cells for row in read_raw(tmp_path / "a.csv", "slide_id")[0][1:]] == [(kept, "-1.5"), ("b", kept)]
    assert json.loads(json_text({name: [name]})) == {name: [name]}
    assert is_plain(json_text({name: name}))


def test_only_what_a_spreadsheet_runs_is_guarded() -> None:
    assert {name for name in ALL if guarded(name) != name} == {
        SLIDES[2],
        CLASSES[1],
        LINES[0],
        "-1+SUM(A1)",
        "\t=x",
        "'=x",
    }
    assert guarded(-1.5) == -1.5


def test_the_terminal_gets_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(logging.root, "handlers", [])
    console.set_up()
    for name in ALL:
        console.print_table(name, (name, "a"), [(name, [name, name])])
        console.say(name)
        console.note(name)
        console.print_error(f"{name!r}", name)
        logging.getLogger("sammil_cli.names").warning("slide %s", name)
        out, err = capsys.readouterr()
        assert is_plain(out), name
        assert is_plain(err), name
        assert out.count(shown(name)) >= 5, out
        assert f"\n{shown(name)}\n" in out
        assert err.startswith(f"{shown(name)}\nerror: ")
        assert err.endswith(f"WARNING: slide {shown(name)}\n")


def test_a_progress_bar_shows_names_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    for name in ALL:
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stderr", stream)
        with console.progress(2, "names [/i]") as bar:
            bar.advance(name)
        assert "names [/i]" in stream.getvalue()
        assert shortened(shown(name), 48) in stream.getvalue()


def test_figures_show_names_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*SLIDES, *CLASSES, "_hidden"]
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "to_png", drawn.append)
    figures.confusion(np.eye(len(names), dtype=np.int64), names)
    figures.curves([(name, x, x) for name in names for x in (0.0, 1.0)], "$x", "$y", diagonal=True)
    figures.reliability({name: [(0.6, 0.5, 4)] for name in names})
    for figure, most in zip(drawn, (18, 32, 32), strict=True):
        assert to_png(figure).startswith(b"\x89PNG")
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert {shortened(shown(name), most) for name in names} <= set(texts)
        assert all(map(is_plain, texts))
