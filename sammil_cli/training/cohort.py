"""The cohort: which slides carry which label and belong to which patient."""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv

ROLES = ("train", "val", "test")
_PATIENT_COLUMNS = ("patient_id", "case_id")  # CLAM says case_id

_BY_SLIDE = "label slides, one row each, first line: slide_id,label,patient_id"

_Rows = list[tuple[int, dict[str, str]]]  # row number in the file, and the row


@dataclass(frozen=True, kw_only=True)
class Member:
    """One labelled slide. `role` is the part it is given to beforehand (column `split`), or None."""

    slide_id: str
    label: int  # index into Cohort.classes
    patient_id: str
    role: str | None


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One patient; the label is the highest class of its slides."""

    patient_id: str
    label: int  # index into Cohort.classes


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Labelled slides in file order. Of two classes the last one is the positive one.

    `patients` are all patients of the label file, in its order, also those without a slide here: the published folds
    are drawn from them.
    """

    classes: tuple[str, ...]
    members: tuple[Member, ...]
    patients: tuple[Patient, ...]

    def only(self, slide_ids: set[str]) -> "Cohort":
        """The cohort without the slides that are not in `slide_ids`; the classes and the file's patients stay."""
        return replace(self, members=tuple(m for m in self.members if m.slide_id in slide_ids))


def patients_of(members: Iterable[Member]) -> tuple[Patient, ...]:
    """The patients of some slides, in the order of their first slide."""
    label_of: dict[str, int] = {}
    for member in members:
        label_of[member.patient_id] = max(member.label, label_of.get(member.patient_id, 0))
    return tuple(Patient(patient_id=name, label=label) for name, label in label_of.items())


def read_labels(path: Path, classes: Sequence[str] | None = None, slides: Collection[str] | None = None) -> Cohort:
    """Reads labels.csv: `slide_id,label[,patient_id][,split]` or `patient_id,label[,split]`, or the published columns.

    A table of patients labels every slide whose id contains the patient's (METHODS §1). The published files have no
    header: their first column names slides or, where it holds no slide's id but parts of such, patients.

    Args:
        classes: the order of the classes, the positive one last; None = sorted by name.
        slides: ids of the slides that there are; a table of patients cannot be read without them.

    Raises:
        InputError: the table is wrong; the message names the line.
    """
    key, rows = _rows(path, slides)
    found = sorted({row["label"] for _, row in rows})
    order = tuple(classes) if classes else tuple(found)
    _check(path, key, rows, order)
    if len(found) < 2:
        raise InputError(f"{path} has {len(found)} class(es)", remedy="a classifier needs at least two")
    if key == "slide_id":
        members = tuple(
            _member(row, row[key], row.get("patient_id") or row.get("case_id") or row[key], order) for _, row in rows
        )
        return Cohort(classes=order, members=members, patients=patients_of(members))
    own = _slides_by_patient(path, [row[key] for _, row in rows], slides)
    return Cohort(
        classes=order,
        members=tuple(_member(row, slide, row[key], order) for _, row in rows for slide in own.get(row[key], ())),
        patients=tuple(Patient(patient_id=row[key], label=order.index(row["label"])) for _, row in rows),
    )


def _slides_by_patient(path: Path, patients: Sequence[str], slides: Collection[str] | None) -> dict[str, list[str]]:
    """The slides whose id contains a patient's, by patient and sorted; a slide without a patient is left out.

    Of two patients in one slide's id the longer one counts if it contains the shorter one.

    Raises:
        InputError: a slide has two patients, or no slide has one.
    """
    if not slides:
        raise InputError(f"{path} labels patients, and no slides are known that could be theirs", remedy=_BY_SLIDE)
    own: dict[str, list[str]] = {}
    for slide, ids in _contained(patients, slides).items():
        longest, *others = sorted(ids, key=lambda name: (-len(name), name))
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


def _contained(patients: Iterable[str], slides: Iterable[str]) -> dict[str, set[str]]:
    """Slide -> the patients' ids in its id; no number is cut in two: P1 is not in P10_a."""
    known = set(patients)
    lengths = {len(name) for name in known}
    result = {}
    for slide in sorted(slides):
        spans = ((start, start + length) for length in lengths for start in range(len(slide) - length + 1))
        ids = {slide[a:b] for a, b in spans if slide[a:b] in known and not (_cuts(slide, a) or _cuts(slide, b))}
        if ids:
            result[slide] = ids
    return result


def _cuts(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place - 1].isdigit() and text[place].isdigit()


def _rows(path: Path, slides: Collection[str] | None) -> tuple[str, _Rows]:
    """The column that is labelled, of slides or of patients, and the rows."""
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="write it, first line: slide_id,label,patient_id")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        first = [cell.strip() for cell in next(csv.reader(stream), [])]
    if len(first) == 2 and not {"slide_id", "label"} & set(first):
        rows = read_csv(path, ("id", "label"), header=("id", "label"))
        ids = {row["id"] for row in rows}
        known = set(slides or ())
        key = "patient_id" if not ids & known and _contained(ids - {""}, known) else "slide_id"
        return key, [(line, {key: row["id"], "label": row["label"]}) for line, row in enumerate(rows, start=1)]
    named = [name for name in ("slide_id", *_PATIENT_COLUMNS) if name in first]
    key = named[0] if named else "slide_id"
    return key, list(enumerate(read_csv(path, (key, "label")), start=2))


def _check(path: Path, key: str, rows: _Rows, classes: tuple[str, ...]) -> None:
    seen: dict[str, int] = {}
    for line, row in rows:
        name, label, role = row[key], row["label"], row.get("split")
        where = f"{path}, row {line}"
        if not name or not label:
            raise InputError(f"{where}: {key} or label is empty", remedy="fill it in or delete the row")
        if name in seen:
            what = "slide" if key == "slide_id" else "patient"
            raise InputError(f"{where}: {what} {name!r} stands in row {seen[name]} already", remedy="keep one")
        if label not in classes:
            raise InputError(f"{where}: label {label!r} is none of the classes {list(classes)}", remedy="mend either")
        if role and role not in ROLES:
            raise InputError(f"{where}: split {role!r}", remedy=f"use one of {', '.join(ROLES)} or leave it empty")
        seen[name] = line


def _member(row: dict[str, str], slide_id: str, patient_id: str, classes: tuple[str, ...]) -> Member:
    label = classes.index(row["label"])
    return Member(slide_id=slide_id, label=label, patient_id=patient_id, role=row.get("split") or None)


def counts(cohort: Cohort) -> str:
    """`12 normal, 11 tumour slides of 20 patients`, for people."""
    tally = Counter(member.label for member in cohort.members)
    parts = ", ".join(f"{tally[i]} {name}" for i, name in enumerate(cohort.classes))
    patients = len({member.patient_id for member in cohort.members})
    return f"{parts} slides of {patients} patients"
