"""labels.csv as a table, and what is wrong with it: `read_labels` raises the first error, `sammil check` lists all."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sammil_cli.cohort.class_order import by_name
from sammil_cli.cohort.finding import Finding, Severity
from sammil_cli.cohort.raw_table import RawRow, read_raw
from sammil_cli.cohort.roles import ROLES

FIRST_LINE = "slide_id,label,patient_id"
_KEYS = ("slide_id", "patient_id", "case_id")  # what can be labelled; CLAM says case_id
_NAMES = {  # names that other tools and people give, without case, blanks and hyphens
    "slide_id": ("slideid", "slide", "slides", "slidename", "image", "imageid", "imagename", "filename", "file", "wsi"),
    "label": ("label", "labels", "class", "diagnosis", "target", "category", "subtype", "slidelabel", "y"),
    "patient_id": ("patientid", "patient", "patients", "pid", "case", "caseid", "subject", "subjectid"),
    "split": ("split", "splits", "set", "subset", "part", "partition", "fold"),
}
# What follows from an optional column that is not recognised.
_UNUSED = {"patient_id": ": every slide counts as a patient of its own, and folds may share a patient", "split": ""}


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One labelled slide or patient. `raw` holds the cells by column with their blanks."""

    line: int
    raw: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.raw.get(column, "").strip()


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """The rows, and the column `key` that is labelled, of slides (`slide_id`) or of patients."""

    file: str
    key: str
    rows: tuple[LabelRow, ...]

    @property
    def of_slides(self) -> bool:
        """Whether slides are labelled, not patients."""
        return self.key == "slide_id"

    @property
    def found(self) -> list[str]:
        """The classes that there are, by name; numbers by value."""
        return by_name({row["label"] for row in self.rows} - {""})

    def patient(self, row: LabelRow) -> str:
        """A row's patient; a slide without one is its own."""
        return row["patient_id"] or row["case_id"] or row[self.key]


def read_table(path: Path, slides: Collection[str] | None) -> tuple[LabelTable | None, list[Finding]]:
    """Reads the table, and what is wrong with its form; no table where no column can be made out.

    A headerless file of two columns is the published form: its first column names slides or, where it holds no slide's
    id but parts of such, patients.
    """
    file = str(path)
    raw, findings = read_raw(path, FIRST_LINE)
    if not raw:
        return None, findings
    first = [cell.strip() for cell in raw[0].cells]
    known = set(slides or ())
    if _is_headerless(first, known):
        rows, more = _by_column(file, raw, ["id", "label"])
        ids = {row["id"] for row in rows}
        of_patients = not ids & known and contained(ids, known)
        key = "patient_id" if of_patients else "slide_id"
        rows = [LabelRow(line=row.line, raw={key: row.raw["id"], "label": row.raw["label"]}) for row in rows]
        named = _headerless(file, raw[0], key)
        return LabelTable(file=file, key=key, rows=tuple(rows)), [*findings, named, *more]
    columns, more = _columns(file, raw[0], known)
    findings += more
    key = next((name for name in _KEYS if name in columns), "")
    if not key or "label" not in columns:
        return None, findings
    rows, more = _by_column(file, raw[1:], columns)
    return LabelTable(file=file, key=key, rows=tuple(rows)), [*findings, *more]


def _is_headerless(first: Sequence[str], known: set[str]) -> bool:
    named = {*_KEYS, "label"} & set(first) or (_stands_for(first[0]) and first[0] not in known)
    return len(first) == 2 and not named


def _headerless(file: str, first: RawRow, key: str) -> Finding:
    return Finding(
        file=file,
        kind="no-header",
        severity="warning",
        row=first.line,
        text=",".join(first.cells),
        message=f"there is no header; the columns are taken for {key},label",
        fix=f"if that is right, nothing; or write the first line {key},label",
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _stands_for(name: str) -> str | None:
    """The column that goes by such a name in other tools."""
    return next((column for column, names in _NAMES.items() if _plain(name) in names), None)


def _meant(name: str) -> str | None:
    """The column that a name stands for, or is nearly the name of."""
    if any(c.isdigit() for c in name):
        return None  # patient_1 is a patient, no misspelt patient_id
    columns = {names[0]: column for column, names in _NAMES.items()}
    near = difflib.get_close_matches(_plain(name), columns, 1, 0.8)
    return _stands_for(name) or (columns[near[0]] if near else None)


def _columns(file: str, head: RawRow, known: set[str]) -> tuple[list[str], list[Finding]]:
    """The columns of a header, misnamed ones by their right name, and what is wrong with them."""
    given = [cell.strip() for cell in head.cells]
    columns = list(given)
    findings: list[Finding] = []
    in_header = partial(Finding, file=file, kind="columns", row=head.line)

    def report(message: str, fix: str, column: str | None = None, severity: Severity = "error") -> None:
        shown = column or ",".join(given)
        findings.append(in_header(column=column, text=shown, message=message, fix=fix, severity=severity))

    for place, name in enumerate(given):
        if name and name in given[:place]:
            report(f"the column {name!r} stands there twice", "rename or delete one", name)
    of_slides = any(_stands_for(name) == "slide_id" for name in given)
    has_key = "slide_id" in given if of_slides else any(name in given for name in _KEYS)
    needed = [("label",)] if has_key else [("slide_id", "patient_id"), ("label",)]
    for wanted in (names for names in needed if names[0] not in given):
        meant = [(place, name, _meant(name)) for place, name in enumerate(given) if name not in (*_KEYS, "label")]
        choice = next(((place, name, right) for right in wanted for place, name, m in meant if m == right), None)
        message = f"the header {','.join(given)!r} lacks the column {wanted[0]!r}"
        if choice:
            place, name, right = choice
            columns[place] = right
            report(message, f"did you mean {name!r}? Rename it to {right}", name)
        elif given[0] in known or not any(_meant(name) for name in given):
            report(message, f"the file has no header: write the first line, such as {FIRST_LINE}")
        else:
            report(message, f"make the first line: {FIRST_LINE}")
    for optional, consequence in _UNUSED.items():
        if optional in columns or (optional == "patient_id" and "case_id" in columns):
            continue
        if unused := next((name for name in columns if _meant(name) == optional), None):
            message = f"the column {unused!r} is not used{consequence}"
            report(message, f"if it is meant, rename it to {optional}", unused, "warning")
    return columns, findings


def _by_column(file: str, raw: Iterable[RawRow], columns: list[str]) -> tuple[list[LabelRow], list[Finding]]:
    rows, findings = [], []
    for row in raw:
        if any(cell.strip() for cell in row.cells[len(columns) :]):
            findings.append(
                Finding(
                    file=file,
                    kind="cells",
                    row=row.line,
                    text=",".join(row.cells),
                    message=f"more than {len(columns)} cells",
                    fix='quote cells that hold a comma: "a, b"',
                )
            )
        filled = [*row.cells, *[""] * len(columns)]
        rows.append(LabelRow(line=row.line, raw=dict(zip(columns, filled, strict=False))))
    return rows, findings


def contained(patients: Iterable[str], slides: Iterable[str]) -> dict[str, list[str]]:
    """Slide -> the patients' ids in its id, longest first; no number is cut in two: P1 is not in P10_a."""
    known = set(patients) - {""}
    lengths = {len(name) for name in known}
    result = {}
    for slide in sorted(slides):
        spans = ((start, start + length) for length in lengths for start in range(len(slide) - length + 1))
        ids = {slide[a:b] for a, b in spans if slide[a:b] in known and not (_cuts(slide, a) or _cuts(slide, b))}
        if ids:
            result[slide] = sorted(ids, key=lambda name: (-len(name), name))
    return result


def _cuts(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1].isdigit() and text[place].isdigit()


def cell_finding(
    table: LabelTable, row: LabelRow, column: str, kind: str, message: str, fix: str, severity: Severity = "error"
) -> Finding:
    """A finding on one cell, with its text as it stands there."""
    return Finding(
        file=table.file,
        kind=kind,
        severity=severity,
        row=row.line,
        column=column,
        text=row.raw.get(column, ""),
        message=message,
        fix=fix,
    )


def cell_errors(table: LabelTable, classes: Sequence[str]) -> Iterator[Finding]:
    """Cells that cannot be, by row: empty, listed twice, no class, no part; then a table of fewer than two classes.

    Args:
        classes: those that a label may be.
    """
    seen: dict[str, LabelRow] = {}
    for row in table.rows:
        name, label, role = row[table.key], row["label"], row["split"]
        for column in (table.key, "label"):
            if not row[column]:
                yield cell_finding(table, row, column, "empty", f"{column} is empty", "fill it in or delete the row")
        if name in seen:
            yield _listed_twice(table, seen[name], row)
        if label and label not in classes:
            near = difflib.get_close_matches(label.casefold(), [c.casefold() for c in classes], 1)
            meant = [c for c in classes if near and c.casefold() == near[0]]
            fix = f"write {meant[0]}, or" if meant else "mend it, or"
            message = f"label {label!r} is none of the classes {list(classes)}"
            yield cell_finding(table, row, "label", "class", message, f"{fix} add it to classes in params.yaml")
        if role and role not in ROLES:
            fix = f"use one of {', '.join(ROLES)} or leave it empty"
            yield cell_finding(table, row, "split", "split-word", f"split {role!r}", fix)
        if name:
            seen.setdefault(name, row)
    if len(table.found) < 2:
        yield Finding(
            file=table.file,
            kind="classes",
            column="label",
            text=", ".join(table.found),
            message=f"the column label has {len(table.found)} class(es)",
            fix="a classifier needs at least two",
        )


def _listed_twice(table: LabelTable, first: LabelRow, row: LabelRow) -> Finding:
    what = "slide" if table.of_slides else "patient"
    message = f"{what} {row[table.key]!r} stands in row {first.line} already"
    if first["label"] == row["label"]:
        return cell_finding(table, row, table.key, "duplicate", message, "delete this row")
    message += f", there with the label {first['label']!r}, here {row['label']!r}"
    return cell_finding(table, row, table.key, "contradiction", message, "keep the row with the right label")
