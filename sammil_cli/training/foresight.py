"""What drawn folds will meet, before anything is trained on them: for `sammil check` to list and `train` to say."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

from sammil_cli.cohort.cohort import Cohort, patients_of
from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.shared_patients import patients_in_names
from sammil_cli.training.fold import Fold

_SHOWN = 6  # folds that are named
_FRACTIONS = [step / 20 for step in range(1, 11)]  # of validation, to choose an advice from


def fold_findings(cohort: Cohort, folds: Sequence[Fold], file: str) -> Iterator[Finding]:
    """Warnings: a class without a slide in validation or in a test part, and patients that their slides' names share.

    Args:
        folds: those drawn; empty where they cannot be.
        file: of the labels.
    """
    given = any(member.parts for member in cohort.members)
    warning = partial(Finding, file=file, severity="warning")
    for name, where in _without_a_class(cohort, folds, "val"):
        halves = ", and the threshold is 0.5" if len(cohort.classes) == 2 else ""
        message = f"{where}: no slide of class {name!r} is in validation: the epoch is chosen by loss, not by AUC"
        fix = "give val a patient of it" if given else _larger_validation(cohort, folds)
        yield warning(kind="no-class-in-val", text=name, message=message + halves, fix=fix)
    for name, where in _without_a_class(cohort, folds, "test"):
        message = f"{where}: no slide of class {name!r} is in the test part: it has no AUC"
        fix = "give test a patient of it" if given else "add patients of this class, or drop it"
        yield warning(kind="no-class-in-test", text=name, message=message, fix=fix)
    if shared := patients_in_names(cohort.members):
        message, fix = _shared(cohort, folds, shared)
        yield warning(kind="shared-patients", text=min(shared), message=message, fix=fix)


def _without_a_class(cohort: Cohort, folds: Sequence[Fold], part: Literal["val", "test"]) -> Iterator[tuple[str, str]]:
    """Each class that a part lacks in some fold, and the names of these folds."""
    label = {member.slide_id: member.label for member in cohort.members}
    folds = [fold for fold in folds if fold.val or fold.test]  # of a model that is trained on all it is meant
    there = [{label[slide] for slide in getattr(fold, part)} for fold in folds]
    for number, name in enumerate(cohort.classes):
        if lacking := [fold for fold, labels in zip(folds, there, strict=True) if number not in labels]:
            yield name, _named(lacking)


def _named(folds: Sequence[Fold]) -> str:
    by_repeat: dict[int, list[str]] = {}
    for fold in folds[:_SHOWN]:
        by_repeat.setdefault(fold.repeat, []).append(str(fold.fold))
    parts = [
        f"fold{'s' if len(numbers) > 1 else ''} {', '.join(numbers)} of repeat {repeat}"
        for repeat, numbers in by_repeat.items()
    ]
    return "; ".join(parts) + (f" and {len(folds) - _SHOWN} more folds" if len(folds) > _SHOWN else "")


def _larger_validation(cohort: Cohort, folds: Sequence[Fold]) -> str:
    """The advice where a stratified draw gives a class no place in validation: a share that gives it one."""
    patients = patients_of(cohort.members)
    patient_of = {member.slide_id: member.patient_id for member in cohort.members}
    for fraction in _FRACTIONS:
        for fold in folds:
            tested = {patient_of[slide] for slide in fold.test}
            rest = Counter(patient.label for patient in patients if patient.patient_id not in tested)
            size = max(len(cohort.classes), round(fraction * rest.total()))
            if math.floor(size * min(rest.values()) / rest.total()) < 1:
                break
        else:
            return f"set val_fraction to {fraction:g}, or add patients of this class"
    return "add patients of this class"


def _shared(cohort: Cohort, folds: Sequence[Fold], shared: Mapping[str, str]) -> tuple[str, str]:
    """What is said of slides that are one patient's by their names, and the column that would make them so."""
    patient_of = {member.slide_id: member.patient_id for member in cohort.members}
    counted = len({patient_of[slide] for slide in shared})
    name = min(shared.values())
    first, second, *_ = sorted(slide for slide, other in shared.items() if other == name)
    message = (
        f"{len(shared)} of {len(patient_of)} slides count as {counted} patients, but their names hold "
        f"{len(set(shared.values()))}: {first!r} and {second!r} are both of {name}"
    )
    if folds:
        mixed = 0
        for fold in folds:
            learnt = {shared[slide] for slide in {*fold.train, *fold.val} - set(fold.test) if slide in shared}
            mixed += sum(shared.get(slide) in learnt for slide in fold.test)
        tested = sum(len(fold.test) for fold in folds)
        message += f"; {mixed} of {tested} test slides of the folds drawn have their patient in train or validation"
    return message, f"write patients into the column patient_id: {name} for {first} and {second}"
