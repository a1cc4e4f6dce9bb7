"""Whose slides these are, by the label table where it says so; and which patients are held out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli.cohort.cohort import slides_by_patient
from sammil_cli.cohort.finding import refuse_first
from sammil_cli.cohort.label_table import cell_errors, read_table
from sammil_cli.errors import InputError

_TWICE = ("duplicate", "contradiction")  # findings: whose slide it is would depend on the order of rows


@dataclass(frozen=True, kw_only=True)
class Split:
    """The patient of each slide, which patients are `held_out`, and of how many slides no table names one."""

    patients: Mapping[str, str]
    held_out: frozenset[str]
    unnamed: int


def split_patients(labels: Path, slides: Collection[str], fraction: float, seed: int) -> Split:
    """Whose these slides are, and who is held out.

    Raises:
        InputError: see `patients_of_slides`, `held_out`.
    """
    patients, unnamed = patients_of_slides(labels, slides)
    val = held_out(patients, fraction, seed)
    return Split(patients=patients, held_out=val, unnamed=unnamed)


def patients_of_slides(labels: Path, slides: Collection[str]) -> tuple[dict[str, str], int]:
    """The patient of each slide, and how many slides the table says nothing of: each of those is its own patient.

    Labels do not count, so that slides of one class will do. Without a table, or with a header only, nothing is said.

    Raises:
        InputError: the table cannot be made out, or lists a slide or patient twice.
    """
    known: dict[str, str] = {}
    if labels.exists():
        table, findings = read_table(labels, slides)
        twice = [] if table is None else [one for one in cell_errors(table, None) if one.kind in _TWICE]
        refuse_first([*findings, *twice])
        if table is not None and table.of_slides:
            known = {row[table.key]: table.patient(row) for row in table.rows}
        elif table is not None and table.rows:
            own = slides_by_patient(labels, [row[table.key] for row in table.rows], slides)
            known = {slide: patient for patient, those in own.items() for slide in those}
    return {slide: known.get(slide, slide) for slide in sorted(slides)}, sum(slide not in known for slide in slides)


def held_out(patients: Mapping[str, str], fraction: float, seed: int) -> frozenset[str]:
    """The patients whose fields choose the epoch: a share of all, at least one, and never all.

    Args:
        patients: slide id -> patient.

    Raises:
        InputError: all slides are of one patient.
    """
    names = sorted(set(patients.values()))
    if len(names) < 2:
        raise InputError(
            f"all {len(patients)} slide(s) with drawings are of one patient, {names[0]!r}: one has to be held out to "
            "choose the epoch, and another one to be learned from",
            remedy="draw on slides of at least two patients (patient_id in data/labels.csv)",
        )
    count = min(len(names) - 1, max(1, round(fraction * len(names))))
    return frozenset(np.random.default_rng(seed).permutation(names)[:count].tolist())
