"""Predictions of patients from those of their slides: probabilities by a rule, decisions by thresholds of their own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.shown_text import shown_value
from sammil_cli.training.decision import Decision
from sammil_cli.training.thresholds import Labels, Probabilities, decide, fold_threshold

PatientRule = Literal["mean", "max"]
Place = tuple[int, int]  # repeat, fold
Thresholds = Mapping[Place, float | None]


@dataclass(frozen=True, kw_only=True)
class Patients:
    """The p patients of one part of one fold, in the order of their first slides.

    `rows`: p lists of places in the part, the slides of each. `labels` (p,), `probabilities` (p, C).
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    labels: Labels
    probabilities: Probabilities


def check_rule(rule: PatientRule, classes: int) -> None:
    """Refuses `max` with more than two classes, and a word that is no rule.

    There is no positive class whose most suspicious slide could speak for the patient, and of classes without an order
    the highest is no label of a patient.

    Raises:
        InputError: as above.
    """
    if rule not in get_args(PatientRule):  # from Python, where no parser has looked at it
        raise InputError(f"patient_rule: {shown_value(rule)} is no rule", remedy="use mean or max")
    if rule == "max" and classes > 2:
        raise InputError(
            f"patient_rule: max is defined for two classes, and there are {classes}",
            remedy="set patient_rule of evaluate to mean",
        )


def by_patient(rows: Predictions, rule: PatientRule, thresholds: Thresholds) -> Predictions:
    """One row per patient and repeat, in the order of the patients' first slides; `slides` holds the patients' ids.

    `mean`: the class probabilities are the mean over the patient's slides. A patient whose slides have different
    labels has no label that a mean could be held against, and is left out (`mixed_patients` names it).
    `max`, of two classes: the patient has the probabilities of its slide with the largest probability of the positive
    class, and is positive where any of its slides is.

    With one slide per patient the rows are those of the slides, but for decisions where the thresholds differ.

    Args:
        thresholds: by (repeat, fold); of two classes a patient is positive from it on. With None, as always with more
            classes, the largest class wins (and the thresholds may be empty). See `patient_threshold`.

    Raises:
        InputError: as `check_rule`; a patient has slides in several folds of one repeat.
    """
    check_rule(rule, rows.probabilities.shape[1])
    _check_one_fold(rows)
    parts = [_part_by_patient(part, rule, thresholds) for part in _in_order(rows)]
    return Predictions(
        slides=tuple(name for part in parts for name in part.slides),
        patients=tuple(name for part in parts for name in part.patients),
        repeat=np.concatenate([part.repeat for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        positive_class=rows.positive_class,
    )


def patients_of_part(names: Sequence[str], labels: Labels, probabilities: Probabilities, rule: PatientRule) -> Patients:
    """The patients of one part of a fold by the rule; those that it leaves out are not among them.

    Args:
        names: (s,) the patient of each slide. labels: (s,). probabilities: (s, C).
    """
    of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        of.setdefault(name, []).append(row)
    kept = {name: rows for name, rows in of.items() if rule == "max" or len(set(labels[rows].tolist())) == 1}
    scores = [_combined(probabilities[rows], rule) for rows in kept.values()]
    return Patients(
        names=tuple(kept),
        rows=tuple(tuple(rows) for rows in kept.values()),
        labels=np.array([labels[rows].max() for rows in kept.values()], np.int64),
        probabilities=np.array(scores, np.float64).reshape(len(kept), probabilities.shape[1]),
    )


def patient_threshold(validation: Patients, of_slides: float | None, decision: Decision) -> float | None:
    """The threshold for patients of a fold, from its validation patients, by the decision that chose that of slides.

    Where no validation patient has several slides, the threshold of the slides is that of the patients already. Where
    the validation patients lack a class, as they may without those that the rule leaves out, nothing can be chosen on
    them, and the threshold of the slides stands.

    Args:
        validation: by the rule that the test patients are judged by, of calibrated probabilities.
        of_slides: the fold's threshold for calibrated probabilities of slides; None = the largest class wins.
        decision: as for `fold_threshold`; a `fixed` one holds for patients, too.
    """
    if of_slides is None or decision.rule == "fixed" or all(len(rows) == 1 for rows in validation.rows):
        return of_slides
    if len(set(validation.labels.tolist())) < 2:
        return of_slides
    return fold_threshold(validation.labels, validation.probabilities, decision)


def mixed_patients(rows: Predictions) -> tuple[str, ...]:
    """The patients whose slides have different labels, sorted."""
    labels: dict[str, set[int]] = {}
    for name, label in zip(rows.patients, rows.labels.tolist(), strict=True):
        labels.setdefault(name, set()).add(label)
    return tuple(sorted(name for name, found in labels.items() if len(found) > 1))


def torn_patients(rows: Predictions) -> tuple[str, ...]:
    """The patients with slides in several folds of one repeat, sorted: those whose id was changed after training."""
    fold_of: dict[tuple[str, int], int] = {}
    found = {
        name
        for name, repeat, fold in zip(rows.patients, rows.repeat.tolist(), rows.fold.tolist(), strict=True)
        if fold_of.setdefault((name, repeat), fold) != fold
    }
    return tuple(sorted(found))


def several_slides(rows: Predictions) -> int:
    """How many patients have more than one slide."""
    slides: dict[str, set[str]] = {}
    for name, slide in zip(rows.patients, rows.slides, strict=True):
        slides.setdefault(name, set()).add(slide)
    return sum(len(found) > 1 for found in slides.values())


def _combined(probabilities: Probabilities, rule: PatientRule) -> list[float]:
    """(C,) of a patient's slides (s, C). The mean does not depend on the order of slides, so that ties stay ties."""
    if rule == "max":
        top: list[float] = probabilities[int(probabilities[:, 1].argmax())].tolist()
        return top
    columns = probabilities.T.tolist()
    return [min(max(math.fsum(one) / len(one), min(one)), max(one)) for one in columns]


def _in_order(rows: Predictions) -> list[Predictions]:
    """The rows of each (repeat, fold), in the order in which these first occur."""
    places = list(dict.fromkeys(zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)))
    return [rows.rows((rows.repeat == repeat) & (rows.fold == fold)) for repeat, fold in places]


def _part_by_patient(part: Predictions, rule: PatientRule, thresholds: Thresholds) -> Predictions:
    found = patients_of_part(part.patients, part.labels, part.probabilities, rule)
    place = (int(part.repeat[0]), int(part.fold[0]))
    size = len(found.names)
    return Predictions(
        slides=found.names,
        patients=found.names,
        repeat=np.full(size, place[0], np.int64),
        fold=np.full(size, place[1], np.int64),
        labels=found.labels,
        predicted=decide(found.probabilities, thresholds[place] if part.probabilities.shape[1] == 2 else None),
        probabilities=found.probabilities,
        positive_class=part.positive_class,
    )


def _check_one_fold(rows: Predictions) -> None:
    if found := torn_patients(rows):
        raise InputError(
            f"patient {found[0]!r} has slides in several folds of one repeat: models that learned from this patient "
            "would judge it",
            remedy="run: sammil train, which keeps a patient's slides in one fold",
        )
