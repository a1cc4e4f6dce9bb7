"""What earlier stages said of slides, for the pages: remarks on those that were done, why others were not."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.project.remark_summary import flags_in, worst_first
from sammil_cli.report.slide_rows import Trouble
from sammil_cli.storage.files import read_csv

_STAGES = ("segment", "patch", "sam", "extract", "convert-legacy", "tiles")
_DRAWING = "visualize"
_COLUMNS = ("slide_id", "status", "code", "message", "remedy", "remarks")
_UNDONE = ("set-aside", "failed")


def flags_of(project: Project, *, drawn: bool = False) -> dict[str, list[str]]:
    """The remarks of all stages that are flags, by slide, the worst first: `pen: 1.5% of the slide`.

    Args:
        drawn: with those of the pictures, which lie beside the page.
    """
    found: dict[str, list[str]] = {}
    for row in _rows(project, *_STAGES, *([_DRAWING] if drawn else [])):
        found.setdefault(row["slide_id"], []).extend(flags_in(row["remarks"].split("; ")))
    return worst_first(found)


def set_aside(project: Project, judged: Collection[str]) -> list[Trouble]:
    """The slides that no bag was made of, each with the reason of the first stage that did not do it.

    Args:
        judged: slides that have been judged since, whatever a list says of them.
    """
    return _troubles(_rows(project, *_STAGES), judged)


def undrawn(project: Project) -> list[Trouble]:
    """The slides that `sammil visualize` did not draw."""
    return _troubles(_rows(project, _DRAWING), ())


def _troubles(rows: Iterator[Mapping[str, str]], others: Collection[str]) -> list[Trouble]:
    found: dict[str, Trouble] = {}
    for row in rows:
        name = row["slide_id"]
        if row["status"] in _UNDONE and name not in others and name not in found:
            found[name] = Trouble(slide_id=name, code=row["code"], message=row["message"], remedy=row["remedy"])
    return [found[name] for name in sorted(found)]


def _rows(project: Project, *stages: str) -> Iterator[dict[str, str]]:
    """The rows of process lists; of a list that is not there, or that somebody has changed, none."""
    for stage in stages:
        path: Path = project.process_lists / f"{stage}.csv"
        try:
            yield from read_csv(path, _COLUMNS) if path.is_file() else ()
        except InputError:
            continue
