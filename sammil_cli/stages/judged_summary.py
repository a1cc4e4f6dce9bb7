"""What metrics.json holds of judged folds: slides, patients, and what choosing on the test fold is worth."""

import math
from collections.abc import Mapping, Sequence

from sammil_cli.config import ABSTAINS_IN_SAMPLE, EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.report import metrics
from sammil_cli.report.abstention import summarise_abstention
from sammil_cli.report.decided import said_of_decision
from sammil_cli.report.metrics import over_folds
from sammil_cli.report.optimism import NAMES as OPTIMISM_OF
from sammil_cli.report.optimism import FoldEpochs, chance_level, nothing_chosen
from sammil_cli.report.per_patient import several_slides
from sammil_cli.report.summary import at_test_threshold, on_validation, remarks, summarise
from sammil_cli.report.tables import Numbers
from sammil_cli.stages import patients
from sammil_cli.stages.judged_folds import FoldResult, Judged, per_fold, pool, thresholds_of
from sammil_cli.stages.patients import JudgedPatients
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.manifest import read_trained_folds
from sammil_cli.training.model_facts import EPOCHS_FILE, ModelFacts, read_facts
from sammil_cli.training.thresholds import SELECTED_ON_TEST


def patients_of(
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
        rows, thresholds = pool(found, None), thresholds_of(found)
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
        decision=judged.facts[0].decided_by,
    )


def check_abstention(project: Project, settings: EvaluateSettings) -> None:
    """Refuses to abstain by models that were chosen on their test folds, before any of them is judged.

    Raises:
        InputError: they are; or nothing is trained yet.
    """
    if settings.abstain is None:
        return
    folds, _ = read_trained_folds(project.models, project.splits)
    if read_facts(ModelPath(project.models / folds[0].name)).protocol == "paper":
        message, remedy = ABSTAINS_IN_SAMPLE
        raise InputError(message, remedy=remedy)


def summary_of(project: Project, settings: EvaluateSettings, judged: Judged) -> Numbers:
    """What metrics.json holds, but for the baselines."""
    facts, results, rows, classes = judged.facts, judged.results, judged.rows, judged.facts[0].classes
    published = facts[0].protocol == "paper"
    areas = [score["auc"] for score in per_fold(results)]
    summary: Numbers = {
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
    elif len(classes) == 2 and facts[0].decision != "fixed":
        summary["test_threshold"] = at_test_threshold(rows, facts[0].decided_by)
    summary["decision"] = said_of_decision(facts[0].decided_by, [fact.operating_point for fact in facts])
    if settings.abstain is not None:
        summary["abstention"] = summarise_abstention(rows, classes, settings.abstain)
    summary["notice"] = remarks(summary)
    return summary


def _optimism(project: Project, facts: Sequence[ModelFacts], results: Sequence[FoldResult]) -> Numbers:
    """The published numbers beside those without choice and those of shuffled labels, or why those cannot be had.

    All of probabilities as the models say them: other epochs than the chosen one have no temperature.
    """
    from sammil_cli.training.trained_model import read_epochs  # here: torch

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
