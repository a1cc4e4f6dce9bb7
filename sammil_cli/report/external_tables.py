"""The tables of an external cohort, for the terminal and the page."""

from collections.abc import Mapping
from typing import Any

from sammil_cli.report.tables import (
    NAMES,
    Summary,
    Table,
    calibration_table,
    class_table,
    interval_of,
    metrics_table,
    of_class,
    shown_cells,
    shown_number,
    with_interval,
)

_BESIDE = {**NAMES, "brier": "Brier score"}
_THRESHOLD_OF = {
    "patients": " At the threshold for patients that the models chose on their validation patients.",
    "slides": " The threshold is that of slides: the models know none of patients.",
    None: "",
}
_AT_THRESHOLD = ("sensitivity", "specificity", "accuracy", "f1")


def external_tables(summary: Summary) -> list[Table]:
    """The tables of what metrics.json holds of an external cohort."""
    tables = [_metrics(summary)]
    if summary["internal"]:
        tables.append(_beside(summary))
    if "threshold" in summary:
        tables.append(_threshold(summary))
    tables.append(calibration_table(summary, "slides"))
    if "recalibration" in summary:
        tables.append(_recalibration(summary))
    if "per_class" in summary:
        tables.append(class_table(summary, "slides"))
    tables += [_by(column, found, summary) for column, found in summary["by"].items()]
    if "auc" in (summary["per_patient"] or {}):
        tables.append(_patients(summary))
    return tables


def _metrics(summary: Summary) -> Table:
    several = (
        f" Each slide is judged by {summary['models']} models together, their mean; the sd is the spread of the single "
        "models, not the error of the mean."
        if summary["models"] > 1
        else ""
    )
    precision = summary.get("average_precision")
    ranked = (
        f" Average precision: {shown_number(precision['pooled'])}; what ranks at random has "
        f"{shown_number(precision['at_random'])}, the share of positive slides."
        if precision
        else ""
    )
    note = (
        f"At the threshold of the models, chosen where they were trained.{several} Interval: "
        f"{summary['bootstrap_draws']} bootstrap draws of patients within their class, the models held as they are; "
        f"DeLong's beside it takes slides as independent.{ranked}"
    )
    return metrics_table({**summary, "baselines": {}}, "External cohort", "models", note)


def _patients(summary: Summary) -> Table:
    found = summary["per_patient"]
    note = (
        f"{found['patients']} patients, {found['several_slides']} of them with several slides, by patient_rule "
        f"{found['patient_rule']}.{_THRESHOLD_OF[found['threshold_of']]}"
    )
    return metrics_table({**summary, **found, "baselines": {}}, "External cohort, per patient", "models", note)


def _beside(summary: Summary) -> Table:
    inside, apart = summary["internal"], summary["difference"]
    names = [name for name in _BESIDE if name in inside]
    outside = {**summary, "brier": summary["brier_calibrated"]}
    note = (
        f"Internal: {inside['slides']} slides of {inside['patients']} patients, each judged by the one model that had "
        f"not seen it; external: by {summary['models']} model(s) together, so part of a gain may be theirs. "
    )
    rows: list[tuple[str, ...]]
    if apart is None:
        rows = [(_BESIDE[name], with_interval(inside[name]), with_interval(outside[name])) for name in names]
        header: tuple[str, ...] = ("metric", "internal folds", "external")
        note += f"No difference is given: {summary['no_difference']}."
    else:
        rows = [
            (
                _BESIDE[name],
                shown_number(inside[name]["pooled"]),
                shown_number(outside[name]["pooled"]),
                _signed(apart[name]),
            )
            for name in names
        ]
        header = ("metric", "internal", "external", f"external - internal, {interval_of(summary)}")
        note += "Interval: by those of both (MOVER), the external one with the models held as they are."
    title = "Beside the internal folds"
    return Table(title=of_class(title, summary["positive_class"]), header=header, rows=rows, note=note)


def _signed(value: Mapping[str, float | None]) -> str:
    middle, low, high = value["pooled"], value["low"], value["high"]
    if middle is None:
        return "–"
    return f"{middle:+.3f}" if low is None or high is None else f"{middle:+.3f} ({low:+.3f} to {high:+.3f})"


def _threshold(summary: Summary) -> Table:
    carried, here = summary["threshold"]["carried"], summary["threshold"]["chosen_here"]
    rows = [("threshold", _range(carried["threshold"]), "", _range(here["threshold"]))]
    for name in _AT_THRESHOLD:
        pooled, interval, _ = shown_cells(carried[name])
        rows.append((NAMES[name], pooled, interval, shown_number(here[name]["pooled"])))
    return Table(
        title=of_class("How far the threshold carries", summary["positive_class"]),
        header=("metric", "carried over", interval_of(summary), "chosen here"),
        rows=rows,
        note=f"Carried over: {summary['threshold']['chosen']}, where the models were trained. Chosen here: Youden's on "
        "these very slides; it estimates nothing, and shows what another threshold could gain.",
    )


def _range(ends: list[float] | None) -> str:
    if ends is None:
        return "–"
    low, high = (f"{end:.3f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def _recalibration(summary: Summary) -> Table:
    found = summary["recalibration"]
    meant = {"intercept": "0 is right; above: P is too low", "slope": "1 is right; below: P is too extreme"}
    rows = [(name, *shown_cells(found[name])[:2], text) for name, text in meant.items()]
    return Table(
        title=of_class("Recalibration", summary["positive_class"]),
        header=("", "value", interval_of(summary), "meaning"),
        rows=rows,
        note="Logistic recalibration of the calibrated probabilities: logit P(positive) = intercept + slope * "
        "logit(probability); the intercept is that of slope 1. Dashes: the classes do not overlap, no line fits.",
    )


def _by(column: str, values: Mapping[str, Any], summary: Summary) -> Table:
    rows: list[tuple[str, ...]] = []
    for value, found in sorted(values.items(), key=lambda one: (-one[1]["slides"], one[0])):
        there = [name for name, size in found["class_sizes"].items() if size]
        known = [(name, one) for name, one in found["metrics"].items() if one["pooled"] is not None and name != "f1"]
        alone = [("AUC", "–", f"only {there[0]}")] if len(there) == 1 else []
        lines = [*alone, *((NAMES[name], *shown_cells(one)[:2]) for name, one in known)]
        sizes = (str(found["slides"]), str(found["patients"]))
        for place, line in enumerate(lines):
            rows.append((*((value, *sizes) if place == 0 else ("", "", "")), *line))
    return Table(
        title=of_class(f"By {column}", summary["positive_class"]),
        header=(column, "slides", "patients", "metric", "pooled", interval_of(summary)),
        rows=rows,
        note="Values differ by chance, too: look at the intervals. Where all slides are of one class there is no AUC, "
        "and nothing says whether the model knows the disease or the source of the slides.",
    )
