"""sammil evaluate: trained folds and their test parts -> predictions, metrics, curves, report page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli import console
from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.result_sums import sums_of, write_result_sums
from sammil_cli.project.run_record import hash_bags
from sammil_cli.report import figures, metrics
from sammil_cli.report.audit_tables import tables_of_audit
from sammil_cli.report.metrics import Predictions, over_folds
from sammil_cli.report.optimism import NAMES as OPTIMISM_OF
from sammil_cli.report.optimism import FoldEpochs, chance_level, nothing_chosen
from sammil_cli.report.page import write_page
from sammil_cli.report.per_patient import PatientRule, Place, check_rule, several_slides
from sammil_cli.report.summary import at_test_threshold, beside, on_validation, remarks, summarise
from sammil_cli.report.tables import has_patients, patients_note, report_tables, stamp, validation_note
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages import patients
from sammil_cli.stages.judged_curves import patient_figures, write_curves
from sammil_cli.stages.leakage import Evidence, Looks, leakage, read_looks
from sammil_cli.stages.patients import JudgedPatients
from sammil_cli.storage.files import replaced_together, write_csv, write_json
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training import baselines, calibration
from sammil_cli.training.bag_content import BagContents, read_contents
from sammil_cli.training.bag_needs import check_places
from sammil_cli.training.bag_survey import Seen, survey
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.fold import Fold
from sammil_cli.training.loop import predict
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import check_bags, check_fold, read_trained_folds
from sammil_cli.training.site_baseline import judge_confounders
from sammil_cli.training.thresholds import SELECTED_ON_TEST, decide, in_digits
from sammil_cli.training.trained_labels import JudgedBy, read_judged_by
from sammil_cli.training.trained_model import EPOCHS_FILE, ModelFacts, read_epochs, read_facts, read_model

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

    bags: BagFolder
    labels: JudgedBy
    facts: list[ModelFacts]
    results: list[FoldResult]

    @property
    def rows(self) -> Predictions:
        """The test parts of all folds together."""
        return _pool(self.results, self.facts[0].positive_class)

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
        return patients.judge_patients(self.rows, self.uncalibrated, rule, _thresholds(self.results))


def run(
    project: Project, settings: EvaluateSettings, options: RunOptions, *, changed_labels: bool = False
) -> dict[str, Any]:
    """Predicts each fold's test slides with its own model, writes everything and returns the metrics.

    Args:
        changed_labels: whether labels that changed since training are meant; else they are refused.
    """
    tidy(project, store=options.store)
    watched = Unchanged(partial(_files, project))
    rule = settings.patient_rule
    judged = _judge(project, options.device, watched, changed_labels=changed_labels, rule=rule)
    facts, results, classes = judged.facts, judged.results, judged.facts[0].classes
    rows, uncalibrated = judged.rows, judged.uncalibrated
    summary = _summary(project, settings, judged)
    contents, looks = read_contents(judged.bags.read, judged.slides), read_looks(project, judged.slides)
    baseline = _baselines(judged, rule, contents, looks)
    others = {name: _pool(found, None) for name, found in baseline.items()}
    summary["baselines"] = {
        name: beside(found, level=settings.interval, draws=settings.bootstrap_draws) for name, found in others.items()
    }
    met = Evidence(
        folds=[result.fold for result in results],
        members={slide: judged.labels.members[slide] for slide in judged.slides},
        rows=rows,
        others=others,
        contents=contents,
        looks=looks,
        published=facts[0].protocol == "paper",
    )
    summary |= leakage(project, settings, met)
    of_patients = judged.of_patients(rule)
    summary["per_patient"] = _per_patient(settings, judged, of_patients, baseline)
    watched.check("evaluate")
    with replaced_together() as new:
        predictions, measured = new(project.predictions), new(project.metrics)
        by_patient = new(project.patient_predictions)
        _write_predictions(predictions, judged, summary["protocol"])
        patients.write_patients(by_patient, of_patients, classes, summary["protocol"])
        write_json(measured, summary)
        curves = write_curves(project.curves, new, rows, classes)
        curves["Reliability"] = figures.reliability(
            {
                "as the model says": metrics.reliability(rows.labels, uncalibrated),
                "calibrated": metrics.reliability(rows.labels, rows.probabilities),
            }
        )
        shown = of_patients if has_patients(summary) else None
        if shown:
            curves |= patient_figures(shown.rows, classes)
        write_page(new(project.page), summary, _fold_rows(facts, results, shown), curves)
        write_result_sums(new(sums_of(project)), measured, predictions, by_patient)
    _print(summary)
    console.say(f"report: {project.page}")
    return summary


def _files(project: Project) -> list[Path]:
    """All that is judged, and judged by; not what a training that goes on keeps in a hidden folder."""
    bags, models = project.bags.glob("*.h5"), project.models.glob("[!.]*/*")
    return [project.labels, project.splits, *sorted(bags), *sorted(models)]


def out_of_fold(project: Project, device: str) -> Predictions:
    """Each fold's test slides by its own model; writes nothing."""
    return _judge(project, device, Unchanged(partial(_files, project)), changed_labels=False, rule=None).rows


def out_of_fold_with_patients(project: Project, device: str, rule: PatientRule) -> tuple[Predictions, Predictions]:
    """As `out_of_fold`: the slides, and their patients by the rule (`report.per_patient.by_patient`)."""
    judged = _judge(project, device, Unchanged(partial(_files, project)), changed_labels=False, rule=rule)
    return judged.rows, judged.of_patients(rule).rows


def _judge(
    project: Project, device: str, watched: Unchanged, *, changed_labels: bool, rule: PatientRule | None
) -> Judged:
    """Judges every fold's test part; with a rule it chooses the thresholds for patients, too."""
    folds, manifest = read_trained_folds(project.models, project.splits)
    check_done(project, project.bags, "extract", {path.stem for path in project.bags.glob("*.h5")}, None)
    bags = BagFolder(project.bags, device)
    classes = read_facts(ModelPath(project.models / folds[0].name)).classes
    if rule is not None:
        check_rule(rule, len(classes))
    labels = read_judged_by(project.labels, project.splits, classes, set(bags.paths), changed_labels=changed_labels)
    _check_there(folds, bags, labels.members)
    seen = survey(bags.paths, (slide for fold in folds for slide in (*fold.test, *fold.val, *fold.train)))
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
            results.append(_result(fold, labels.members, said, shown, fact.calibrated_threshold, of_patients))
            bar.advance(fold.name)
    watched.check("evaluate")  # first: bags that changed meanwhile are no reason to train again
    check_bags(manifest, hash_bags(bags.paths, seen), project.bags)  # after what names the setting that differs
    return Judged(bags=bags, labels=labels, facts=facts, results=results)


def _check_there(folds: Sequence[Fold], bags: BagFolder, known: Known) -> None:
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


def _result(
    fold: Fold,
    known: Known,
    uncalibrated: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    threshold: float | None,
    of_patients: float | None,
) -> FoldResult:
    return FoldResult(
        fold=fold,
        members=[known[slide] for slide in fold.test],
        probabilities=probabilities,
        uncalibrated=uncalibrated,
        predicted=decide(probabilities, threshold),
        patient_threshold=of_patients,
    )


def _baselines(judged: Judged, rule: PatientRule, contents: BagContents, looks: Looks) -> dict[str, list[FoldResult]]:
    """The baselines on the very same folds; those that learn choose on validation, as the model does.

    Args:
        rule: that their thresholds for patients are chosen by.
    """
    folds, known, means = [result.fold for result in judged.results], judged.labels.members, contents.means
    judged_slides = {slide: known[slide] for slide in judged.slides}
    count = len(judged.facts[0].classes)
    labels = {slide: member.label for slide, member in known.items()}
    found: dict[str, list[FoldResult]] = {baselines.MEAN_POOL: [], baselines.MAJORITY: []}
    for fold in folds:
        judge, threshold = baselines.judge_of_fold(means, labels, fold, count)
        on_val, said = (judge(np.stack([means[slide] for slide in part])) for part in (fold.val, fold.test))
        members = {role: [known[slide] for slide in getattr(fold, role)] for role in ("train", "val")}
        of_patients = patients.chosen_on_patients(members["val"], on_val, threshold, "honest", rule)
        found[baselines.MEAN_POOL].append(_result(fold, known, said, said, threshold, of_patients))
        train = np.array([labels[slide] for slide in fold.train], np.int64)
        commonest = int(baselines.class_shares(train, count).argmax())
        # Shares differ a little between folds: as scores they would rank slides by their fold. Nothing is ranked here.
        level = np.full((len(fold.test), count), 1 / count)
        found[baselines.MAJORITY].append(
            FoldResult(
                fold=fold,
                members=[known[slide] for slide in fold.test],
                probabilities=level,
                uncalibrated=level,
                predicted=np.full(len(fold.test), commonest, np.int64),
                patient_threshold=None,
                always=patients.commonest_of_patients(members["train"], count, rule),
            )
        )
        for name, one in judge_confounders(fold, judged_slides, looks.of, count).items():
            of_patients = patients.chosen_on_patients(members["val"], one.on_val, one.threshold, "honest", rule)
            result = _result(fold, known, one.scores, one.scores, one.threshold, of_patients)
            found.setdefault(name, []).append(replace(result, predicted=one.predicted))
    return found


def _pool(results: Sequence[FoldResult], positive_class: str | None) -> Predictions:
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


def _thresholds(results: Sequence[FoldResult]) -> dict[Place, float | None]:
    """The thresholds for patients by (repeat, fold)."""
    return {(result.fold.repeat, result.fold.fold): result.patient_threshold for result in results}


def _per_patient(
    settings: EvaluateSettings,
    judged: Judged,
    of_patients: JudgedPatients,
    baseline: Mapping[str, Sequence[FoldResult]],
) -> dict[str, object] | None:
    """What metrics.json holds of patients; None where every patient has one slide."""
    if not several_slides(judged.rows):
        return None
    level, draws = settings.interval, settings.bootstrap_draws
    beside_them = {}
    for name, found in baseline.items():
        always = {(one.fold.repeat, one.fold.fold): one.always for one in found if one.always is not None}
        rows, thresholds = _pool(found, None), _thresholds(found)
        beside_them[name] = patients.beside_patients(
            rows, of_patients.rule, thresholds, always or None, level=level, draws=draws
        )
    return patients.summarise_patients(
        of_patients,
        judged.facts[0].classes,
        beside_them,
        folds=len(judged.results),
        published=judged.facts[0].protocol == "paper",
        level=level,
        draws=draws,
    )


def _summary(project: Project, settings: EvaluateSettings, judged: Judged) -> dict[str, Any]:
    """What metrics.json holds, but for the baselines."""
    facts, results, rows, classes = judged.facts, judged.results, judged.rows, judged.facts[0].classes
    published = facts[0].protocol == "paper"
    areas = [score["auc"] for score in _per_fold(results)]
    summary: dict[str, Any] = {
        "model": facts[0].model,
        "group_features": facts[0].spec.group_features,
        "group_feature_flag": facts[0].spec.group_feature_flag,
        "protocol": f"paper: {SELECTED_ON_TEST}" if published else facts[0].protocol,
        "positive_class": facts[0].positive_class,
        "changed_labels": judged.labels.changed,
        "folds": len(results),
        "repeats": len({fact.repeat for fact in facts}),
        "folds_with_auc": sum(not math.isnan(area) for area in areas),
        **on_validation([fact.val_auc for fact in facts]),
        "slides": len(set(rows.slides)),
        "patients": len(set(rows.patients)),
        "interval": settings.interval,
        "bootstrap_draws": settings.bootstrap_draws,
        "patient_rule": settings.patient_rule,
        **summarise(rows, judged.uncalibrated, classes, level=settings.interval, draws=settings.bootstrap_draws),
    }
    if published:
        summary["optimism"] = _optimism(project, facts, results)
    elif len(classes) == 2:
        summary["test_threshold"] = at_test_threshold(rows)
    summary["notice"] = remarks(summary)
    return summary


def _optimism(project: Project, facts: Sequence[ModelFacts], results: Sequence[FoldResult]) -> dict[str, Any]:
    """The published numbers beside those without choice and those of shuffled labels, or why those cannot be had.

    All of probabilities as the models say them: other epochs than the chosen one have no temperature.
    """
    epochs = []
    for fact, result in zip(facts, results, strict=True):
        folder = ModelPath(project.models / result.fold.name)
        path, probabilities = folder / EPOCHS_FILE, read_epochs(folder)
        if probabilities is None:
            return {"missing": f"what choosing on the test fold is worth cannot be shown: {path} is missing"}
        if probabilities.ndim != 3 or probabilities.shape[1:] != (len(result.members), len(fact.classes)):
            raise InputError(f"{path} is not of the slides of this fold", remedy="run: sammil train")
        epochs.append(FoldEpochs(labels=result.labels, probabilities=probabilities))
    spread = over_folds([metrics.fold_metrics(r.labels, r.uncalibrated, r.predicted) for r in results])
    published = {name: spread[name] for name in OPTIMISM_OF}
    return {"published": published, "nothing_chosen": nothing_chosen(epochs), "chance": chance_level(epochs)}


def _print(summary: Mapping[str, Any]) -> None:
    mark = stamp(summary)
    positive = f", positive class: {summary['positive_class']}" if summary["positive_class"] else ""
    console.say(f"{summary['model']} on {summary['slides']} slides of {summary['patients']} patients{positive}")
    audited = tables_of_audit(summary["audit"], summary["per_site"], summary["positive_class"], summary["interval"])
    for table in (*report_tables(summary), *audited):
        console.print_table(f"{table.title} - {mark}" if mark else table.title, table.header, table.rows)
    console.say(validation_note(summary))
    said = (summary["notice"], summary.get("optimism", {}).get("missing"), patients_note(summary))
    for text in (*said, *summary["audit"]["warnings"]):
        if text:
            console.say(f"note: {text}")


def _write_predictions(path: Path, judged: Judged, protocol: str) -> None:
    classes, rows = judged.facts[0].classes, judged.rows
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "positive_class", "threshold")
    columns = [f"{kind}_{name}" for kind in ("probability", "uncalibrated") for name in classes]
    facts = {(fact.repeat, fact.fold): fact for fact in judged.facts}
    before = judged.uncalibrated
    cells = []
    for at, place in enumerate(zip(rows.repeat, rows.fold, strict=True)):
        predicted = int(rows.predicted[at])
        fact = facts[place]
        probabilities, threshold = in_digits(rows.probabilities[at], fact.calibrated_threshold, predicted, 6)
        known = (rows.slides[at], rows.patients[at], *place, "test", classes[rows.labels[at]])
        decided = (classes[predicted], rows.positive_class or "", threshold)
        uncalibrated = ["" if value is None else f"{value:.6f}" for value in (*before[at], fact.threshold)]
        cells.append((*known, *decided, *probabilities, *uncalibrated, protocol))
    write_csv(path, (*header, *columns, "uncalibrated_threshold", "protocol"), cells)


def _per_fold(results: Sequence[FoldResult]) -> list[dict[str, float]]:
    return [metrics.fold_metrics(r.labels, r.probabilities, r.predicted) for r in results]


def _fold_rows(
    facts: Sequence[ModelFacts], results: Sequence[FoldResult], of_patients: JudgedPatients | None
) -> list[dict[str, Any]]:
    """A row per fold, with its patients and their threshold where they are shown."""
    return [
        {
            "repeat": fact.repeat,
            "fold": fact.fold,
            "test slides": len(result.members),
            "epoch": fact.epoch + 1,
            "val AUC": fact.val_auc,
            "threshold": fact.calibrated_threshold,
            "temperature": fact.temperature,
            **{name: scores[name] for name in ("accuracy", "auc", "f1")},
            **(of_patients.of_fold((fact.repeat, fact.fold)) if of_patients else {}),
        }
        for fact, result, scores in zip(facts, results, _per_fold(results), strict=True)
    ]
