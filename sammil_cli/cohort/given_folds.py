"""Folds that labels.csv gives: the columns `split`, `fold`, or `fold_0`, `fold_1`, …; what is wrong with them."""

import re
from collections.abc import Callable, Iterable, Iterator

from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.label_table import LabelRow, LabelTable, cell_finding
from sammil_cli.cohort.roles import ROLES

Parts = tuple[str | None, ...]  # a slide's part in each given fold, or None where it is left out of one
_NUMBERED = re.compile(r"fold_(\d+)")


def is_fold_column(name: str) -> bool:
    """Whether a column gives the parts of one fold: `fold_0`, `fold_1`, …"""
    return _NUMBERED.fullmatch(name) is not None


def gives_folds(table: LabelTable) -> bool:
    """Whether any column gives folds, rightly or not."""
    return bool(_used(table))


def parts_of(table: LabelTable) -> Callable[[LabelRow], Parts]:
    """What gives each row its parts, of a table without errors; `()` where no folds are given."""
    columns = _used(table)
    if columns == ["fold"]:
        numbers = sorted({int(row["fold"]) for row in table.rows})
        return lambda row: tuple("test" if int(row["fold"]) == number else "train" for number in numbers)
    return lambda row: tuple(row[column] or None for column in columns)


def trains_all(table: LabelTable) -> bool:
    """Whether the column `split` gives every slide to training: one model is trained on all, and nothing is tested."""
    return _used(table) == ["split"] and all(row["split"] == "train" for row in table.rows)


def fold_errors(table: LabelTable) -> Iterator[Finding]:
    """What makes given folds unusable; of several kinds of column the first finding says that one is to be taken."""
    columns = _used(table)
    kinds = sorted({"fold_0, …" if is_fold_column(name) else name for name in columns})
    if len(kinds) > 1:
        message = f"the folds are given twice, by the columns {' and '.join(kinds)}"
        yield Finding(file=table.file, kind="folds", column=kinds[0], message=message, fix="delete one of them")
    elif columns == ["fold"]:
        yield from _numbers(table)
    else:
        for column in columns:
            yield from _words(table, column)


def _used(table: LabelTable) -> list[str]:
    """The columns that give folds and are filled anywhere, in order."""
    names = {name for row in table.rows for name in row.raw if name in ("split", "fold") or is_fold_column(name)}
    filled = (name for name in names if any(row[name] for row in table.rows))
    return sorted(filled, key=lambda name: (name.partition("_")[0], int(name.partition("_")[2] or 0)))


def _numbers(table: LabelTable) -> Iterator[Finding]:
    """The column `fold`: the number of the fold that tests a slide."""
    for row in table.rows:
        if not (row["fold"].isascii() and row["fold"].isdigit() and len(row["fold"]) < 5):
            fix = "write the number of the fold that tests the slide, from 0 on"
            if row["fold"] in ROLES:
                fix = "rename the column to split, or write the number of the fold that tests the slide"
            what = f"{row['fold']!r} is no number" if row["fold"] else "is empty here and filled elsewhere"
            yield cell_finding(table, row, "fold", "folds", f"fold {what}", fix)
            return
    if len({int(row["fold"]) for row in table.rows}) < 2:
        message = "every slide has the same fold: none is left to train on"
        yield Finding(file=table.file, kind="folds", column="fold", message=message, fix="give at least two folds")
    yield from _patients(table, "fold")


def _words(table: LabelTable, column: str) -> Iterator[Finding]:
    """A column of `train`, `val` and `test`; only `split` has to be filled for all slides."""
    given = [row for row in table.rows if row[column]]
    for row in table.rows:
        if row[column] and row[column] not in ROLES:
            fix = f"use one of {', '.join(ROLES)} or leave it empty"
            yield cell_finding(table, row, column, "split-word", f"{column} {row[column]!r}", fix)
        elif not row[column] and column == "split":
            message = "split is empty here and filled elsewhere"
            yield cell_finding(table, row, column, "split-gap", message, f"write one of {', '.join(ROLES)}")
    for role in ("train",) if trains_all(table) else ("train", "test"):
        if all(row[column] != role for row in given):
            message = f"no slide is in the part {role} of the column {column}"
            yield _gap(table, column, role, message, "give it some")
    trained = {row["label"] for row in given if row[column] == "train"}
    for name in [name for name in table.found if name not in trained] if trained else []:
        message = f"no slide of class {name!r} is in the part train of {column}: nothing would be learnt of it"
        yield _gap(table, column, name, message, "give train some of its patients, or drop the class")
    yield from _patients(table, column)


def _gap(table: LabelTable, column: str, text: str, message: str, fix: str) -> Finding:
    return Finding(file=table.file, kind="split-gap", column=column, text=text, message=message, fix=fix)


def _patients(table: LabelTable, column: str) -> Iterator[Finding]:
    """A patient in two parts: each row after the first one that says something else."""
    first: dict[str, LabelRow] = {}
    for row in table.rows:
        other = first.setdefault(table.patient(row), row) if row[column] else row
        if other[column] != row[column]:
            where = f"{column} {row[column]} here and in {other[column]} in row {other.line}"
            message = f"patient {table.patient(row)!r} is in {where}"
            yield cell_finding(table, row, column, "split-patient", message, "give a patient to one part")


def tests_overlap(parts: Iterable[Parts]) -> bool:
    """Whether any slide is tested by two given folds: then each fold is a draw by itself, and counts as a repeat."""
    return any(one.count("test") > 1 for one in parts)


def without_shared_patients(parts: dict[str, list[str | None]], patient_of: Callable[[str], str]) -> list[int]:
    """Keeps a patient in one part of each fold, test before val before train: its other slides are left out, in place.

    Args:
        parts: slide -> its part in each fold.

    Returns:
        How many slides were left out of each fold.
    """
    folds = len(next(iter(parts.values()), ()))
    taken = [0] * folds
    for fold in range(folds):
        place: dict[str, str] = {}
        for role in reversed(ROLES):
            named = [slide for slide, given in parts.items() if given[fold] == role]
            for slide in named:
                if patient_of(slide) in place:
                    parts[slide][fold], taken[fold] = None, taken[fold] + 1
            place |= {patient_of(slide): role for slide in named}
    return taken
