"""The cohort: which slides carry which label and belong to which patient."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv

ROLES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One labelled slide. `role` is the part it is given to beforehand (column `split`), or None."""

    slide_id: str
    label: int  # index into Cohort.classes
    patient_id: str
    role: str | None


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Labelled slides in file order. Of two classes the last one is the positive one."""

    classes: tuple[str, ...]
    members: tuple[Member, ...]

    def only(self, slide_ids: set[str]) -> "Cohort":
        """The cohort without the slides that are not in `slide_ids`; the classes stay."""
        return Cohort(classes=self.classes, members=tuple(m for m in self.members if m.slide_id in slide_ids))


def read_labels(path: Path, classes: Sequence[str] | None = None) -> Cohort:
    """Reads labels.csv: `slide_id,label[,patient_id][,split]`, or the published two columns without a header.

    Args:
        classes: the order of the classes, the positive one last; None = sorted by name.

    Raises:
        InputError: the table is wrong; the message names the line.
    """
    rows = _rows(path)
    found = sorted({row["label"] for _, row in rows})
    order = tuple(classes) if classes else tuple(found)
    members: list[Member] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        slide_id, label = row["slide_id"], row["label"]
        where = f"{path}, row {line}"
        if not slide_id or not label:
            raise InputError(f"{where}: slide_id or label is empty", remedy="fill it in or delete the row")
        if slide_id in seen:
            raise InputError(f"{where}: slide {slide_id!r} stands in row {seen[slide_id]} already", remedy="keep one")
        if label not in order:
            raise InputError(f"{where}: label {label!r} is none of the classes {list(order)}", remedy="mend either")
        role = row.get("split") or None
        if role is not None and role not in ROLES:
            raise InputError(f"{where}: split {role!r}", remedy=f"use one of {', '.join(ROLES)} or leave it empty")
        seen[slide_id] = line
        members.append(
            Member(
                slide_id=slide_id,
                label=order.index(label),
                patient_id=row.get("patient_id") or row.get("case_id") or slide_id,  # CLAM says case_id
                role=role,
            )
        )
    if len(found) < 2:
        raise InputError(f"{path} has {len(found)} class(es)", remedy="a classifier needs at least two")
    return Cohort(classes=order, members=tuple(members))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Row number in the file, and the row."""
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="write it, first line: slide_id,label,patient_id")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        first = [cell.strip() for cell in next(csv.reader(stream), [])]
    if len(first) != 2 or "slide_id" in first:
        return list(enumerate(read_csv(path, ("slide_id", "label")), start=2))
    names = ("slide_id", "label")  # the published label files have no header
    rows = read_csv(path, names, header=names)
    return list(enumerate(rows, start=1))


def counts(cohort: Cohort) -> str:
    """`12 normal, 11 tumour slides of 20 patients`, for people."""
    tally = Counter(member.label for member in cohort.members)
    parts = ", ".join(f"{tally[i]} {name}" for i, name in enumerate(cohort.classes))
    patients = len({member.patient_id for member in cohort.members})
    return f"{parts} slides of {patients} patients"
