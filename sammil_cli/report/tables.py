"""The tables of a report, as text: the terminal and the page show the same ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sammil_cli.report.optimism import SHUFFLES
from sammil_cli.training.thresholds import SELECTED_ON_TEST

Summary = Mapping[str, Any]  # what metrics.json holds, or a part of it
Numbers = dict[str, Any]  # the same while it is gathered

NAMES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
_HABIT = "Had the threshold been chosen on the test {} (a published habit)"
_OF_RULE = {"mean": "the mean of the slides", "max": "the slide most probably positive"}
PER_CLASS = ("auc", "f1", "sensitivity", "specificity")
_NOTE_ON_CALIBRATION = {
    "slides": "Brier score: mean over slides of the sum over classes of (probability - truth)², 0 to 2. ECE: how far "
    "confidence lies from the share that is right, 15 equal bins of confidence. Calibrated: logits divided by "
    "the fold's temperature, chosen where its threshold is. All other numbers are of calibrated probabilities; "
    "within a fold of two classes they rank and decide as the model does.",
    "patients": "The slides' probabilities are calibrated, and then put together: nothing is calibrated anew.",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a header; `note` explains the numbers."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def stamp(summary: Summary) -> str | None:
    """What every number of the published protocol carries; None in an honest run."""
    return SELECTED_ON_TEST if str(summary["protocol"]).startswith("paper") else None


def report_tables(summary: Summary) -> list[Table]:
    """The tables of what metrics.json holds."""
    tables = _of_unit(summary, "slides")
    if "published" in summary.get("optimism", {}):
        tables.append(_optimism(summary["optimism"], summary["positive_class"]))
    if has_patients(summary):
        found = summary["per_patient"]
        of_patients, *others = _of_unit({**summary, **found}, "patients")
        of_patients = replace(of_patients, note=_note_on_patients(summary))
        rule = _OF_RULE[found["patient_rule"]]
        tables += [replace(one, title=f"Per patient ({rule}): {one.title}") for one in (of_patients, *others)]
    return tables


def has_patients(summary: Summary) -> bool:
    """Whether there are numbers per patient: some patient has several slides, and some can be judged."""
    return "auc" in (summary.get("per_patient") or {})


def patients_note(summary: Summary) -> str | None:
    """Why there is no table per patient, or what to know of it; None where there is nothing to say."""
    if summary.get("per_patient") is None:
        return "every patient has one slide: per patient the numbers are those of the slides"
    notice: str | None = summary["per_patient"]["notice"]
    return notice


def _of_unit(summary: Summary, unit: str) -> list[Table]:
    """The tables of slides or patients; keys of `summary` are those of the unit."""
    tables = [_out_of_fold(summary), calibration_table(summary, unit)]
    if "per_class" in summary:
        tables.append(class_table(summary, unit))
    if "test_threshold" in summary:
        tables.append(_test_threshold(summary, unit))
    return tables


def _note_on_patients(summary: Summary) -> str:
    found = summary["per_patient"]
    chosen = ""
    if summary["positive_class"] is not None:
        part = "test" if stamp(summary) else "validation"
        chosen = f" The threshold of each fold is chosen on its {part} patients, judged by the same rule."
    return (
        f"{found['patients']} patients, {found['several_slides']} of them with several slides. The probabilities of a "
        f"patient are those of {_OF_RULE[found['patient_rule']]}.{chosen} Baselines are judged by the same rule; "
        "majority is the commonest class of the training patients."
    )


def validation_note(summary: Summary) -> str:
    """What settings are to be compared by, and what not: the AUC on validation, not the one out of fold."""
    of = f"{summary['folds_with_val_auc']} of {summary['folds']} folds"
    if stamp(summary):
        return (
            f"val_auc: {shown_spread(summary['val_auc'])} over {of}, of the test parts themselves: choose nothing by it"
        )
    return f"val_auc, the AUC on validation: {shown_spread(summary['val_auc'])} over {of}; choose settings by it"


def of_class(title: str, positive_class: str | None) -> str:
    """The title of a table whose numbers are of the positive class; None = of none of them."""
    return title if positive_class is None else f"{title}, positive class: {positive_class}"


def metrics_table(summary: Summary, title: str, spread: str, note: str) -> Table:
    """Each metric with its interval and spread, and those of the baselines beside.

    Args:
        spread: what the sd is over, for the header.
    """
    rows = []
    for key, name in NAMES.items():
        if key not in summary:
            continue
        rows.append((name, str(summary["model"]), *shown_cells(summary[key])))
        if key == "auc" and "auc_delong" in summary:
            rows.append(("", "DeLong", *shown_cells(summary["auc_delong"])[:2], ""))
        rows += [
            ("", baseline, *shown_cells(found[key])) for baseline, found in summary["baselines"].items() if key in found
        ]
    return Table(
        title=of_class(title, summary["positive_class"]),
        header=("metric", "of", "pooled", interval_of(summary), f"{spread}: mean ± sd"),
        rows=rows,
        note=note,
    )


def _out_of_fold(summary: Summary) -> Table:
    several = " Pooled is the mean over repeats, and their spread is in the interval." if summary["repeats"] > 1 else ""
    note = (
        "Pooled: all test parts together, each slide judged by the model that was not trained on its patient."
        f"{several} Interval: {summary['bootstrap_draws']} bootstrap draws of patients within their class; DeLong's "
        "beside it takes slides of the first repeat as independent. The sd is the spread of the folds, not the error "
        "of the mean. majority: always the commonest class of the training part. mean-pool: logistic regression on "
        "the mean of a slide's patch features, on the same folds."
    )
    return metrics_table(summary, "Out of fold", "folds", note)


def calibration_table(summary: Summary, unit: str) -> Table:
    """Brier score and ECE, before and after calibration."""
    rows = []
    for key, name in (("brier", "Brier score"), ("ece", "ECE")):
        for suffix, state in (("", "as the model says"), ("_calibrated", "calibrated")):
            rows.append((name if not suffix else "", state, *shown_cells(summary[key + suffix])[:2]))
    return Table(
        title="Calibration (smaller is better)",
        header=("metric", "probabilities", "pooled", interval_of(summary)),
        rows=rows,
        note=_NOTE_ON_CALIBRATION[unit],
    )


def class_table(summary: Summary, unit: str) -> Table:
    """Each of more than two classes against the rest."""
    return Table(
        title=f"Each class against the rest, {interval_of(summary)}",
        header=("class", unit, *(NAMES[key] for key in PER_CLASS)),
        rows=[
            (name, str(found[unit]), *(with_interval(found[key]) for key in PER_CLASS))
            for name, found in summary["per_class"].items()
        ],
        note=f"AUC, F1 and balanced accuracy above are the plain (macro) means of these; accuracy counts {unit}.",
    )


def _test_threshold(summary: Summary, unit: str) -> Table:
    found = summary["test_threshold"]
    return Table(
        title=of_class(_HABIT.format(unit), summary["positive_class"]),
        header=("metric", "threshold from validation", "threshold from the test scores"),
        rows=[(NAMES[key], shown_spread(summary[key]), shown_spread(found[key])) for key in ("accuracy", "f1")],
        note="Mean ± sd over folds. The right column is selected on test: it estimates nothing and is shown for "
        "comparison with papers that report it.",
    )


def _optimism(found: Summary, positive_class: str | None) -> Table:
    rows = []
    for key in ("auc", "accuracy", "f1"):
        chance = [shown_number(found["chance"][key][name]) for name in ("mean", "p95")]
        rows.append(
            (NAMES[key], shown_spread(found["published"][key]), shown_spread(found["nothing_chosen"][key]), *chance)
        )
    return Table(
        title=of_class("What choosing on the test fold is worth", positive_class),
        header=(
            "metric",
            "as published",
            "nothing chosen on the test fold",
            "chance level, shuffled labels",
            "95 % of chance below",
        ),
        rows=rows,
        note="As published: epoch and threshold chosen on the test fold. Nothing chosen: the last epoch, threshold "
        "0.5; only the number of epochs still follows early stopping on the test fold. Chance level: test labels "
        f"shuffled {SHUFFLES} times, then epoch and threshold chosen on them as published; without choice the AUC "
        "would be 0.5.",
    )


def interval_of(summary: Summary) -> str:
    """`95 % interval`."""
    return f"{100 * summary['interval']:g} % interval"


def shown_cells(value: Summary) -> tuple[str, str, str]:
    """Pooled value, interval, mean ± sd over folds."""
    low, high = value.get("low"), value.get("high")
    return (
        shown_number(value["pooled"]),
        "–" if low is None or high is None else f"{low:.3f} to {high:.3f}",
        shown_spread(value),
    )


def shown_number(value: float | None) -> str:
    """Three decimals; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def shown_p(value: float | None) -> str:
    """A p-value with three decimals, never as 0; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def with_interval(value: Summary) -> str:
    """`0.912 (0.850 to 0.948)`."""
    pooled, interval, _ = shown_cells(value)
    return pooled if interval == "–" else f"{pooled} ({interval})"


def shown_spread(value: Summary) -> str:
    """`0.912 ± 0.031`."""
    return "–" if value.get("mean") is None else f"{value['mean']:.3f} ± {value['sd']:.3f}"
