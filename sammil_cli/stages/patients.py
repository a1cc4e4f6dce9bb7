"""What `sammil evaluate` says of patients, beside what it says of their slides."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sammil_cli.cohort.cohort import Member
from sammil_cli.report.metrics import Predictions, fold_metrics
from sammil_cli.report.per_patient import (
    PatientRule,
    Place,
    Thresholds,
    by_patient,
    mixed_patients,
    patient_threshold,
    patients_of_part,
    several_slides,
    torn_patients,
)
from sammil_cli.report.summary import at_test_threshold, beside, remarks_on_patients, summarise
from sammil_cli.storage.files import write_csv
from sammil_cli.training import calibration
from sammil_cli.training.baselines import class_shares
from sammil_cli.training.decision import Decision
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import YOUDEN, Labels, Probabilities, in_digits


@dataclass(frozen=True, kw_only=True)
class JudgedPatients:
    """Patients by one rule: rows (r) as `by_patient` gives them, `uncalibrated` (r, C) of the same rows.

    `slides`: the rows of their slides. `thresholds`: by (repeat, fold).
    """

    rule: PatientRule
    slides: Predictions
    rows: Predictions
    uncalibrated: Probabilities
    thresholds: Thresholds

    def of_fold(self, place: Place) -> dict[str, object]:
        """What a row of the page's folds says of its patients."""
        count = int(((self.rows.repeat == place[0]) & (self.rows.fold == place[1])).sum())
        return {"test patients": count, "threshold of patients": self.thresholds[place]}


def threshold_of_patients(
    validation: Sequence[Member], say: Callable[[], Probabilities], facts: ModelFacts, rule: PatientRule
) -> float | None:
    """The threshold of a trained fold for patients; nothing is predicted where that of the slides stands.

    Args:
        validation: the v slides of the validation part; none = that of the slides is wanted.
        say: gives their probabilities (v, C), not calibrated.
    """
    of_slides, names = facts.calibrated_threshold, [member.patient_id for member in validation]
    if of_slides is None or len(set(names)) == len(names):
        return of_slides
    return chosen_on_patients(
        validation, calibration.apply(say(), facts.temperature), of_slides, facts.decided_by, rule
    )


def chosen_on_patients(
    validation: Sequence[Member],
    probabilities: Probabilities,
    of_slides: float | None,
    decision: Decision,
    rule: PatientRule,
) -> float | None:
    """See `report.per_patient.patient_threshold`.

    Args:
        validation: v slides. probabilities: (v, C) as they are shown. of_slides: their threshold.
    """
    names = [member.patient_id for member in validation]
    return patient_threshold(patients_of_part(names, labels_of(validation), probabilities, rule), of_slides, decision)


def labels_of(members: Sequence[Member]) -> Labels:
    """(s,) classes of some slides."""
    return np.array([member.label for member in members], np.int64)


def commonest_of_patients(train: Sequence[Member], classes: int, rule: PatientRule) -> int:
    """The commonest class of the training patients by the rule; of the slides where it leaves out every patient."""
    slides = labels_of(train)
    names = [member.patient_id for member in train]
    found = patients_of_part(names, slides, np.zeros((len(slides), classes)), rule).labels
    return int(class_shares(found if len(found) else slides, classes).argmax())


def judge_patients(
    slides: Predictions, uncalibrated: Probabilities, rule: PatientRule, thresholds: Thresholds
) -> JudgedPatients:
    """The patients of some slides, without those that are torn.

    Args:
        uncalibrated: (r, C) of the slides.
    """
    before = by_patient(_whole(replace(slides, probabilities=uncalibrated)), rule, thresholds)
    return JudgedPatients(
        rule=rule,
        slides=slides,
        rows=by_patient(_whole(slides), rule, thresholds),
        uncalibrated=before.probabilities,
        thresholds=thresholds,
    )


def _whole(slides: Predictions) -> Predictions:
    """The slides of patients that lie in one fold of each repeat."""
    torn = set(torn_patients(slides))
    return slides.rows(np.array([name not in torn for name in slides.patients], np.bool_))


def beside_patients(
    slides: Predictions,
    rule: PatientRule,
    thresholds: Thresholds,
    always: Mapping[Place, int] | None,
    *,
    level: float,
    draws: int,
) -> dict[str, object]:
    """A baseline's AUC, accuracy and F1 per patient, in the shape of `summary.beside`; empty without a patient.

    Args:
        always: by (repeat, fold) the class that every patient is called; None = thresholds decide.
    """
    rows = by_patient(_whole(slides), rule, thresholds)
    if not rows.patients:
        return {}
    if always is not None:
        places = zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)
        rows = replace(rows, predicted=np.array([always[place] for place in places], np.int64))
    return beside(rows, level=level, draws=draws)


def summarise_patients(
    judged: JudgedPatients,
    classes: Sequence[str],
    baselines: Mapping[str, dict[str, object]],
    *,
    folds: int,
    published: bool,
    level: float,
    draws: int,
    decision: Decision = YOUDEN,
) -> dict[str, object]:
    """`per_patient` of metrics.json: the keys of the slides' own numbers; only counts where no patient can be judged.

    Args:
        baselines: what `beside_patients` gives. folds: all that were judged. published: in the published protocol.
        decision: what thresholds were chosen for.
    """
    rows, torn = judged.rows, torn_patients(judged.slides)
    mixed = tuple(name for name in mixed_patients(judged.slides) if name not in torn)
    found: dict[str, object] = {
        "patient_rule": judged.rule,
        "patients": len(set(rows.patients)),
        "several_slides": several_slides(judged.slides),
        "mixed_labels": len(mixed),
        "left_out": len(torn) + (len(mixed) if judged.rule == "mean" else 0),
    }
    if rows.patients:
        areas = [fold_metrics(part.labels, part.probabilities, part.predicted)["auc"] for part in rows.by_fold()]
        found["folds"] = folds
        found["folds_with_auc"] = sum(not math.isnan(area) for area in areas)
        found |= summarise(rows, judged.uncalibrated, classes, level=level, draws=draws, unit="patients")
        if not published and len(classes) == 2 and decision.rule != "fixed":
            found["test_threshold"] = at_test_threshold(rows, decision)
        found["baselines"] = dict(baselines)
    found["notice"] = remarks_on_patients(found, mixed, torn, len(classes))
    return found


def write_patients(path: Path, judged: JudgedPatients, classes: Sequence[str], protocol: str) -> None:
    """The table of patients: columns as those of the slides' predictions, and how many slides each has."""
    rows = judged.rows
    slides = Counter(zip(judged.slides.patients, judged.slides.repeat.tolist(), strict=True))
    header = ("patient_id", "slides", "repeat", "fold", "role", "label", "predicted", "positive_class", "threshold")
    columns = [f"{kind}_{name}" for kind in ("probability", "uncalibrated") for name in classes]
    cells = []
    for at, place in enumerate(zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)):
        name, predicted = rows.patients[at], int(rows.predicted[at])
        threshold = judged.thresholds[place] if len(classes) == 2 else None
        probabilities, decided_by = in_digits(rows.probabilities[at], threshold, predicted, 6)
        known = (name, slides[name, place[0]], *place, "test", classes[rows.labels[at]])
        decided = (classes[predicted], rows.positive_class or "", decided_by, *probabilities)
        before = [f"{value:.6f}" for value in judged.uncalibrated[at]]
        cells.append((*known, *decided, *before, judged.rule, protocol))
    write_csv(path, (*header, *columns, "patient_rule", "protocol"), cells)
