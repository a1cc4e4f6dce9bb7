"""Words that a shell completes: settings and their values, slides, models, presets.

Everything here is read from names of files and from sources: nobody waits for torch after the tab key.
"""

import ast
import csv
import functools
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import ParamSpec

import typer

from sammil_cli import choices
from sammil_cli.errors import SammilError

Words = Iterable[str | tuple[str, str]]  # each alone, or with what is said of it
P = ParamSpec("P")

ASKED = "_SAMMIL_COMPLETE"  # the variable that the shell's function sets
_BEFORE: dict[str, str] = {"key": ""}  # of bash: what stands before the `=` of the word that is typed
_PACKAGE = Path(__file__).resolve().parents[1]
_STAGE_FOLDERS = ("artifacts/tissue", "artifacts/patches", "artifacts/bags")
_NO_SLIDES = (".csv", ".txt", ".json", ".geojson", ".xml", ".md5", ".log")
_MOST_ROWS = 20_000
_LONGEST_TEXT = 60


def join_words(environment: MutableMapping[str, str]) -> None:
    """Puts together again what bash breaks at `=`, as in `-S model=abmil`; the word that is typed loses what is before.

    Args:
        environment: COMP_WORDS, one word a line, and COMP_CWORD, the number of the word that is typed; changed.
    """
    _BEFORE["key"] = ""
    if environment.get(ASKED) != "complete_bash" or not environment.get("COMP_WORDS"):
        return
    words, at = environment["COMP_WORDS"].split("\n"), int(environment["COMP_CWORD"])
    before, typed = words[:at], words[at] if at < len(words) else ""
    if typed == "=":
        before, typed = [*before, "="], ""
    joined: list[str] = []
    for word in before:
        if joined and (word == "=" or joined[-1].endswith("=")) and not joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    if joined[-1].endswith("="):
        _BEFORE["key"] = joined.pop().removesuffix("=")
    environment["COMP_WORDS"] = "\n".join([*joined, typed])
    environment["COMP_CWORD"] = str(len(joined))


def _calm(complete: Callable[P, Words]) -> Callable[P, list[str | tuple[str, str]]]:
    """Completes nothing where a file cannot be read; leaves out what a shell would not take as one word."""

    @functools.wraps(complete)
    def found(*args: P.args, **kwargs: P.kwargs) -> list[str | tuple[str, str]]:
        with suppress(SammilError, OSError, ValueError):
            words = complete(*args, **kwargs)
            return [word for word in words if _is_plain(word if isinstance(word, str) else word[0])]
        return []

    return found


def _is_plain(word: str) -> bool:
    return word.isprintable() and shlex.quote(word) == word


@_calm
def settings(incomplete: str) -> Words:
    """`key=`, and of one key its values, for `-S`."""
    from sammil_cli.settings.at_a_glance import settings_at_a_glance

    known = settings_at_a_glance()
    if key := _BEFORE["key"]:
        return _values(key)
    key, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(key)]
    keys = [key for key in known if key.startswith(incomplete)]
    if len(keys) > 1:
        return [(f"{key}=", known[key].text[:_LONGEST_TEXT]) for key in keys]
    # Of a single word a shell takes for granted that it ends here, and puts a space behind it: so the values follow.
    return [f"{key}={value}" for key in keys for value in (*_values(key), *_open_end(known[key].words))]


def _open_end(words: tuple[str, ...]) -> tuple[str, ...]:
    return () if len(words) > 1 else ("",)


def _values(key: str) -> list[str]:
    from sammil_cli.settings.at_a_glance import Glance, settings_at_a_glance

    if kind := next((kind for kind in choices.PICKED if kind.setting == key), None):
        return choices.names(kind)
    found = settings_at_a_glance().get(key, Glance(words=()))
    return list(dict.fromkeys([*found.words, *([found.default] if found.default else [])]))


@_calm
def setting_names(incomplete: str) -> Words:
    """Keys of params.yaml."""
    from sammil_cli.settings.at_a_glance import settings_at_a_glance

    known = settings_at_a_glance().items()
    return [(key, glance.text[:_LONGEST_TEXT]) for key, glance in known if key.startswith(incomplete)]


@_calm
def slide_ids(ctx: typer.Context, incomplete: str) -> Words:
    """Slides of the project at hand."""
    return sorted(_slides(ctx))


@_calm
def several_slides(ctx: typer.Context, incomplete: str) -> Words:
    """Slides between commas; those that are named already are left out."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in sorted(_slides(ctx) - set(before.split(",")))]


def _slides(ctx: typer.Context) -> set[str]:
    from sammil_cli.storage.paths import slide_of

    slides, labels = (Path(ctx.params.get(name) or default) for name, default in _PLACES)
    made = (path for folder in _STAGE_FOLDERS for path in _files(Path(folder)))
    found = {slide_of(path) for path in made if not path.name.endswith((".jpg", ".html"))}
    found |= {path.stem for path in _files(slides) if path.suffix and path.suffix.lower() not in _NO_SLIDES}
    return found | set(_column(labels, "slide_id"))


_PLACES = (("slides", "data/slides"), ("labels", "data/labels.csv"))


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (Path(entry.name) for entry in os.scandir(folder) if not entry.name.startswith("."))


def _column(table: Path, name: str) -> list[str]:
    if not table.is_file():
        return []
    with table.open(encoding="utf-8-sig", newline="") as stream:
        return [row[name] for row in islice(csv.DictReader(stream), _MOST_ROWS) if row.get(name)]


@_calm
def columns(ctx: typer.Context, incomplete: str) -> Words:
    """Columns of the label table that is judged, for `--by`."""
    with Path(ctx.params.get("on") or "data/labels.csv").open(encoding="utf-8-sig", newline="") as stream:
        return [name.strip() for name in next(csv.reader(stream), [])]


@_calm
def trained_models(ctx: typer.Context, incomplete: str) -> Words:
    """Names of trained folds: of RUN, where it is named already."""
    run = Path(ctx.params.get("run") or ".")
    folders = (run, run / "models", run / "runs/models")
    return sorted({path.name for folder in folders for path in folder.glob("repeat_*") if path.is_dir()})


@_calm
def executors(incomplete: str) -> Words:
    """Where slides may be worked on."""
    return choices.names(choices.EXECUTORS)


@_calm
def clusters(incomplete: str) -> Words:
    """Kinds of clusters."""
    return _words_in("runner/executors/_jobqueue.py", "KINDS")


@_calm
def devices(incomplete: str) -> Words:
    """Where a model computes."""
    return ("auto", "cpu", "cuda", "mps")


@_calm
def presets(incomplete: str) -> Words:
    """Presets of the package."""
    return sorted(path.stem for path in (_PACKAGE / "presets").glob("*.yaml"))


@_calm
def encoders(incomplete: str) -> Words:
    """Encoders by their words."""
    return choices.names(choices.ENCODERS)


@_calm
def proposers(incomplete: str) -> Words:
    """Proposers by their words."""
    return choices.names(choices.PROPOSERS)


@_calm
def several_proposers(incomplete: str) -> Words:
    """Proposers between commas."""
    return _several(incomplete, choices.names(choices.PROPOSERS))


@_calm
def several_models(incomplete: str) -> Words:
    """Models between commas, and the simplest that is compared with them."""
    return _several(incomplete, ["mean-pool", *choices.names(choices.MODELS)])


@_calm
def several_tables(incomplete: str) -> Words:
    """Tables of `sammil ablate` between commas."""
    return _several(incomplete, [*_words_in("report/ablation.py", "ABLATIONS"), "regions"])


@_calm
def several_controls(incomplete: str) -> Words:
    """Controls of the table `regions` between commas."""
    return _several(incomplete, ["placebo", "true"])


@_calm
def weights(incomplete: str) -> Words:
    """Published weights by their words."""
    from sammil_cli.settings.at_a_glance import settings_at_a_glance

    return (*settings_at_a_glance()["sam_model"].words, *choices.names(choices.ENCODERS))


@_calm
def layouts(incomplete: str) -> Words:
    """Layouts of other tools."""
    return _words_in("exchange/export_layout.py", "LAYOUTS")


def _several(incomplete: str, known: list[str]) -> list[str]:
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{word}" for word in known if word not in before.split(",")]


def _words_in(source: str, name: str) -> list[str]:
    """The keys of a table in a source, which is not imported: what it needs takes longer than a person waits."""
    for line in ast.parse((_PACKAGE / source).read_bytes()).body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(line.value, ast.Dict):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            if name in map(ast.unparse, targets):
                return [str(key.value) for key in line.value.keys if isinstance(key, ast.Constant)]
    return []
