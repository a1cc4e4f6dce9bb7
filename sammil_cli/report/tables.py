"""The tables of a report, as text: the terminal and the page show the same ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sammil_cli.report.optimism import SHUFFLES
from sammil_cli.training.thresholds import SELECTED_ON_TEST

NAMES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
_HABIT = "Had the threshold been chosen on the test slides (a published habit)"
PER_CLASS = ("auc", "f1", "sensitivity", "specificity")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a header; `note` explains the numbers."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def stamp(summary: Mapping[str, Any]) -> str | None:
    """What every number of the published protocol carries; None in an honest run."""
    return SELECTED_ON_TEST if str(summary["protocol"]).startswith("paper") else None


def report_tables(summary: Mapping[str, Any]) -> list[Table]:
    """The tables of what metrics.json holds."""
    tables = [_metrics(summary), _calibration(summary)]
    if "per_class" in summary:
        tables.append(_per_class(summary))
    if "test_threshold" in summary:
        tables.append(_test_threshold(summary))
    if "published" in summary.get("optimism", {}):
        tables.append(_optimism(summary["optimism"], summary["positive_class"]))
    return tables


def validation_note(summary: Mapping[str, Any]) -> str:
    """What settings are to be compared by, and what not: the AUC on validation, not the one out of fold."""
    of = f"{summary['folds_with_val_auc']} of {summary['folds']} folds"
    if stamp(summary):
        return f"val_auc: {_spread(summary['val_auc'])} over {of}, of the test parts themselves: choose nothing by it"
    return f"val_auc, the AUC on validation: {_spread(summary['val_auc'])} over {of}; choose settings by it"


def of_class(title: str, positive_class: str | None) -> str:
    """The title of a table whose numbers are of the positive class; None = of none of them."""
    return title if positive_class is None else f"{title}, positive class: {positive_class}"


def _metrics(summary: Mapping[str, Any]) -> Table:
    rows = []
    for key, name in NAMES.items():
        if key not in summary:
            continue
        rows.append((name, str(summary["model"]), *_cells(summary[key])))
        if key == "auc" and "auc_delong" in summary:
            rows.append(("", "DeLong", *_cells(summary["auc_delong"])[:2], ""))
        rows += [
            ("", baseline, *_cells(found[key])) for baseline, found in summary["baselines"].items() if key in found
        ]
    several = " Pooled is the mean over repeats, and their spread is in the interval." if summary["repeats"] > 1 else ""
    return Table(
        title=of_class("Out of fold", summary["positive_class"]),
        header=("metric", "of", "pooled", _interval(summary), "folds: mean ± sd"),
        rows=rows,
        note="Pooled: all test parts together, each slide judged by the model that was not trained on its patient."
        f"{several} Interval: {summary['bootstrap_draws']} bootstrap draws of patients within their class; DeLong's "
        "beside it takes slides of the first repeat as independent. The sd is the spread of the folds, not the error "
        "of the mean. majority: always the commonest class of the training part. mean-pool: logistic regression on "
        "the mean of a slide's patch features, on the same folds.",
    )


def _calibration(summary: Mapping[str, Any]) -> Table:
    rows = []
    for key, name in (("brier", "Brier score"), ("ece", "ECE")):
        for suffix, state in (("", "as the model says"), ("_calibrated", "calibrated")):
            rows.append((name if not suffix else "", state, *_cells(summary[key + suffix])[:2]))
    return Table(
        title="Calibration (smaller is better)",
        header=("metric", "probabilities", "pooled", _interval(summary)),
        rows=rows,
        note="Brier score: mean over slides of the sum over classes of (probability - truth)², 0 to 2. ECE: how far "
        "confidence lies from the share that is right, 15 equal bins of confidence. Calibrated: logits divided by "
        "the fold's temperature, chosen where its threshold is. All other numbers are of calibrated probabilities; "
        "within a fold of two classes they rank and decide as the model does.",
    )


def _per_class(summary: Mapping[str, Any]) -> Table:
    return Table(
        title=f"Each class against the rest, {_interval(summary)}",
        header=("class", "slides", *(NAMES[key] for key in PER_CLASS)),
        rows=[
            (name, str(found["slides"]), *(_with_interval(found[key]) for key in PER_CLASS))
            for name, found in summary["per_class"].items()
        ],
        note="AUC, F1 and balanced accuracy above are the plain (macro) means of these; accuracy counts slides.",
    )


def _test_threshold(summary: Mapping[str, Any]) -> Table:
    found = summary["test_threshold"]
    return Table(
        title=of_class(_HABIT, summary["positive_class"]),
        header=("metric", "threshold from validation", "threshold from the test scores"),
        rows=[(NAMES[key], _spread(summary[key]), _spread(found[key])) for key in ("accuracy", "f1")],
        note="Mean ± sd over folds. The right column is selected on test: it estimates nothing and is shown for "
        "comparison with papers that report it.",
    )


def _optimism(found: Mapping[str, Any], positive_class: str | None) -> Table:
    rows = []
    for key in ("auc", "accuracy", "f1"):
        chance = [_number(found["chance"][key][name]) for name in ("mean", "p95")]
        rows.append((NAMES[key], _spread(found["published"][key]), _spread(found["nothing_chosen"][key]), *chance))
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


def _interval(summary: Mapping[str, Any]) -> str:
    return f"{100 * summary['interval']:g} % interval"


def _cells(value: Mapping[str, Any]) -> tuple[str, str, str]:
    """Pooled value, interval, mean ± sd over folds."""
    low, high = value.get("low"), value.get("high")
    return _number(value["pooled"]), "–" if low is None or high is None else f"{low:.3f} to {high:.3f}", _spread(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_interval(value: Mapping[str, Any]) -> str:
    pooled, interval, _ = _cells(value)
    return pooled if interval == "–" else f"{pooled} ({interval})"


def _spread(value: Mapping[str, Any]) -> str:
    return "–" if value.get("mean") is None else f"{value['mean']:.3f} ± {value['sd']:.3f}"
