"""data/slides.csv, looked at for `sammil check`: every row, where the stages stop at the first wrong one."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sammil_cli.config import SegmentSettings
from sammil_cli.errors import InputError
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.stages.segment import OWN_SETTINGS, own_settings
from sammil_cli.training.finding import Finding
from sammil_cli.training.near_ids import NearIds
from sammil_cli.training.raw_table import RawRow, read_raw

_FIRST_LINE = "slide_id,mpp"
_USUAL_MPP = (0.1, 2.0)  # µm per level-0 pixel of scanners


def check_slides_table(table: Path, known: Mapping[str, str], suffixes: Collection[str]) -> Iterator[Finding]:
    """Everything wrong in the table; nothing where there is none.

    Args:
        known: the slides that there are; empty = ids are not looked at.
    """
    if not table.exists():
        return
    rows, findings = read_raw(table, _FIRST_LINE)
    yield from findings
    if not rows:
        return
    columns = [cell.strip() for cell in rows[0].cells]
    found = list(findings)
    if "slide_id" in columns:
        for finding in _rows(str(table), columns, rows[1:], NearIds(known, suffixes), set(known)):
            found.append(finding)
            yield finding
    # The stages' own reader has the last word: what it refuses and nothing above told is told in its words.
    try:
        read_slides_table(table, OWN_SETTINGS)
    except InputError as error:
        if not any(finding.severity == "error" and finding.row == _line(error) for finding in found):
            yield Finding(
                file=str(table), kind="slides-table", row=_line(error), message=error.message, fix=error.remedy
            )


def _line(error: InputError) -> int | None:
    lines = re.findall(r"\bline (\d+)|lines \d+ and (\d+)", error.message)
    return int(next(filter(None, lines[0]))) if lines else None


def _rows(file: str, columns: list[str], rows: list[RawRow], near_ids: NearIds, known: set[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for raw in rows:
        row = dict(zip(columns, (cell.strip() for cell in raw.cells), strict=False))
        name = row.get("slide_id", "")

        def report(kind: str, column: str, message: str, fix: str, line: int = raw.line, **more: str) -> Finding:
            severity = "warning" if more.get("severity") == "warning" else "error"
            text = more.get("text", "")
            return Finding(
                file=file,
                kind=kind,
                severity="warning" if severity == "warning" else "error",
                row=line,
                column=column,
                text=text,
                message=message,
                fix=fix,
            )

        extra = [cell for cell in raw.cells[len(columns) :] if cell.strip()]
        if extra and re.fullmatch(r"\d", row.get("mpp", "")) and extra[0].strip().isdigit():
            number = f"{row['mpp']}.{extra[0].strip()}"
            yield report("mpp", "mpp", "mpp is written with a decimal comma", f"write {number}", text=number)
        elif extra:
            yield report("cells", "", f"more than {len(columns)} cells", "quote cells that hold a comma", text=name)
        if not name:
            yield report("empty", "slide_id", "slide_id is empty", "give the file's name without its suffix")
        elif name in first:
            message = f"slide {name!r} stands in row {first[name]} already"
            yield report("duplicate", "slide_id", message, "keep one of the rows", text=name)
        elif known and name not in known:
            if near := near_ids.find(name):
                message = f"there is no slide {name!r}; {near.slide_id!r} differs in {near.difference}"
                yield report("near-id", "slide_id", message, f"write {near.slide_id}", text=name)
            else:
                message = f"there is no slide {name!r}; the row is passed over"
                yield report(
                    "no-slide", "slide_id", message, "add the slide, or delete the row", text=name, severity="warning"
                )
        first.setdefault(name, raw.line)
        if (mpp := row.get("mpp")) and not extra and (trouble := _mpp_trouble(mpp)):
            severity, message, fix = trouble
            yield report("mpp", "mpp", message, fix, text=mpp, severity=severity)
        for key in OWN_SETTINGS:
            if row.get(key) and (fault := _setting_fault(file, name, key, row[key])):
                yield report("setting", key, fault.message, fault.remedy, text=row[key])


def _mpp_trouble(text: str) -> tuple[str, str, str] | None:
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


def _setting_fault(file: str, slide_id: str, key: str, text: str) -> InputError | None:
    """What is wrong with a slide's own setting, as `segment` would say."""
    try:
        own_settings(SegmentSettings(), slide_id, SlideEntry(overrides={key: text}), Path(file))
    except InputError as error:
        return error
    return None
