"""Verdicts on patients from those on their slides, where a table says whose slides these are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sammil_cli.bundles.ensemble import Verdict
from sammil_cli.bundles.patient_thresholds import NOT_KNOWN, together
from sammil_cli.report.per_patient import PatientRule, check_rule, patients_of_part
from sammil_cli.stages.predict import IN_SAMPLE
from sammil_cli.storage.files import write_csv
from sammil_cli.training.thresholds import decide, in_digits, mean_threshold

ThresholdOf = Literal["patients", "slides"]
Patient = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class PatientVerdict:
    """What the models say of one patient, from `slides` of its slides, by `rule`.

    `probability`: calibrated, by class; `threshold`: from it on that of `positive_class` is positive; `threshold_of`:
    whose it is, `patients` where the models know theirs for patients (`Verdict.patient_thresholds`), else the mean of
    its `slides`; None with more than two classes. `in_sample`: whether every model has seen one of the slides; None
    where that is not known.
    """

    patient_id: str
    slides: int
    predicted: str
    positive_class: str | None
    probability: dict[str, float]
    threshold: float | None
    threshold_of: ThresholdOf | None
    in_sample: bool | None
    rule: PatientRule


def verdicts_on_patients(
    verdicts: Sequence[Verdict], patients: Mapping[str, str], rule: PatientRule
) -> list[PatientVerdict]:
    """A verdict on each patient; empty where no patient has several of the slides.

    Args:
        patients: by slide id; a slide without one is a patient of its own.

    Raises:
        InputError: a rule that the classes do not allow.
    """
    names = [patients.get(verdict.slide_id, verdict.slide_id) for verdict in verdicts]
    if max(Counter(names).values(), default=0) < 2:
        return []
    classes = list(verdicts[0].probability)
    check_rule(rule, len(classes))
    said = np.array([list(verdict.probability.values()) for verdict in verdicts])
    found = patients_of_part(names, np.zeros(len(names), np.int64), said, rule)  # labels are not known: all alike
    judged = []
    for name, of, probabilities in zip(found.names, found.rows, found.probabilities, strict=True):
        slides = [verdicts[at] for at in of]
        threshold, threshold_of = _threshold(slides, rule)
        judged.append(
            PatientVerdict(
                patient_id=name,
                slides=len(slides),
                predicted=classes[int(decide(probabilities[None], threshold)[0])],
                positive_class=slides[0].positive_class,
                probability=dict(zip(classes, probabilities.tolist(), strict=True)),
                threshold=threshold,
                threshold_of=threshold_of,
                in_sample=_in_sample([verdict.in_sample for verdict in slides]),
                rule=rule,
            )
        )
    return judged


def patients_table(judged: Sequence[PatientVerdict], protocol: str) -> list[Patient]:
    """A row for each patient with the columns of the table."""
    return [_row(one, protocol) for one in judged]


def _row(one: PatientVerdict, protocol: str) -> Patient:
    classes, values = list(one.probability), np.array(list(one.probability.values()))
    texts, limit = in_digits(values, one.threshold, classes.index(one.predicted), 6)
    return {
        "patient_id": one.patient_id,
        "slides": one.slides,
        "predicted": one.predicted,
        "positive_class": one.positive_class or "",
        "threshold": limit,
        **{f"probability_{name}": text for name, text in zip(classes, texts, strict=True)},
        "in_sample": IN_SAMPLE[one.in_sample][0],
        "patient_rule": one.rule,
        "threshold_of": one.threshold_of or "",
        "protocol": protocol,
    }


def write_patients(path: Path, rows: Sequence[Patient]) -> None:
    """Writes the table, or removes an earlier one where there is nothing to say."""
    if rows:
        write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
    else:
        path.unlink(missing_ok=True)


def note_on(judged: Sequence[PatientVerdict]) -> str:
    """By which thresholds patients were decided; empty with more than two classes."""
    kinds = {one.threshold_of for one in judged}
    if "slides" in kinds:
        return f"Patients are decided by the thresholds of their slides (their mean): {NOT_KNOWN}."
    if "patients" in kinds:
        return (
            "Patients are decided by the thresholds that the models chose on their validation patients (of several "
            "models the mean)."
        )
    return ""


def _threshold(slides: Sequence[Verdict], rule: PatientRule) -> tuple[float | None, ThresholdOf | None]:
    """The threshold of a patient, and whose it is."""
    of_slides = mean_threshold([verdict.threshold for verdict in slides])
    if of_slides is None:
        return None, None
    own = together([verdict.patient_thresholds for verdict in slides]) or {}
    return (own[rule], "patients") if rule in own else (of_slides, "slides")


def _in_sample(seen: Sequence[bool | None]) -> bool | None:
    """Of a patient: True where one of its slides was learned from."""
    return True if True in seen else None if None in seen else False
