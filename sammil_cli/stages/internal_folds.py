"""What `sammil evaluate` found of the same models on their own cohort, to stand beside an external one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli.bundles.models import Models
from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.per_patient import Place
from sammil_cli.stages.judged_runs import read_run
from sammil_cli.training.trained_model import ModelFacts

_DIGITS = 1e-5  # predictions.csv has six decimals


@dataclass(frozen=True, kw_only=True)
class InternalFolds:
    """Out-of-fold predictions of the models; None, and in words why, where there are none."""

    rows: Predictions | None
    missing: str = ""


def internal_folds(models: Models) -> InternalFolds:
    """The predictions of the run that the models lie in, of their folds alone."""
    run = models.folders[0].resolve().parents[1]
    table = run / "predictions.csv"
    if not table.is_file():
        return InternalFolds(
            rows=None, missing=f"there is no {table.name} beside the models: run sammil evaluate there"
        )
    return _of_run(table, [fold.facts for fold in models.folds])


def _of_run(table: Path, facts: Sequence[ModelFacts]) -> InternalFolds:
    try:
        found = read_run(table)
    except InputError as error:
        return InternalFolds(rows=None, missing=f"the internal folds cannot be read: {error.message}")
    thresholds = {(fact.repeat, fact.fold): fact.calibrated_threshold for fact in facts}
    same = all(place in found.thresholds and _alike(found.thresholds[place], own) for place, own in thresholds.items())
    if not same or found.classes != facts[0].classes:
        return InternalFolds(rows=None, missing=f"{table} is of other models: run sammil evaluate there")
    return InternalFolds(rows=found.rows.rows(_of_places(found.rows, list(thresholds))))


def _alike(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, abs_tol=_DIGITS)


def _of_places(rows: Predictions, places: Sequence[Place]) -> np.ndarray:
    return np.array([place in places for place in zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)])
