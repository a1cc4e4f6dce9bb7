"""What metrics.json holds of an external cohort."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from sammil_cli.bundles.patient_thresholds import NOT_KNOWN
from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.metrics import Predictions, average_precision, confusion, fold_metrics, metric_names
from sammil_cli.report.per_patient import several_slides
from sammil_cli.report.per_value import OF_DECISIONS, per_value
from sammil_cli.report.recalibration import recalibration
from sammil_cli.report.spread import difference_of
from sammil_cli.report.summary import ONE_CLASS, cells, remarks_on_auc, summarise
from sammil_cli.report.tables import Numbers, Summary
from sammil_cli.stages.external_slides import JudgedSlides
from sammil_cli.stages.patients import JudgedPatients, summarise_patients
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import decide, youden_threshold

AT_THRESHOLD = ("accuracy", "f1", "sensitivity", "specificity")


def of_slides(judged: JudgedSlides, facts: Sequence[ModelFacts], settings: EvaluateSettings) -> Numbers:
    """The numbers of the slides: those of `summary.summarise`, with the spread over models, and how well they carry."""
    level, draws, classes = settings.interval, settings.bootstrap_draws, judged.classes
    rows = _as_one(judged.predictions)
    found = summarise(rows, judged.uncalibrated, classes, level=level, draws=draws)
    spread = judged.over_models() if len(facts) > 1 else {}
    summary: Numbers = {
        "model": facts[0].model,
        "models": len(facts),
        "protocol": next((f"paper: {fact.stamp}" for fact in facts if fact.stamp), facts[0].protocol),
        "classes": list(classes),
        "positive_class": rows.positive_class,
        "slides": len(rows.slides),
        "patients": len(set(rows.patients)),
        "class_sizes": {name: int((rows.labels == index).sum()) for index, name in enumerate(classes)},
        "interval": level,
        "bootstrap_draws": draws,
        **{name: _with_spread(value, spread.get(name)) for name, value in found.items()},
        "confusion": confusion(rows.labels, rows.predicted, len(classes)).tolist(),
    }
    if len(classes) == 2:
        precision = average_precision(rows.labels, rows.probabilities[:, 1])
        summary["average_precision"] = {
            "pooled": None if math.isnan(precision) else round(precision, 6),
            "at_random": round(float(rows.labels.mean()), 6),
        }
        summary["threshold"] = {"chosen": facts[0].decided_by.said, **_threshold(judged, summary)}
        fitted = recalibration(rows, level=level, draws=draws)
        summary["recalibration"] = {name: cells(estimate) for name, estimate in fitted.items()}
    return summary


def of_patients(
    judged: JudgedPatients, classes: Sequence[str], settings: EvaluateSettings, threshold_of: str | None
) -> Numbers | None:
    """`per_patient`; None where every patient has one slide. `threshold_of`: see `JudgedSlides.for_patients`."""
    if not several_slides(judged.slides):
        return None
    found = summarise_patients(
        replace(judged, rows=_as_one(judged.rows)),
        classes,
        {},
        folds=1,
        published=False,
        level=settings.interval,
        draws=settings.bootstrap_draws,
    )
    for name in ("folds", "folds_with_auc", "baselines", "test_threshold"):  # of folds
        found.pop(name, None)
    return {"threshold_of": threshold_of, **{name: _with_spread(value, None) for name, value in found.items()}}


def beside_internal(
    summary: Summary, internal: Summary | str, slides: Collection[str], known: Collection[str]
) -> Numbers:
    """`internal`: the numbers of the folds; `difference`: external minus internal; `no_difference`: why it is missing.

    The cohorts have no slide in common, so that the intervals of both give that of the difference.

    Args:
        summary: of the external slides. known: slides that some model has seen, which the internal folds are of.
    """
    if isinstance(internal, str):
        return {"internal": None, "difference": None, "no_difference": internal}
    if shared := set(slides) & set(known):
        why = f"{len(shared)} slides are of the internal folds, too: the two are not independent"
        return {"internal": internal, "difference": None, "no_difference": why}
    outside = {**summary, "brier": summary["brier_calibrated"]}
    names = (name for name in (*metric_names(len(summary["classes"])), "brier") if name in internal)
    apart = {name: difference_of(_estimate(internal[name]), _estimate(outside[name])) for name in names}
    return {
        "internal": internal,
        "difference": {name: cells(estimate) for name, estimate in apart.items()},
        "no_difference": None,
    }


def by_columns(
    judged: JudgedSlides, columns: Mapping[str, Mapping[str, str | None]], settings: EvaluateSettings
) -> Numbers:
    """`by`: of each value of each column its slides by class, and its metrics."""
    rows, found = _as_one(judged.predictions), Numbers()
    for column, value in columns.items():
        of_value = per_value(rows, value, level=settings.interval, draws=settings.bootstrap_draws, metrics=OF_DECISIONS)
        sizes = Counter((value[one.member.slide_id], judged.classes[one.member.label]) for one in judged.slides)
        found[column] = {
            name: {**one, "class_sizes": {label: sizes[name, label] for label in judged.classes}}
            for name, one in of_value.items()
        }
    return found


def notices(summary: Summary, doubts: Sequence[str], unknown: int) -> list[str]:
    """What a reader must know first.

    Args:
        doubts: on slides that count as not seen. unknown: slides that a model may have seen.
    """
    said = []
    if seen := summary["in_sample"]:
        said.append(f"{len(seen)} slides were seen in training by every model and are left out ({_named(seen)})")
    if unknown:
        said.append(
            f"{unknown} slides may have been seen in training: a model does not say which slides it has seen (imported "
            "weights, or a model of an earlier version)"
        )
    if refused := summary["refused"]:
        named = _named([one["slide_id"] for one in refused])
        said.append(f"{len(refused)} slides cannot be judged and are left out ({named}): process_list.csv")
    said += doubts
    if (summary["per_patient"] or {}).get("threshold_of") == "slides":
        said.append(f"patients are decided by the threshold of their slides: {NOT_KNOWN}")
    if lacking := [name for name, size in summary["class_sizes"].items() if not size]:
        said.append(f"no slide is {' or '.join(lacking)}: {ONE_CLASS if len(summary['classes']) == 2 else 'AUC is –'}")
    return [*said, *remarks_on_auc({**summary, "folds": 1, "folds_with_auc": 1}, "slide")]


def refused(judged: JudgedSlides) -> list[Numbers]:
    """The slides that cannot be judged, with code, reason and fix."""
    keys = ("slide_id", "code", "message", "remedy")
    return [{key: asdict(row)[key] for key in keys} for row in judged.rows if not row.done]


def members_of(judged: JudgedSlides) -> list[Member]:
    """The slides that count."""
    return [one.member for one in judged.slides]


def _threshold(judged: JudgedSlides, summary: Summary) -> Numbers:
    """At the threshold that was carried over, and at one chosen on these slides, which estimates nothing.

    `threshold`: the least and the largest; they differ where not all models judged every slide.
    """
    carried = [value for value in judged.thresholds.values() if value is not None]
    rows = judged.predictions
    own = youden_threshold(rows.labels, rows.probabilities[:, 1])
    there = fold_metrics(rows.labels, rows.probabilities, decide(rows.probabilities, own))
    return {
        "carried": {
            "threshold": [round(float(end(carried)), 6) for end in (min, max)] if carried else None,
            **{name: summary[name] for name in AT_THRESHOLD},
        },
        "chosen_here": {
            "threshold": [round(own, 6)] * 2,
            **{name: {"pooled": None if math.isnan(there[name]) else round(there[name], 6)} for name in AT_THRESHOLD},
        },
    }


def _estimate(value: Summary) -> Estimate:
    ends = [math.nan if value.get(name) is None else float(value[name]) for name in ("pooled", "low", "high")]
    return Estimate(*ends)


def _as_one(rows: Predictions) -> Predictions:
    """Whichever models judged a slide, it counts in one part."""
    return replace(rows, fold=np.zeros(len(rows.fold), np.int64))


def _with_spread(value: object, spread: Mapping[str, float | None] | None) -> object:
    """Mean and sd are those over models; a metric without them has no spread."""
    if not isinstance(value, dict):
        return value
    return {key: one for key, one in value.items() if key not in ("mean", "sd")} | dict(spread or {})


def _named(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
