"""The page of `sammil predict`: what could not be judged, then every slide with its verdict and its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sammil_cli.report.document import address, document, escaped

_STYLE = """<style>body{max-width:100rem}td,th{vertical-align:top}
td.text{white-space:normal;text-align:left;max-width:28rem}td img{width:16rem}code{overflow-wrap:anywhere}</style>"""


@dataclass(frozen=True, kw_only=True)
class SlideLine:
    """A judged slide. `verdict`: column -> text, the same columns for all; files relative to the page, None = none."""

    slide_id: str
    verdict: Mapping[str, str]
    remarks: Sequence[str]
    picture: str | None
    evidence: str | None


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A slide that could not be judged."""

    slide_id: str
    code: str
    message: str
    remedy: str


def verdicts_page(
    title: str,
    notes: Sequence[str],
    troubles: Sequence[Trouble],
    lines: Sequence[SlideLine],
    patients: Sequence[Mapping[str, object]] = (),
) -> str:
    """The page: one file, without scripts; its pictures lie beside it and are loaded when they are seen.

    Args:
        notes: what holds of all slides; those that begin with `!` are warnings.
        patients: rows with the same columns; empty = there are none.
    """
    said = [f"<p class='{'warning' if note[0] == '!' else 'note'}'>{escaped(note.lstrip('!'))}</p>" for note in notes]
    parts = [f"<h1>{escaped(title)}</h1>", *said]
    if troubles:
        rows = [
            (_text(one.slide_id), _text(one.code), _text(one.message), f"<code>{escaped(one.remedy)}</code>")
            for one in troubles
        ]
        parts += [f"<h2>Not judged: {len(troubles)}</h2>", _table(("slide", "code", "reason", "what to do"), rows)]
    if patients:
        cells = [tuple(_text(str(value)) for value in row.values()) for row in patients]
        parts += [f"<h2>Patients: {len(patients)}</h2>", _table(list(patients[0]), cells)]
    if lines:
        parts += [f"<h2>Slides: {len(lines)}</h2>", _table(_header(lines[0]), [_cells(line) for line in lines])]
    return document(title, _STYLE + "".join(parts))


def _header(line: SlideLine) -> Sequence[str]:
    return ("slide", *line.verdict, "remarks", "picture")


def _cells(line: SlideLine) -> Sequence[str]:
    name = escaped(line.slide_id)
    evidence = f"<br><a href='{_path(line.evidence)}'>for QuPath</a>" if line.evidence else ""
    table = f"<br><a href='{_path(line.picture[: -len('.png')] + '.csv')}'>patches</a>" if line.picture else ""
    picture = (
        f"<a href='{_path(line.picture)}'><img loading='lazy' alt='attention and evidence of {name}' "
        f"src='{_path(line.picture)}'></a>"
        if line.picture
        else "–"
    )
    texts = [_text(text) for text in line.verdict.values()]
    return (f"<span id='{name}'>{name}</span>{evidence}{table}", *texts, _text("; ".join(line.remarks)), picture)


def _path(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{address(name)}" if folder else address(name)


def _text(text: str) -> str:
    return escaped(text)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td class='text'>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
