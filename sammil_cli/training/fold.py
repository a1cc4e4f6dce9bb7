"""A fold: which slides train a model, which choose its epoch and threshold, which judge it; and folds as a table."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.cohort.roles import ROLES
from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv, read_csv_lines, write_csv
from sammil_cli.storage.paths import check_id

if TYPE_CHECKING:
    from sammil_cli.cohort.cohort import Cohort

FOLD_NAME = re.compile(r"repeat_\d+_fold_\d+")  # see `Fold.name`
_HEADER = ("repeat", "fold", "slide_id", "patient_id", "role")
_LABEL = "label"  # not in the tables of earlier versions
_SITE = "site"  # where the labels name sites


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One outer fold of one repeat: slide ids by role. Honest folds leave the test part to `evaluate` alone."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder name of the fold's model."""
        return f"repeat_{self.repeat}_fold_{self.fold}"


def fold_of_all(slides: Iterable[str], repeat: int = 0) -> Fold:
    """The one fold of a model that is trained on all slides: nothing validates, nothing is tested."""
    return Fold(repeat=repeat, fold=0, train=tuple(slides), val=(), test=())


def check_tested(folds: Iterable[Fold]) -> None:
    """Refuses folds of which none has a test part.

    Raises:
        InputError: the models were trained on all slides.
    """
    if not any(fold.test for fold in folds):
        raise InputError(
            "there is no test part: the model was trained on all slides, and has seen every one of them",
            remedy="judge it on other slides: sammil evaluate --on LABELS; or train folds: sammil train -S folds=5",
        )


def write_folds(path: Path, folds: list[Fold], cohort: "Cohort") -> None:
    """Writes the table `repeat,fold,slide_id,patient_id,role,label[,site]`; no label where the cohort has no classes.

    The column site is there where any slide has one.
    """
    members = {member.slide_id: member for member in cohort.members}
    with_sites = any(member.site for member in cohort.members)

    def of_slide(slide: str) -> tuple[str, ...]:
        label = cohort.classes[members[slide].label] if cohort.classes else ""
        return (label, members[slide].site or "") if with_sites else (label,)

    rows = [
        (fold.repeat, fold.fold, slide, members[slide].patient_id, role, *of_slide(slide))
        for fold in folds
        for role in ROLES
        for slide in getattr(fold, role)
    ]
    write_csv(path, (*_HEADER, _LABEL, *([_SITE] if with_sites else [])), rows)


def read_folds(path: Path) -> list[Fold]:
    """Reads what `write_folds` wrote; `InputError` where it is something else."""
    if not path.exists():
        raise InputError(f"{path} does not exist: nothing is trained yet", remedy="run: sammil train")
    parts: dict[tuple[int, int], dict[str, list[str]]] = {}
    for line, row in read_csv_lines(path, _HEADER):
        try:
            check_id(row["slide_id"], path)
            fold = parts.setdefault((int(row["repeat"]), int(row["fold"])), {role: [] for role in ROLES})
            fold[row["role"]].append(row["slide_id"])
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}, line {line} is no row of a fold: {error}", remedy="run: sammil train") from None
    return [
        Fold(repeat=repeat, fold=fold, **{role: tuple(ids) for role, ids in roles.items()})
        for (repeat, fold), roles in parts.items()
    ]


def patients_of_folds(path: Path) -> dict[str, str]:
    """The patient of each slide when the folds were drawn."""
    return {row["slide_id"]: row["patient_id"] for row in read_csv(path, _HEADER)}


def labels_of_folds(path: Path) -> dict[str, tuple[str, str]] | None:
    """Label and patient of each slide when the folds were drawn; None where the table does not hold the labels."""
    rows = read_csv(path, _HEADER)
    if not all(row.get(_LABEL) for row in rows):
        return None
    return {row["slide_id"]: (row[_LABEL], row["patient_id"]) for row in rows}
