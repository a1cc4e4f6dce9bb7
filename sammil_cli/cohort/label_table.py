"""labels.csv as a table, and what is wrong with it: `read_labels` raises the first error, `sammil check` lists all."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.cohort.class_order import by_name
from sammil_cli.cohort.finding import Finding, Severity
from sammil_cli.cohort.header import FIRST_LINE, KEYS, is_headerless, names_columns, read_header
from sammil_cli.cohort.missing_words import is_missing
from sammil_cli.cohort.no_classes import number_of, what_they_are
from sammil_cli.cohort.raw_table import RawRow, read_raw

_LISTED = 6  # classes that a fix lists


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One labelled slide or patient.

    `raw` holds the cells by column with their blanks; `missing` the columns whose word says that there is nothing
    (`NA`), which read as empty.
    """

    line: int
    raw: dict[str, str]
    missing: frozenset[str] = frozenset()

    def __getitem__(self, column: str) -> str:
        return "" if column in self.missing else self.raw.get(column, "").strip()


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


def read_table(
    path: Path, slides: Collection[str] | None, classes: Sequence[str] | None = None
) -> tuple[LabelTable | None, list[Finding]]:
    """Reads the table, and what is wrong with its form; no table where no column can be made out.

    A headerless file of two columns is the published form: its first column names slides or, where it holds no slide's
    id but parts of such, patients.

    Args:
        slides: the ids that there are; None or empty = they are not known.
        classes: as params.yaml names them; a word for a missing label, such as `unknown`, is a class if it is one of
            them.
    """
    file = str(path)
    raw, findings = read_raw(path, FIRST_LINE)
    if not raw:
        return None, findings
    known = set(slides or ())
    ids = {row.cells[0].strip() for row in raw}
    patients = set() if ids & known or len(raw[0].cells) != 2 else _patients(ids, known)
    if is_headerless(raw, known | patients, classes or ()):
        columns = ["patient_id" if patients else "slide_id", "label"]
        findings.append(_headerless(file, raw[0], columns[0]))
        body = raw
    else:
        columns, more = read_header(file, raw, known | patients)
        findings += more
        body = raw[1:]
        if body and names_columns(body, known, classes or ()):
            findings.append(_second_header(file, body[0]))
            body = body[1:]
    key = next((name for name in KEYS if name in columns), "")
    if not key or "label" not in columns:
        return None, findings
    rows, more = _by_column(file, body, columns, classes or ())
    return LabelTable(file=file, key=key, rows=tuple(rows)), [*findings, *more]


def _patients(ids: set[str], slides: set[str]) -> set[str]:
    return {name for found in contained(ids, slides).values() for name in found}


def _second_header(file: str, row: RawRow) -> Finding:
    return Finding(
        file=file,
        kind="second-header",
        row=row.line,
        text=",".join(row.cells),
        message=f"{','.join(cell.strip() for cell in row.cells)!r} looks like a second header, not like a row",
        fix="delete this row; if it is a slide, its class has no other one",
    )


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


def _by_column(
    file: str, raw: Iterable[RawRow], columns: list[str], classes: Sequence[str]
) -> tuple[list[LabelRow], list[Finding]]:
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
        cells = dict(reversed(list(zip(columns, filled, strict=False))))  # of two columns of a name the first one
        said = {name: cells.get(name, "").strip() for name in ("label", "patient_id", "case_id", "site")}
        missing = {name for name, text in said.items() if is_missing(text) and text not in classes}
        rows.append(LabelRow(line=row.line, raw=cells, missing=frozenset(missing)))
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


def cell_errors(table: LabelTable, classes: Sequence[str] | None) -> Iterator[Finding]:
    """Cells that cannot be, by row: empty, listed twice, no class; then a table of fewer than two classes.

    Args:
        classes: those that a label may be, as params.yaml names them; None = all that there are.
    """
    allowed = classes or table.found
    no_classes = what_is_no_class(table, classes)
    if no_classes:
        yield no_classes
    words = Counter(row.raw.get("label", "").strip() for row in table.rows)
    seen: dict[str, LabelRow] = {}
    for row in table.rows:
        name, label = row[table.key], row["label"]
        for column in (table.key, "label"):
            if not row[column]:
                yield _empty(table, row, column, words, allowed)
        if name in seen:
            yield _listed_twice(table, seen[name], row)
        if label and not no_classes and label not in allowed:
            yield _foreign_class(table, row, allowed)
        if name:
            seen.setdefault(name, row)
    if not table.rows:
        fix = f"add a row for each {'slide' if table.of_slides else 'patient'}: {table.key},label"
        yield Finding(file=table.file, kind="classes", message="the table has no rows below its first line", fix=fix)
    elif len(table.found) < 2:
        yield Finding(
            file=table.file,
            kind="classes",
            column="label",
            text=", ".join(table.found),
            message=f"the column label has {len(table.found)} class(es)",
            fix="a classifier needs at least two",
        )


def what_is_no_class(table: LabelTable, classes: Sequence[str] | None) -> Finding | None:
    """The finding on a column of labels that holds something else than classes; those that params.yaml names are."""
    given = [row["label"] for row in table.rows if row["label"]]
    labels = [label for label in given if label not in (classes or ())]
    found = what_they_are(labels, {row[table.key] for row in table.rows}) if 2 * len(labels) > len(given) else None
    if found is None:
        return None
    kind, message, fix = found
    return Finding(file=table.file, kind=kind, column="label", text=labels[0], message=message, fix=fix)


def _empty(table: LabelTable, row: LabelRow, column: str, words: Mapping[str, int], allowed: Sequence[str]) -> Finding:
    word = row.raw.get(column, "").strip()
    if not word or column != "label":
        what = f"{word!r} names nobody" if word else "is empty"
        return cell_finding(table, row, column, "empty", f"{column} {what}", "fill it in or delete the row")
    message = f"label {word!r} (rows: {words[word]}) says that there is no label"
    names = f"classes: {[*allowed, word]}" if len(allowed) <= _LISTED else "classes"
    fix = f"fill it in or delete the row; if {word!r} is a class, name all of them in params.yaml: {names}"
    return cell_finding(table, row, column, "missing-label", message, fix)


def _foreign_class(table: LabelTable, row: LabelRow, allowed: Sequence[str]) -> Finding:
    label = row["label"]
    near = difflib.get_close_matches(label.casefold(), [c.casefold() for c in allowed], 1)
    meant = [c for c in allowed if (near and c.casefold() == near[0]) or None is not number_of(c) == number_of(label)]
    fix = f"write {meant[0]}, or" if meant else "mend it, or"
    message = f"label {label!r} is none of the classes {list(allowed)}"
    return cell_finding(table, row, "label", "class", message, f"{fix} add it to classes in params.yaml")


def _listed_twice(table: LabelTable, first: LabelRow, row: LabelRow) -> Finding:
    what = "slide" if table.of_slides else "patient"
    message = f"{what} {row[table.key]!r} stands in row {first.line} already"
    if first["label"] == row["label"]:
        return cell_finding(table, row, table.key, "duplicate", message, "delete this row")
    message += f", there with the label {first['label']!r}, here {row['label']!r}"
    return cell_finding(table, row, table.key, "contradiction", message, "keep the row with the right label")
