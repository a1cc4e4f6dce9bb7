"""The numbers of metrics.json: each metric pooled with its interval beside the spread of the folds."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from sammil_cli.report.intervals import Estimate, bootstrap, delong
from sammil_cli.report.metrics import Predictions, calibration_error, fold_metrics, metric_names, over_folds
from sammil_cli.report.tables import PER_CLASS, Summary
from sammil_cli.training.decision import Decision
from sammil_cli.training.thresholds import YOUDEN, Probabilities, decide, fold_threshold

WIDE = 0.2  # an AUC interval wider than this says little
_BESIDE_BASELINES = ("auc", "accuracy", "f1")
_NAMED = 3  # patients that a remark names
ONE_CLASS = "there is no AUC: all are of one class"


def summarise(
    rows: Predictions,
    uncalibrated: Probabilities,
    classes: Sequence[str],
    *,
    level: float,
    draws: int,
    unit: Literal["slides", "patients"] = "slides",
) -> dict[str, Any]:
    """Every number about one model's predictions; None where one is not defined.

    Args:
        uncalibrated: (r, C) probabilities before temperature scaling.
        level, draws: of the intervals.
        unit: what the rows are of.
    """
    spread = over_folds([fold_metrics(part.labels, part.probabilities, part.predicted) for part in rows.by_fold()])
    pooled = bootstrap(rows, level=level, draws=draws)
    before = replace(rows, probabilities=uncalibrated)
    summary: dict[str, Any] = {name: {**spread[name], **cells(pooled[name])} for name in metric_names(len(classes))}
    if len(classes) == 2:
        first = next(rows.by_repeat())
        summary["auc_delong"] = cells(delong(first.labels, first.probabilities[:, 1], level=level))
    summary["brier"] = cells(bootstrap(before, level=level, draws=draws)["brier"])
    summary["brier_calibrated"] = cells(pooled["brier"])
    summary["ece"] = {"pooled": _error(before)}
    summary["ece_calibrated"] = {"pooled": _error(rows)}
    if len(classes) > 2:
        summary["per_class"] = {
            name: _of_class(rows.against_rest(index), level, draws, unit) for index, name in enumerate(classes)
        }
    return summary


def on_validation(areas: Sequence[float | None]) -> dict[str, object]:
    """What settings are chosen by: the AUC of each fold's chosen epoch on validation, None where a class is missing."""
    defined = [area for area in areas if area is not None]
    spread = over_folds([{"val_auc": math.nan if area is None else area} for area in areas])
    return {**spread, "folds_with_val_auc": len(defined)}


def beside(rows: Predictions, *, level: float, draws: int) -> dict[str, Any]:
    """AUC, accuracy and F1 of a baseline, in the shape of `summarise`."""
    spread = over_folds([fold_metrics(part.labels, part.probabilities, part.predicted) for part in rows.by_fold()])
    pooled = bootstrap(rows, level=level, draws=draws)
    return {name: {**spread[name], **cells(pooled[name])} for name in _BESIDE_BASELINES}


def at_test_threshold(rows: Predictions, decision: Decision = YOUDEN) -> dict[str, Any]:
    """Accuracy and F1 over folds had each fold's threshold been chosen on its own test slides (two classes).

    Args:
        decision: what it is chosen for, as on validation, so that only the part differs. Youden's is the published one,
            the score itself.
    """
    own = Decision(protocol="paper") if decision.rule == "youden" else decision.honest
    found = []
    for part in rows.by_fold():
        predicted = decide(part.probabilities, fold_threshold(part.labels, part.probabilities, own))
        scores = fold_metrics(part.labels, part.probabilities, predicted)
        found.append({name: scores[name] for name in ("accuracy", "f1")})
    return over_folds(found)


def remarks(summary: dict[str, Any]) -> str | None:
    """What a reader must know before quoting the AUC; None where there is nothing to say."""
    said = []
    if summary["changed_labels"] is None:
        said.append("nothing says which labels the models were trained on: they may not be those of this report")
    elif changed := summary["changed_labels"]:
        said.append(f"{changed} slides have another label or patient here than when the models were trained")
    return "; ".join([*said, *remarks_on_auc(summary, "slide")]) or None


def remarks_on_patients(found: Summary, mixed: Sequence[str], torn: Sequence[str], classes: int) -> str | None:
    """As `remarks`, of `per_patient`.

    Args:
        mixed: the patients whose slides have different labels. torn: those with slides in several folds.
        classes: how many there are.
    """
    said, of = [], f"of {found['patients'] + found['left_out']} patients"
    if mixed and found["patient_rule"] == "mean":
        other = "; patient_rule: max counts them as positive" if classes == 2 else ""
        said.append(
            f"{len(mixed)} {of} have slides of different labels and are left out, since a mean has no label for them "
            f"({_named(mixed)}){other}"
        )
    elif mixed:
        said.append(f"{len(mixed)} {of} have slides of different labels and count as positive ({_named(mixed)})")
    if torn:
        said.append(
            f"{len(torn)} {of} have slides in several folds and are left out, since models that learned from them "
            f"would judge them ({_named(torn)}); train again: sammil train"
        )
    said += remarks_on_auc(found, "patient") if "auc" in found else ["no patient is left to be judged"]
    return f"per patient: {'; '.join(said)}" if said else None


def _named(patients: Sequence[str]) -> str:
    return ", ".join(patients[:_NAMED]) + (", …" if len(patients) > _NAMED else "")


def remarks_on_auc(summary: Summary, unit: str) -> list[str]:
    """What must be known of an AUC and its interval before it is quoted."""
    auc, said = summary["auc"], []
    if auc["low"] is not None and auc["high"] - auc["low"] > WIDE:
        said.append(
            f"n too small: the interval of the AUC is {auc['high'] - auc['low']:.2f} wide, "
            f"{summary['patients']} patients cannot tell models apart"
        )
    if auc["pooled"] in (0.0, 1.0):
        said.append(
            f"every {unit} is ranked right or every one wrong: the interval of the AUC goes by the number of patients "
            f"alone ({summary['patients']})"
        )
    if lost := summary["folds"] - summary["folds_with_auc"]:
        said.append(f"{lost} folds have no AUC: their test part lacks a class" if summary["folds"] > 1 else ONE_CLASS)
    return said


def cells(estimate: Estimate) -> dict[str, float | None]:
    """An estimate for JSON, six decimals."""
    named = {"pooled": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: None if math.isnan(value) else round(value, 6) for name, value in named.items()}


def _error(rows: Predictions) -> float:
    return round(float(np.mean([calibration_error(part.labels, part.probabilities) for part in rows.by_repeat()])), 6)


def _of_class(rows: Predictions, level: float, draws: int, unit: str) -> dict[str, Any]:
    pooled = bootstrap(rows, level=level, draws=draws)
    names = {name for name, label in zip(rows.slides, rows.labels, strict=True) if label}
    return {**{name: cells(pooled[name]) for name in PER_CLASS}, unit: len(names)}
