"""Classes as numbers, for loaders that want these in place of words, and the table that keeps the words."""

from dataclasses import replace
from pathlib import Path

from sammil_cli.cohort.cohort import Cohort
from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv, write_csv

FILE = "classes.csv"
_HEADER = ("number", "label")


def write_class_names(folder: Path, cohort: Cohort) -> None:
    """Writes which number stands for which class: its place in the cohort's order, the positive one of two is 1."""
    write_csv(folder / FILE, _HEADER, enumerate(cohort.classes))


def with_class_names(cohort: Cohort, labels: Path) -> Cohort:
    """The cohort of a label table with words for its numbers, where a table of them lies beside it.

    Raises:
        InputError: that table does not name all of them.
    """
    path = labels.parent / FILE
    if not path.is_file():
        return cohort
    names = {row["number"]: row["label"] for row in read_csv(path, _HEADER)}
    lacking = [number for number in cohort.classes if number not in names]
    if lacking:
        raise InputError(
            f"{path} does not name the class {lacking[0]!r} of {labels}", remedy=f"add a row, or delete {path.name}"
        )
    return replace(cohort, classes=tuple(names[number] for number in cohort.classes))
