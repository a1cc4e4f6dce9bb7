"""The thresholds of trained models for patients, chosen on validation patients as `sammil evaluate` chooses them.

A trained model keeps what it says of its validation slides, and names no patient: whose slides they are is in the
table of folds beside it. A bundle, which has no table, keeps the thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sammil_cli.report.per_patient import PatientRule, patient_threshold, patients_of_part
from sammil_cli.storage.files import sha256_file
from sammil_cli.training import calibration
from sammil_cli.training.fold import Fold, labels_of_folds, read_folds
from sammil_cli.training.manifest import read_manifest
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import mean_threshold

PatientThresholds = Mapping[str, float]  # by patient_rule, for calibrated probabilities
RULES: tuple[PatientRule, ...] = get_args(PatientRule)
NOT_KNOWN = (
    "these models know no threshold for patients (they were imported, trained by an earlier version or on all slides, "
    "or copied without the splits.csv of their run)"
)


@dataclass(frozen=True, kw_only=True)
class DrawnFolds:
    """What the table of a training says: its folds by name, and the label and patient of each slide."""

    folds: Mapping[str, Fold]
    known: Mapping[str, tuple[str, str]]

    def validation_patients(self, name: str, facts: ModelFacts) -> list[str] | None:
        """The patient of each of a model's v validation slides; None where the table is not that of its training."""
        fold = self.folds.get(name)
        if fold is None or facts.validation is None:
            return None
        labels = [self.known[slide][0] for slide in fold.val]
        if labels != [facts.classes[label] for label in facts.validation.labels]:
            return None
        if facts.trained_on is not None and {*fold.train, *fold.val} != set(facts.trained_on.slides):
            return None
        return [self.known[slide][1] for slide in fold.val]


def read_drawn_folds(models: Path) -> DrawnFolds | None:
    """The table of folds beside a folder of models; None where it is missing, has no labels, or was edited since.

    Raises:
        InputError: it is no such table; `E_DAMAGED`, the manifest of the models is not as it was written.
    """
    splits = models.parent / "splits.csv"
    if not splits.is_file():
        return None
    manifest = read_manifest(models)
    if manifest is not None and manifest.splits_sha256 != sha256_file(splits):
        return None
    known = labels_of_folds(splits)
    return None if known is None else DrawnFolds(folds={fold.name: fold for fold in read_folds(splits)}, known=known)


def of_model(name: str, facts: ModelFacts, drawn: DrawnFolds | None) -> PatientThresholds | None:
    """The thresholds of one model by rule; None where they are not known, and with more than two classes.

    As `sammil evaluate` chooses them (`report.per_patient.patient_threshold`): on the validation patients alone, for
    what that of slides was chosen for, from calibrated probabilities.

    Args:
        name: of the fold. drawn: the table of its training.
    """
    of_slides = facts.calibrated_threshold
    if of_slides is None:
        return None
    if facts.decision == "fixed":  # holds for patients, too
        return dict.fromkeys(RULES, of_slides)
    patients = drawn.validation_patients(name, facts) if drawn else None
    if patients is None or facts.validation is None:
        return None
    labels, said = facts.validation.arrays
    shown = calibration.apply(said, facts.temperature)
    parts = {rule: patients_of_part(patients, labels, shown, rule) for rule in RULES}
    chosen = {rule: patient_threshold(part, of_slides, facts.decided_by) for rule, part in parts.items()}
    return {rule: threshold for rule, threshold in chosen.items() if threshold is not None}


def together(each: Sequence[PatientThresholds | None]) -> PatientThresholds | None:
    """The thresholds of several models by rule: their mean, as that of slides; None where one does not know its own."""
    known = [one for one in each if one is not None]
    if not known or len(known) < len(each):
        return None
    means = {rule: mean_threshold([one.get(rule) for one in known]) for rule in RULES}
    return {rule: threshold for rule, threshold in means.items() if threshold is not None}
