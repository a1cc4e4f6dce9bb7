"""Folds by patient: drawn once from the seed, saved as a table."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv, write_csv
from sammil_cli.training.cohort import ROLES, Cohort

_HEADER = ("repeat", "fold", "slide_id", "patient_id", "role")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One outer fold of one repeat: slide ids by role. The test part is for `evaluate` alone."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def name(self) -> str:
        """Folder name of the fold's model."""
        return f"repeat_{self.repeat}_fold_{self.fold}"


def draw_folds(cohort: Cohort, *, folds: int, repeats: int, val_fraction: float, seed: int) -> list[Fold]:
    """Stratified folds over patients, each with an inner validation part taken from its training patients.

    A patient counts for the highest class of its slides. Where labels.csv gives slides to parts (column `split`),
    these stand and `folds` does not count.

    Raises:
        InputError: too few patients of a class.
    """
    label_of: dict[str, int] = {}
    for member in cohort.members:
        label_of[member.patient_id] = max(member.label, label_of.get(member.patient_id, 0))
    patients = np.array(sorted(label_of))
    labels = np.array([label_of[patient] for patient in patients])
    given = _given_parts(cohort)
    result = []
    for repeat in range(repeats):
        if given is not None:
            outer = [(_positions(patients, given["rest"]), _positions(patients, given["test"]))]
        else:
            _check_enough(cohort, labels, folds)
            cutter = StratifiedKFold(folds, shuffle=True, random_state=seed + repeat)
            outer = list(cutter.split(patients, labels))
        for number, (rest, test) in enumerate(outer):
            if given is not None and given["val"]:
                train, val = _positions(patients, given["train"]), _positions(patients, given["val"])
            else:
                train, val = _inner(rest, labels, len(cohort.classes), val_fraction, seed + repeat)
            parts = {role: set(patients[chosen]) for role, chosen in zip(ROLES, (train, val, test), strict=True)}
            slides = {
                role: tuple(m.slide_id for m in cohort.members if m.patient_id in names)
                for role, names in parts.items()
            }
            result.append(Fold(repeat=repeat, fold=number, **slides))
    return result


def _inner(
    rest: NDArray[np.int64], labels: NDArray[np.int64], classes: int, val_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = max(classes, round(val_fraction * len(rest)))
    try:
        cutter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
        train, val = next(cutter.split(rest, labels[rest]))
    except ValueError as error:
        raise InputError(
            f"no validation part of {size} patients can be taken from {len(rest)} training patients: {error}",
            remedy="use fewer folds, another val_fraction, or more patients",
        ) from None
    return rest[train], rest[val]


def _check_enough(cohort: Cohort, labels: NDArray[np.int64], folds: int) -> None:
    tally = Counter(labels.tolist())
    for label, name in enumerate(cohort.classes):
        if tally[label] < folds:
            raise InputError(
                f"class {name!r} has {tally[label]} patients, too few for {folds} folds",
                remedy=f"set folds to {max(2, tally[label])} or less" if tally[label] >= 2 else "add patients",
            )


def _given_parts(cohort: Cohort) -> dict[str, set[str]] | None:
    parts = {role: {m.patient_id for m in cohort.members if m.role == role} for role in ROLES}
    if not any(parts.values()):
        return None
    open_slides = [m.slide_id for m in cohort.members if m.role is None]
    if open_slides or not parts["test"] or not parts["train"]:
        what = f"slide {open_slides[0]!r} has none" if open_slides else "train or test is missing"
        raise InputError(f"the column split of the labels is incomplete: {what}", remedy="fill it for every slide")
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if both := parts[one] & parts[other]:
            raise InputError(f"patient {min(both)!r} is in {one} and in {other}", remedy="give a patient to one part")
    return {**parts, "rest": parts["train"] | parts["val"]}


def _positions(patients: NDArray[np.str_], chosen: set[str]) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(patients, sorted(chosen)))


def write_folds(path: Path, folds: list[Fold], cohort: Cohort) -> None:
    """Writes the table `repeat,fold,slide_id,patient_id,role`."""
    patient = {m.slide_id: m.patient_id for m in cohort.members}
    rows = [
        (fold.repeat, fold.fold, slide, patient[slide], role)
        for fold in folds
        for role in ROLES
        for slide in getattr(fold, role)
    ]
    write_csv(path, _HEADER, rows)


def read_folds(path: Path) -> list[Fold]:
    """Reads what `write_folds` wrote; `InputError` where it is something else."""
    if not path.exists():
        raise InputError(f"{path} does not exist: nothing is trained yet", remedy="run: sammil train")
    parts: dict[tuple[int, int], dict[str, list[str]]] = {}
    for line, row in enumerate(read_csv(path, _HEADER), start=2):
        try:
            fold = parts.setdefault((int(row["repeat"]), int(row["fold"])), {role: [] for role in ROLES})
            fold[row["role"]].append(row["slide_id"])
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}, line {line} is no row of a fold: {error}", remedy="run: sammil train") from None
    return [
        Fold(repeat=repeat, fold=fold, **{role: tuple(ids) for role, ids in roles.items()})
        for (repeat, fold), roles in parts.items()
    ]
