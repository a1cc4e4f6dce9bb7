"""Runs that `sammil evaluate` has judged, read from their files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli.errors import InputError
from sammil_cli.project.run_record import read_record
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.per_patient import PatientRule, Place
from sammil_cli.storage.files import read_csv_lines, sha256_file
from sammil_cli.training.model_facts import ModelFacts

_FILE, _OF_PATIENTS = "predictions.csv", "predictions_patients.csv"
_COLUMNS = ("slide_id", "patient_id", "repeat", "fold", "label", "predicted", "threshold", "protocol")
_PROBABILITY = "probability_"
_AGAIN = "run: sammil evaluate"
_DIGITS = 1e-5  # predictions.csv has six decimals
_SUM_TOLERANCE = 1e-4  # probabilities have six decimals


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """A run as `sammil evaluate` left it.

    `thresholds`: by (repeat, fold); None with more than two classes. `patient_rule`, `patient_thresholds`: how evaluate
    put slides together, and the thresholds that it chose for patients; None and empty where it says nothing of them.
    `settings`: those it was trained with; None where it has no record.
    """

    name: str
    path: Path
    rows: Predictions
    classes: tuple[str, ...]
    thresholds: dict[Place, float | None]
    patient_rule: str | None
    patient_thresholds: dict[Place, float | None]
    protocol: str
    sha256: str
    settings: dict[str, object] | None

    def thresholds_of_patients(self, rule: PatientRule) -> dict[Place, float | None]:
        """The thresholds for patients; those of slides in folds where none was chosen by this rule."""
        return self.thresholds | (self.patient_thresholds if self.patient_rule == rule else {})


def read_run(where: Path) -> JudgedRun:
    """Reads a run from a project folder, its folder `runs`, or a predictions.csv.

    Raises:
        InputError: no such file, or it is not as `sammil evaluate` writes it.
    """
    path = _predictions(where)
    lines = read_csv_lines(path, _COLUMNS)
    if not lines:
        raise InputError(f"{path} has no rows", remedy=_AGAIN)
    classes = tuple(name.removeprefix(_PROBABILITY) for name in lines[0][1] if name.startswith(_PROBABILITY))
    if len(classes) < 2:
        raise InputError(f"{path} has no probabilities of two classes or more", remedy=_AGAIN)
    rows, thresholds = [], {}
    seen: set[tuple[str, int]] = set()
    for line, row in lines:
        try:
            read = _row(row, classes)
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}, line {line}: {error}", remedy=_AGAIN) from None
        if (again := (row["slide_id"], read[0])) in seen:
            raise InputError(f"{path}, line {line}: {again[0]!r} stands twice in repeat {again[1]}", remedy=_AGAIN)
        seen.add(again)
        rows.append(read)
        thresholds[read[0], read[1]] = float(row["threshold"]) if row["threshold"] else None
    positive = lines[0][1].get("positive_class") or None
    found = Predictions(
        slides=tuple(row["slide_id"] for _, row in lines),
        patients=tuple(row["patient_id"] for _, row in lines),
        repeat=np.array([row[0] for row in rows], np.int64),
        fold=np.array([row[1] for row in rows], np.int64),
        labels=np.array([row[2] for row in rows], np.int64),
        predicted=np.array([row[3] for row in rows], np.int64),
        probabilities=np.array([row[4] for row in rows], np.float64),
        positive_class=positive,
    )
    _check_repeats(path, found)
    record = path.parent / "record.json"
    rule, of_patients = _of_patients(path.parent / _OF_PATIENTS)
    return JudgedRun(
        name=_name(path),
        path=where,
        rows=found,
        classes=classes,
        thresholds=thresholds,
        patient_rule=rule,
        patient_thresholds=of_patients,
        protocol=lines[0][1]["protocol"],
        sha256=sha256_file(path),
        settings=read_record(record).params if record.is_file() else None,
    )


def run_of(table: Path, facts: Sequence[ModelFacts]) -> JudgedRun | str:
    """What `sammil evaluate` wrote of just these models and maybe more; a string says why it is not known.

    Args:
        table: the predictions.csv of their run.
    """
    if not table.is_file():
        return f"there is no {table.name} beside the models: run sammil evaluate there"
    try:
        found = read_run(table)
    except InputError as error:
        return f"the internal folds cannot be read: {error.message}"
    thresholds = {(fact.repeat, fact.fold): fact.calibrated_threshold for fact in facts}
    same = all(place in found.thresholds and _alike(found.thresholds[place], own) for place, own in thresholds.items())
    if not same or found.classes != facts[0].classes:
        return f"{table} is of other models: run sammil evaluate there"
    return found


def _alike(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, abs_tol=_DIGITS)


def _of_patients(path: Path) -> tuple[str | None, dict[Place, float | None]]:
    """The rule for patients and their thresholds by (repeat, fold); None and empty where there is no such table.

    Raises:
        InputError: it is not as `sammil evaluate` writes it.
    """
    if not path.is_file():
        return None, {}
    rule, found = None, dict[Place, float | None]()
    for line, row in read_csv_lines(path, ("repeat", "fold", "threshold", "patient_rule")):
        try:
            found[int(row["repeat"]), int(row["fold"])] = float(row["threshold"]) if row["threshold"] else None
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}", remedy=_AGAIN) from None
        rule = row["patient_rule"]
    return rule, found


def _predictions(where: Path) -> Path:
    if where.is_file():
        return where
    for path in (where / _FILE, where / "runs" / _FILE):
        if path.is_file():
            return path
    what = "does not exist" if not where.exists() else f"holds no {_FILE} and no runs/{_FILE}"
    raise InputError(f"{where} {what}", remedy="name a project or its runs folder; in it, run: sammil evaluate")


def _name(path: Path) -> str:
    folder = path.resolve().parent
    return folder.parent.name if folder.name == "runs" else folder.name


def _row(row: dict[str, str], classes: tuple[str, ...]) -> tuple[int, int, int, int, list[float]]:
    """Repeat, fold, label, decision, probabilities.

    Raises:
        ValueError: a cell holds no such thing.
    """
    chosen = []
    for column in ("label", "predicted"):
        if row[column] not in classes:
            raise ValueError(f"{column} is {row[column]!r}, the classes are {', '.join(classes)}")
        chosen.append(classes.index(row[column]))
    values = [float(row[f"{_PROBABILITY}{name}"]) for name in classes]
    if not all(0 <= value <= 1 for value in values) or not math.isclose(sum(values), 1, abs_tol=_SUM_TOLERANCE):
        raise ValueError(f"the probabilities {values} do not add up to 1")
    return int(row["repeat"]), int(row["fold"]), chosen[0], chosen[1], values


def _check_repeats(path: Path, rows: Predictions) -> None:
    """Refuses a table whose repeats judge different slides, or where a slide changes its label or patient."""
    facts: dict[str, tuple[str, int]] = {}
    for slide, patient, label in zip(rows.slides, rows.patients, rows.labels.tolist(), strict=True):
        if facts.setdefault(slide, (patient, label)) != (patient, label):
            raise InputError(f"{path}: {slide!r} has another label or patient in another repeat", remedy=_AGAIN)
    for part in rows.by_repeat():
        if missing := sorted(facts.keys() - set(part.slides)):
            raise InputError(f"{path}: repeat {part.repeat[0]} does not judge {missing[0]!r}", remedy=_AGAIN)
