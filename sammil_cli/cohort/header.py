"""The first line of labels.csv: whether it names columns, which ones, and what is wrong with the names."""

import difflib
from collections.abc import Collection, Sequence
from functools import partial

from sammil_cli.cohort.finding import Finding, Severity
from sammil_cli.cohort.no_classes import survival_columns
from sammil_cli.cohort.raw_table import RawRow

FIRST_LINE = "slide_id,label,patient_id"
KEYS = ("slide_id", "patient_id", "case_id")  # what can be labelled; CLAM says case_id
_NAMES = {  # names that other tools and people give, without case, blanks and hyphens
    "slide_id": ("slideid", "slide", "slides", "slidename", "image", "imageid", "imagename", "filename", "file", "wsi"),
    "label": ("label", "labels", "class", "diagnosis", "target", "category", "subtype", "slidelabel", "y"),
    "patient_id": ("patientid", "patient", "patients", "pid", "case", "caseid", "subject", "subjectid"),
    "split": ("split", "splits", "set", "subset", "part", "partition"),
    "fold": ("fold", "folds", "foldid", "cvfold"),
    "site": ("site", "sites", "siteid", "sitename", "centre", "center", "hospital", "institution", "institute", "tss"),
}
# What follows from an optional column that is not recognised.
_UNUSED = {
    "patient_id": ": every slide counts as a patient of its own, and folds may share a patient",
    "split": "",
    "fold": ": folds are drawn",
    "site": ": neither folds nor the report can tell sites",
}
_LOOKED_AT = 50  # rows below the first one
_SHOWN = 8  # columns that are listed


def is_headerless(raw: Sequence[RawRow], known: Collection[str], classes: Collection[str]) -> bool:
    """Whether a table is of the published form: two columns, and a first line that is a row as the others are.

    Args:
        known: what the ids in a row may be: slides, or patients in the ids of slides. classes: that params.yaml names.
    """
    first = [cell.strip() for cell in raw[0].cells]
    named = {*KEYS, "label"} & set(first) or (_stands_for(first[0]) and first[0] not in known)
    return len(first) == 2 and not named and not names_columns(raw, known, classes)


def names_columns(raw: Sequence[RawRow], known: Collection[str], classes: Collection[str]) -> bool:
    """Whether the first line differs from those below as names of columns do, whatever the names.

    No cell of it stands again in its column; and the ids below are known and its own are not, or it has no number
    where all below have one, or its cells are what other tools call such columns.
    """
    first, *below = ([cell.strip() for cell in row.cells] for row in raw[: _LOOKED_AT + 1])
    columns = [[row[place] if place < len(row) else "" for row in below] for place in range(len(first))]
    again = any(cell in column for cell, column in zip(first, columns, strict=True))
    if not below or again or set(first) & {*known, *classes}:
        return False
    if any(cell in known for column in columns for cell in column):
        return True
    usual = {_stands_for(cell) for cell in first}
    if "label" in usual and usual & {"slide_id", "patient_id"}:
        return True
    bare = not any(_has_digit(cell) for cell in first)
    return bare and any(all(_has_digit(cell) for cell in column) for column in columns)


def _has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _stands_for(name: str) -> str | None:
    """The column that goes by such a name in other tools."""
    return next((column for column, names in _NAMES.items() if _plain(name) in names), None)


def _meant(name: str) -> str | None:
    """The column that a name stands for, or is nearly the name of."""
    if _has_digit(name):
        return None  # patient_1 is a patient, no misspelt patient_id
    columns = {names[0]: column for column, names in _NAMES.items()}
    near = difflib.get_close_matches(_plain(name), columns, 1, 0.8)
    return _stands_for(name) or (columns[near[0]] if near else None)


def read_header(file: str, raw: Sequence[RawRow], known: Collection[str]) -> tuple[list[str], list[Finding]]:
    """The columns that a header names, misnamed ones by their right name, and what is wrong with them."""
    given = [cell.strip() for cell in raw[0].cells]
    columns = list(given)
    findings: list[Finding] = []
    in_header = partial(Finding, file=file, kind="columns", row=raw[0].line)

    def report(message: str, fix: str, column: str | None = None, severity: Severity = "error") -> None:
        shown = column or ",".join(given)
        findings.append(in_header(column=column, text=shown, message=message, fix=fix, severity=severity))

    for place, name in enumerate(given):
        if name and name in given[:place]:
            report(f"the column {name!r} appears twice", "rename or delete one", name)
    of_slides = any(_stands_for(name) == "slide_id" for name in given)
    has_key = "slide_id" in given if of_slides else any(name in given for name in KEYS)
    needed = [("label",)] if has_key else [("slide_id", "patient_id"), ("label",)]
    for wanted in (names for names in needed if names[0] not in given):
        meant = [(place, name, _meant(name)) for place, name in enumerate(given) if name not in (*KEYS, "label")]
        choice = next(((place, name, right) for right in wanted for place, name, m in meant if m == right), None)
        message = f"the header {_listed(given, ',')!r} lacks the column {wanted[0]!r}"
        if choice:
            place, name, right = choice
            columns[place] = right
            report(message, f"did you mean {name!r}? Rename it to {right}", name)
        elif wanted == ("label",) and (columns_of_time := survival_columns(given)):
            findings.append(_survival(file, raw[0], columns_of_time))
        else:
            report(message, _fix(given, wanted[0], raw, known))
    for optional, consequence in _UNUSED.items():
        if optional in columns or (optional == "patient_id" and "case_id" in columns):
            continue
        if unused := next((name for name in columns if _meant(name) == optional), None):
            message = f"the column {unused!r} is not used{consequence}"
            report(message, f"if it is meant, rename it to {optional}", unused, "warning")
    return columns, findings


def _fix(given: Sequence[str], wanted: str, raw: Sequence[RawRow], known: Collection[str]) -> str:
    """How to name a column. Which of them holds the slides is said where their names show it: it is not the label."""
    rows = raw[: _LOOKED_AT + 1]
    cells = [[cell.strip() for cell in row.cells] for row in rows]
    times = survival_columns(given)  # 12 months are no slide s12
    hits = [
        0 if name in times else sum(len(row) > place and row[place] in known for row in cells)
        for place, name in enumerate(given)
    ]
    slides = hits.index(max(hits)) if any(hits) else None
    is_row = given[0] in known or (slides is not None and given[slides] in known)
    if is_row or not (
        any(map(_meant, given)) or set(given) & {*KEYS, "label"} or times or names_columns(raw, known, ())
    ):
        order = f"such as {FIRST_LINE}" if not slides else f"with slide_id for column {slides + 1}"
        return f"the file has no header: write a first line, {order}, that names the columns in their order"
    if wanted == "label":
        return f"rename the column that holds the classes to label, or add it; the columns are: {_listed(given, ', ')}"
    if slides is not None:
        return f"rename the column {given[slides]!r} to slide_id"
    return "rename the column that holds the names of the slides to slide_id, or that of the patients to patient_id"


def _listed(names: Sequence[str], between: str) -> str:
    return between.join([*names[:_SHOWN], *(["…"] if len(names) > _SHOWN else [])])


def _survival(file: str, head: RawRow, columns: Sequence[str]) -> Finding:
    return Finding(
        file=file,
        kind="survival",
        row=head.line,
        text=",".join(columns),
        message=f"the columns {' and '.join(map(repr, columns))} are times of survival; sammil classifies slides, it "
        "has no survival model",
        fix="for a classifier add the column label, such as short and long by a time that you choose beforehand, and "
        "leave out the slides that were censored before it",
    )
