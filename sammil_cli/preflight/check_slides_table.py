"""data/slides.csv, looked at for `sammil check`: every row, where the stages stop at the first wrong one."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.cohort.finding import Finding, Severity, said_once
from sammil_cli.cohort.near_ids import NearIds
from sammil_cli.cohort.raw_table import RawRow, read_raw
from sammil_cli.config import SegmentSettings
from sammil_cli.errors import InputError
from sammil_cli.slides.table import SCENE_FIX, SlideEntry, is_scene, read_slides_table
from sammil_cli.stages.segment import OWN_SETTINGS, own_settings

_FIRST_LINE = "slide_id,mpp"
_ABSENT = "no-slide"  # the kind of a row whose slide is not here
_USUAL_MPP = (0.1, 2.0)  # µm per level-0 pixel of scanners


def check_slides_table(table: Path, known: Mapping[str, str], suffixes: Collection[str]) -> list[Finding]:
    """Everything wrong in the table; nothing if the file is missing.

    Args:
        known: the slides that there are; empty = ids are not looked at.
    """
    if not table.exists():
        return []
    rows, findings = read_raw(table, _FIRST_LINE)
    if not rows:
        return findings
    columns = [cell.strip() for cell in rows[0].cells]
    if "slide_id" in columns:
        found = list(_rows(str(table), columns, rows[1:], NearIds(known, suffixes), set(known)))
        absent = [finding for finding in found if finding.kind == _ABSENT]
        findings += [finding for finding in found if finding.kind != _ABSENT]
        what, so = "rows name slides that are not here", "they are passed over"
        findings += said_once(absent, what, so, "add the slides, or delete the rows")
    # The stages' own reader has the last word: what it refuses and nothing above found is reported in its words.
    try:
        read_slides_table(table, OWN_SETTINGS)
    except InputError as error:
        line = _line(error)
        said = (
            finding.kind == "separator" or finding.row == line for finding in findings if finding.severity == "error"
        )
        if not any(said):
            findings.append(
                Finding(file=str(table), kind="slides-table", row=line, message=error.message, fix=error.remedy)
            )
    return findings


def _line(error: InputError) -> int | None:
    lines = re.findall(r"\bline (\d+)|lines \d+ and (\d+)", error.message)
    return int(next(filter(None, lines[0]))) if lines else None


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row: its cells by column without their blanks, and what stands beyond the last column."""

    file: str
    line: int
    cells: dict[str, str]
    extra: tuple[str, ...]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def finding(self, kind: str, column: str | None, message: str, fix: str, severity: Severity = "error") -> Finding:
        return Finding(
            file=self.file,
            kind=kind,
            severity=severity,
            row=self.line,
            column=column,
            text=self[column or "slide_id"],
            message=message,
            fix=fix,
        )


def _rows(file: str, columns: list[str], rows: list[RawRow], near_ids: NearIds, known: set[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for raw in rows:
        cells = [cell.strip() for cell in raw.cells]
        extra = tuple(filter(None, cells[len(columns) :]))
        row = _Row(file=file, line=raw.line, cells=dict(zip(columns, cells, strict=False)), extra=extra)
        yield from _slide_id(row, first, near_ids, known)
        first.setdefault(row["slide_id"], row.line)
        if extra:
            yield _too_many_cells(row, len(columns))
        elif row["mpp"] and (trouble := _mpp_trouble(row["mpp"])):
            severity, message, fix = trouble
            yield row.finding("mpp", "mpp", message, fix, severity)
        if row["scene"] and not is_scene(row["scene"]):
            yield row.finding("scene", "scene", f"scene {row['scene']!r} is no whole number from 1 on", SCENE_FIX)
        for key in OWN_SETTINGS:
            if row[key]:
                try:  # as `segment` does
                    own_settings(SegmentSettings(), row["slide_id"], SlideEntry(overrides={key: row[key]}), Path(file))
                except InputError as error:
                    yield row.finding("setting", key, error.message, error.remedy)


def _slide_id(row: _Row, first: Mapping[str, int], near_ids: NearIds, known: set[str]) -> Iterator[Finding]:
    name = row["slide_id"]
    if not name:
        yield row.finding("empty", "slide_id", "slide_id is empty", "give the file's name without its suffix")
    elif name in first:
        message = f"slide {name!r} stands in row {first[name]} already"
        yield row.finding("duplicate", "slide_id", message, "keep one of the rows")
    elif known and name not in known:
        if near := near_ids.find(name):
            message = f"there is no slide {name!r}; {near.slide_id!r} differs in {near.difference}"
            yield row.finding("near-id", "slide_id", message, f"write {near.slide_id}")
        else:
            message = f"there is no slide {name!r}; the row is passed over"
            yield row.finding(_ABSENT, "slide_id", message, "add the slide, or delete the row", "warning")


def _too_many_cells(row: _Row, columns: int) -> Finding:
    """0,25 as a resolution is two cells."""
    if re.fullmatch(r"\d", row["mpp"]) and row.extra[0].isdigit():
        return row.finding("mpp", "mpp", "mpp is written with a decimal comma", f"write {row['mpp']}.{row.extra[0]}")
    return row.finding("cells", None, f"more than {columns} cells", "quote cells that hold a comma")


def _mpp_trouble(text: str) -> tuple[Severity, str, str] | None:
    """Severity, message and fix of a resolution that cannot be right or is unusual."""
    try:
        mpp = float(text)
    except ValueError:
        number = re.sub(r"\s*(µm|um|mpp|/px)*$", "", text.replace(",", "."))
        comma = "," in text and re.fullmatch(r"\d*\.\d+", number)
        message = f"mpp {text!r} is no number" + (": it has a decimal comma" if comma else "")
        fix = f"write {number}" if re.fullmatch(r"\d*\.?\d+", number) else "give µm per pixel, such as 0.25"
        return "error", message, fix
    if not 0 < mpp < float("inf"):
        return "error", f"mpp {text!r} is no positive number", "give µm per pixel, such as 0.25"
    low, high = _USUAL_MPP
    if low <= mpp <= high:
        return None
    message = f"mpp {text} is outside of {low} to {high} µm per pixel"
    if low <= mpp / 1000 <= high:
        return "error", f"{message}: is it in nanometres?", f"write {mpp / 1000:g}"
    if mpp in (5, 10, 20, 40, 60, 80):
        return "error", f"{message}: is it the objective?", f"at {mpp:g}x it is about {10 / mpp:g}; ask the scanner"
    return "warning", message, "nothing if the slide was shrunk; else give µm per level-0 pixel"
