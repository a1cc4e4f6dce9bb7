"""What `sammil evaluate` found of the same models on their own cohort, to stand beside an external one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.bundles.facts import Performance
from sammil_cli.bundles.models import Models
from sammil_cli.config import EvaluateSettings
from sammil_cli.report.intervals import bootstrap
from sammil_cli.report.metrics import Flags, Predictions, fold_metrics, metric_names, over_folds
from sammil_cli.report.per_patient import Place
from sammil_cli.report.summary import cells
from sammil_cli.report.tables import Numbers
from sammil_cli.stages.judged_runs import run_of

_OF_BUNDLES = ("auc", "sensitivity", "specificity", "f1")


@dataclass(frozen=True, kw_only=True)
class InternalFolds:
    """`numbers`: slides, patients, and each metric as metrics.json has it; a string says why they are not known.

    `rows`: the predictions out of fold; None where only the numbers are known, as of a bundle.
    """

    numbers: Numbers | str
    rows: Predictions | None = None


def internal_folds(models: Models, settings: EvaluateSettings) -> InternalFolds:
    """From the predictions of the run that the models lie in, of their folds alone; of a bundle as it says itself."""
    if models.bundle is not None:
        return InternalFolds(numbers=_of_bundle(models.performance, settings))
    facts = [fold.facts for fold in models.folds]
    found = run_of(models.folders[0].resolve().parents[1] / "predictions.csv", facts)
    if isinstance(found, str):
        return InternalFolds(numbers=found)
    rows = found.rows.rows(_of_places(found.rows, [(fact.repeat, fact.fold) for fact in facts]))
    return InternalFolds(numbers=_numbers(rows, settings), rows=rows)


def _of_bundle(performance: Performance | str, settings: EvaluateSettings) -> Numbers | str:
    if isinstance(performance, str):
        return performance
    if performance.interval != settings.interval:
        return (
            f"the bundle has intervals of {performance.interval}: -S interval={performance.interval} sets them beside"
        )
    metrics = {name: getattr(performance, name) for name in _OF_BUNDLES}
    known = {name: one.model_dump() for name, one in metrics.items() if one is not None}
    return {"slides": performance.slides, "patients": performance.patients, **known}


def _numbers(rows: Predictions, settings: EvaluateSettings) -> Numbers:
    spread = over_folds([fold_metrics(one.labels, one.probabilities, one.predicted) for one in rows.by_fold()])
    pooled = bootstrap(rows, level=settings.interval, draws=settings.bootstrap_draws)
    names = (*metric_names(rows.probabilities.shape[1]), "brier")
    found = {name: {**spread.get(name, {}), **cells(pooled[name])} for name in names}
    return {"slides": len(set(rows.slides)), "patients": len(set(rows.patients)), **found}


def _of_places(rows: Predictions, places: Sequence[Place]) -> Flags:
    return np.array([place in places for place in zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)], np.bool_)
