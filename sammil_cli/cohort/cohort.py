"""The cohort: which slides carry which label and belong to which patient."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.cohort.class_order import positive_of
from sammil_cli.cohort.finding import refuse_first
from sammil_cli.cohort.given_folds import Parts, fold_errors, parts_of, trains_all
from sammil_cli.cohort.header import FIRST_LINE
from sammil_cli.cohort.label_table import LabelRow, LabelTable, cell_errors, contained, read_table
from sammil_cli.cohort.positive_class import with_positive_last
from sammil_cli.errors import InputError

_BY_SLIDE = "label slides, one row each, first line: slide_id,label,patient_id"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One labelled slide. `parts`: the part that it has in each fold which the table gives, None = it is left out.

    `site`: where it comes from (column `site`), or None where the table does not say.
    """

    slide_id: str
    label: int  # index into Cohort.classes
    patient_id: str
    parts: Parts = ()
    site: str | None = None


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient; the label is the highest class of its slides."""

    patient_id: str
    label: int  # index into Cohort.classes


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Labelled slides in file order. Of two classes the last one is the positive one.

    `patients` are all patients of the label file, in its order, also those without a slide here: the published folds
    are drawn from them. `trains_all`: the file gives every slide to training, and none to be tested on.
    """

    classes: tuple[str, ...]
    members: tuple[Member, ...]
    patients: tuple[Patient, ...]
    trains_all: bool = False

    @property
    def positive_class(self) -> str | None:
        """The positive class of two; None with more."""
        return positive_of(self.classes)

    def only(self, slide_ids: set[str]) -> "Cohort":
        """The cohort without the slides that are not in `slide_ids`; the classes and the file's patients stay."""
        return replace(self, members=tuple(m for m in self.members if m.slide_id in slide_ids))


def patients_of(members: Iterable[Member]) -> tuple[Patient, ...]:
    """The patients of some slides, in the order of their first slide."""
    label_of: dict[str, int] = {}
    for member in members:
        label_of[member.patient_id] = max(member.label, label_of.get(member.patient_id, 0))
    return tuple(Patient(patient_id=name, label=label) for name, label in label_of.items())


def read_labels(
    path: Path,
    classes: Sequence[str] | None = None,
    slides: Collection[str] | None = None,
    *,
    positive_class: str | None = None,
    others: bool = False,
) -> Cohort:
    """Reads labels.csv: `slide_id,label[,patient_id][,split][,site]`, or `patient_id,label[,split][,site]`, or the
    published columns.

    A table of patients labels every slide whose id contains the patient's (docs/methods.md §1). The published files
    have no header: their first column names slides or, where it holds no slide's id but parts of such, patients.

    Args:
        classes: the order of the classes; None = by name, numbers by value.
        slides: ids of the slides that there are; a table of patients cannot be read without them.
        positive_class: of two classes, the one that comes last in the cohort; None = the last of their order.
        others: whether other classes than `classes` may stand in the table; they come after those.

    Raises:
        InputError: the table is wrong, and the message names the line; or `positive_class` is none of two classes.
    """
    table, findings = read_table(path, slides, classes)
    refuse_first(findings)
    for finding in findings:
        log.warning("%s: %s (%s)", finding.place, finding.message, finding.fix)
    if table is None:
        raise InputError(f"{path} is no table of labels", remedy=f"begin: {FIRST_LINE}")
    if classes and others:
        classes = (*classes, *(name for name in table.found if name not in classes))
    refuse_first([*cell_errors(table, classes), *fold_errors(table)])
    return cohort_of_table(table, with_positive_last(classes or table.found, positive_class, table.file), slides)


def cohort_of_table(table: LabelTable, order: tuple[str, ...], slides: Collection[str] | None) -> Cohort:
    """The cohort of a table without errors.

    Args:
        order: all classes; of two, the positive one last.
        slides: see `read_labels`.

    Raises:
        InputError: a table of patients that fits no slide, or two of whose patients fit one.
    """
    parts = parts_of(table)
    if table.of_slides:
        members = tuple(_member(row, row[table.key], table.patient(row), order, parts(row)) for row in table.rows)
        patients = patients_of(members)
        return Cohort(classes=order, members=members, patients=patients, trains_all=trains_all(table))
    names = [row[table.key] for row in table.rows]
    own = slides_by_patient(Path(table.file), names, slides)
    return Cohort(
        classes=order,
        members=tuple(
            _member(row, slide, name, order, parts(row))
            for row, name in zip(table.rows, names, strict=True)
            for slide in own.get(name, ())
        ),
        patients=tuple(Patient(patient_id=row[table.key], label=order.index(row["label"])) for row in table.rows),
        trains_all=trains_all(table),
    )


def slides_by_patient(path: Path, patients: Sequence[str], slides: Collection[str] | None) -> dict[str, list[str]]:
    """The slides whose id contains a patient's, by patient and sorted; a slide without a patient is left out.

    Of two patients in one slide's id the longer one counts if it contains the shorter one.

    Raises:
        InputError: a slide has two patients, or no slide has one.
    """
    if not slides:
        raise InputError(f"{path} labels patients, and no slides are known that could be theirs", remedy=_BY_SLIDE)
    own: dict[str, list[str]] = {}
    for slide, ids in contained(patients, slides).items():
        longest, *others = ids
        if foreign := [name for name in others if name not in longest]:
            raise InputError(
                f"{path}: slide {slide!r} holds the ids of two patients, {longest!r} and {foreign[0]!r}",
                remedy=_BY_SLIDE,
            )
        own.setdefault(longest, []).append(slide)
    if not own:
        raise InputError(
            f"{path}: no patient's id is part of a slide's; labels name {patients[0]!r}, slides {min(slides)!r}",
            remedy="write the patients as in the names of the slides, or " + _BY_SLIDE,
        )
    return own


def _member(row: LabelRow, slide_id: str, patient_id: str, classes: tuple[str, ...], parts: Parts) -> Member:
    label = classes.index(row["label"])
    return Member(slide_id=slide_id, label=label, patient_id=patient_id, parts=parts, site=row["site"] or None)


def counts(cohort: Cohort) -> str:
    """`12 normal, 11 tumour slides of 20 patients`, for people."""
    tally = Counter(member.label for member in cohort.members)
    parts = ", ".join(f"{tally[i]} {name}" for i, name in enumerate(cohort.classes))
    patients = len({member.patient_id for member in cohort.members})
    return f"{parts} slides of {patients} patients"
