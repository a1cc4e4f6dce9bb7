"""Trained folds judged on their test parts: what each model says, and all that is needed to say it fairly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sammil_cli import console
from sammil_cli.cohort.cohort import Member
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.project.run_record import hash_bags
from sammil_cli.report import metrics
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.per_patient import PatientRule, Place, check_rule
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages import patients
from sammil_cli.stages.patients import JudgedPatients
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training import calibration
from sammil_cli.training.bag_survey import Seen, survey
from sammil_cli.training.fold import Fold
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import check_bags, check_fold, read_trained_folds
from sammil_cli.training.model_facts import ModelFacts, read_facts
from sammil_cli.training.thresholds import decide
from sammil_cli.training.trained_labels import JudgedBy, read_judged_by

if TYPE_CHECKING:
    from sammil_cli.training.bags import BagFolder

Known = Mapping[str, Member]


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What one model says of a fold's test slides: calibrated probabilities (s, C), decisions predicted (s,).

    `uncalibrated` (s, C): what it says before calibration; those of a baseline are the same.
    `patient_threshold`: for patients, by the rule that was asked for; None = the largest class wins.
    `always`: the class that every patient is called, whatever the threshold; None = it has no such class.
    """

    fold: Fold
    members: list[Member]
    probabilities: NDArray[np.float64]
    uncalibrated: NDArray[np.float64]
    predicted: NDArray[np.int64]
    patient_threshold: float | None
    always: int | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """(s,) true classes."""
        return np.array([member.label for member in self.members], np.int64)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All folds judged, and what they were judged from."""

    bags: "BagFolder"
    labels: JudgedBy
    facts: list[ModelFacts]
    results: list[FoldResult]

    @property
    def rows(self) -> Predictions:
        """The test parts of all folds together."""
        return pool(self.results, self.facts[0].positive_class)

    @property
    def slides(self) -> list[str]:
        """The slides of all parts of all folds, by id."""
        folds = [result.fold for result in self.results]
        return sorted({slide for fold in folds for part in (fold.train, fold.val, fold.test) for slide in part})

    @property
    def uncalibrated(self) -> NDArray[np.float64]:
        """(r, C) of the same rows."""
        return np.concatenate([result.uncalibrated for result in self.results])

    def of_patients(self, rule: PatientRule) -> JudgedPatients:
        """The patients, by the rule that the folds were judged for."""
        return patients.judge_patients(self.rows, self.uncalibrated, rule, thresholds_of(self.results))


def judge(
    project: Project, device: str, watched: Unchanged, *, changed_labels: bool, rule: PatientRule | None
) -> Judged:
    """Judges every fold's test part; with a rule it chooses the thresholds for patients, too."""
    folds, manifest = read_trained_folds(project.models, project.splits)
    _check_test_parts(folds, project.models)
    check_done(project, project.bags, "extract", {path.stem for path in project.bags.glob("*.h5")}, None)
    # Here: torch, which takes seconds, and which no mistake of above needs.
    from sammil_cli.training.bag_needs import check_places
    from sammil_cli.training.bags import BagFolder
    from sammil_cli.training.loop import predict
    from sammil_cli.training.trained_model import read_model

    bags = BagFolder(project.bags, device)
    classes = read_facts(ModelPath(project.models / folds[0].name)).classes
    if rule is not None:
        check_rule(rule, len(classes))
    labels = read_judged_by(project.labels, project.splits, classes, set(bags.paths), changed_labels=changed_labels)
    _check_there(folds, bags, labels.members)
    slides = {slide for fold in folds for slide in (*fold.test, *fold.val, *fold.train)}
    with console.counted(bags.open, len(slides), "look at bags") as read:
        seen = survey(bags.paths, slides, read)
    facts, results = [], []
    with console.progress(len(folds), "evaluate") as bar:
        for fold in folds:
            check_fold(project.models, fold.name, manifest)
            model, fact = read_model(ModelPath(project.models / fold.name), device)
            _check_made(fold, fact, seen)
            check_places(type(model), fact.model, {slide: seen[slide] for slide in fold.test})
            facts.append(fact)
            said = predict(model, bags.of_model(model), fold.test)
            shown = calibration.apply(said, fact.temperature)
            validation = [labels.members[slide] for slide in fold.val] if rule else []
            say = partial(predict, model, bags.of_model(model), fold.val)
            of_patients = patients.threshold_of_patients(validation, say, fact, rule or "mean")
            results.append(result_of(fold, labels.members, said, shown, fact.calibrated_threshold, of_patients))
            bar.advance(fold.name)
    watched.check("evaluate")  # first: bags that changed meanwhile are no reason to train again
    check_bags(manifest, hash_bags(bags.paths, seen), project.bags)  # after what names the setting that differs
    return Judged(bags=bags, labels=labels, facts=facts, results=results)


def files_judged(project: Project) -> list[Path]:
    """All that is judged, and judged by; not what a training that goes on keeps in a hidden folder."""
    bags, models = project.bags.glob("*.h5"), project.models.glob("[!.]*/*")
    return [project.labels, project.splits, *sorted(bags), *sorted(models)]


def _check_test_parts(folds: Sequence[Fold], models: Path) -> None:
    if empty := [fold.name for fold in folds if not fold.test]:
        raise InputError(
            f"{empty[0]} has no test part: its model was trained on all slides, and none is left to judge it by",
            remedy=f"judge it on slides that it has not seen: sammil evaluate --on LABELS.csv --models {models.parent}",
        )


def _check_there(folds: Sequence[Fold], bags: "BagFolder", known: Known) -> None:
    for role in ("test", "val", "train"):
        for slide in (slide for fold in folds for slide in getattr(fold, role)):
            if slide not in bags.paths or slide not in known:
                what = "bag" if slide not in bags.paths else "label"
                raise InputError(
                    f"slide {slide!r} of the {role} part has no {what} any more", remedy="run: sammil train"
                )


def _check_made(fold: Fold, facts: ModelFacts, seen: Mapping[str, Seen]) -> None:
    """Refuses test bags that are made otherwise than those that the fold learned from."""
    for slide in fold.test:
        try:
            check_bag(seen[slide].making, facts, remedy="run: sammil train")
        except InputError as error:
            raise InputError(f"slide {slide!r}, {fold.name}: {error.message}", remedy=error.remedy) from None


def result_of(
    fold: Fold,
    known: Known,
    uncalibrated: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    threshold: float | None,
    of_patients: float | None,
) -> FoldResult:
    """What a model or baseline says of a fold's test slides, decided at its threshold; see `FoldResult`."""
    return FoldResult(
        fold=fold,
        members=[known[slide] for slide in fold.test],
        probabilities=probabilities,
        uncalibrated=uncalibrated,
        predicted=decide(probabilities, threshold),
        patient_threshold=of_patients,
    )


def pool(results: Sequence[FoldResult], positive_class: str | None) -> Predictions:
    """The test parts of all folds together, in their order."""
    return Predictions(
        slides=tuple(m.slide_id for r in results for m in r.members),
        patients=tuple(m.patient_id for r in results for m in r.members),
        repeat=np.concatenate([np.full(len(r.members), r.fold.repeat, np.int64) for r in results]),
        fold=np.concatenate([np.full(len(r.members), r.fold.fold, np.int64) for r in results]),
        labels=np.concatenate([r.labels for r in results]),
        predicted=np.concatenate([r.predicted for r in results]),
        probabilities=np.concatenate([r.probabilities for r in results]),
        positive_class=positive_class,
    )


def thresholds_of(results: Sequence[FoldResult]) -> dict[Place, float | None]:
    """The thresholds for patients by (repeat, fold)."""
    return {(result.fold.repeat, result.fold.fold): result.patient_threshold for result in results}


def per_fold(results: Sequence[FoldResult]) -> list[dict[str, float]]:
    """The metrics of each fold's test slides."""
    return [metrics.fold_metrics(r.labels, r.probabilities, r.predicted) for r in results]
