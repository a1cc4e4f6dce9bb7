"""Comparisons of runs as tables for people and as JSON for machines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sammil_cli.report.comparison import METRICS, WHAT_VERDICTS_MEAN, Comparison, verdict
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.paired_tests import holm
from sammil_cli.report.tables import NAMES, Table, of_class, shown_p

Unit = Literal["slide", "patient"]
_NAMES = {**NAMES, "brier": "Brier score"}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run beside the reference, per slide or per patient.

    `found`: metric -> comparison. `own`, `of_reference`: each run's metrics on what is compared. `withheld`: why no
    verdict is given; None = it is.
    """

    run: str
    unit: Unit
    slides: int
    patients: int
    paired: bool
    found: Mapping[str, Comparison]
    own: Mapping[str, Estimate]
    of_reference: Mapping[str, Estimate]
    withheld: str | None = None


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """p-values of one run, adjusted by Holm over the runs of the table: of each metric, of DeLong's and McNemar's."""

    metrics: Mapping[str, float]
    delong: float | None
    mcnemar: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of a run beside the reference's, per slide or per patient; nan where it is not defined.

    `value`, `of_reference`: on what both judge. `difference`: `value` minus `of_reference`, its interval from `low` to
    `high`. `p`: two-sided, of no difference; `p_holm`: adjusted for the number of runs. `shown`: the verdict, or why
    none is given (docs/compare.md).
    """

    run: str
    unit: Unit
    metric: str
    value: float
    of_reference: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    shown: str


def adjust(runs: Sequence[Compared]) -> list[Adjusted]:
    """Holm's p of each run; every metric and every test is a family of its own."""
    by_metric = {name: holm([run.found[name].p for run in runs]) for name in METRICS}
    tests = []
    for values in ([run.found["auc"].delong for run in runs], [run.found["auc"].mcnemar for run in runs]):
        adjusted = holm([math.nan if value is None else value for value in values])
        tests.append([None if value is None else p for value, p in zip(values, adjusted, strict=True)])
    return [
        Adjusted(
            metrics={name: by_metric[name][place] for name in METRICS}, delong=tests[0][place], mcnemar=tests[1][place]
        )
        for place in range(len(runs))
    ]


def shown(run: Compared, metric: str, p: float, other_seed: Mapping[str, Comparison] | None) -> str:
    """The verdict on one metric of one run; of a run whose verdict is withheld, why."""
    if run.withheld is not None:
        return run.withheld
    return verdict(run.found[metric], None if other_seed is None else other_seed[metric], adjusted=p)


def comparison_tables(
    reference: str, runs: Sequence[Compared], other_seed: Mapping[str, Comparison] | None, positive_class: str | None
) -> list[Table]:
    """The differences of all runs to the reference, and the tests that hold the models; all runs of one unit."""
    level, adjusted = runs[0].found["auc"].level, adjust(runs)
    unit = "slides" if runs[0].unit == "slide" else "patients"
    rows = []
    for metric in METRICS:
        for place, (run, p) in enumerate(zip(runs, adjusted, strict=True)):
            rows.append(
                (
                    "" if place else _NAMES[metric],
                    run.run,
                    f"{_plain(run.own[metric])} ({_plain(run.of_reference[metric])})",
                    _signed(run.found[metric].value),
                    shown_p(p.metrics[metric]),
                    shown(run, metric, p.metrics[metric], other_seed),
                )
            )
        if other_seed is not None:
            rows.append(("", f"{reference}, other seed", "", _signed(other_seed[metric].value), "", ""))
    repeats = all(run.found["auc"].retraining_known for run in runs)
    differences = Table(
        title=of_class(f"Minus {reference}, per {runs[0].unit}", positive_class),
        header=("metric", "run", f"value ({reference})", f"difference [{level:.0%}]", "p (Holm)", "shown"),
        rows=rows,
        note="On what both runs judge. Interval: patients drawn anew"
        + (", models and folds as well. " if repeats else "; where a run has one repeat, models stay as they are. ")
        + "p: by that interval, adjusted for the number of runs. Of the Brier score less is better. "
        + WHAT_VERDICTS_MEAN,
    )
    counted = ("slides", "patients") if unit == "slides" else ("patients",)
    tests = Table(
        title=f"Tests that hold the models, per {runs[0].unit}",
        header=("run", *counted, "DeLong p", "DeLong, Holm", "McNemar p", "McNemar, Holm"),
        rows=[
            (
                run.run,
                *(str(getattr(run, one)) for one in counted),
                *map(shown_p, (run.found["auc"].delong, p.delong, run.found["auc"].mcnemar, p.mcnemar)),
            )
            for run, p in zip(runs, adjusted, strict=True)
        ],
        note="DeLong: equal AUC, of two classes. McNemar, exact: as many called right. Both are of the first repeat, "
        "know nothing of training and take rows as independent: per slide p is too small where patients have several.",
    )
    return [differences, tests]


def as_json(run: Compared, adjusted: Adjusted, other_seed: Mapping[str, Comparison] | None) -> dict[str, Any]:
    """One run beside the reference, as docs/compare.md describes it; a number that is not defined is null."""
    first = run.found["auc"]
    return {
        "run": run.run,
        "unit": run.unit,
        "slides": run.slides,
        "patients": run.patients,
        "paired": run.paired,
        "repeats": list(first.repeats),
        "retraining_known": first.retraining_known,
        "metrics": {
            name: {
                "reference": numbers(run.of_reference[name]),
                "run": numbers(run.own[name]),
                "difference": numbers(one.value),
                "models_held": numbers(one.fixed),
                "p": _number(one.p),
                "p_holm": _number(adjusted.metrics[name]),
                "shown": shown(run, name, adjusted.metrics[name], other_seed),
            }
            for name, one in run.found.items()
        },
        "delong": _test(first.delong, adjusted.delong),
        "mcnemar": _test(first.mcnemar, adjusted.mcnemar),
    }


def differences(run: Compared, adjusted: Adjusted, other_seed: Mapping[str, Comparison] | None) -> list[Difference]:
    """One run beside the reference: a row for each metric."""
    return [
        Difference(
            run=run.run,
            unit=run.unit,
            metric=name,
            value=run.own[name].value,
            of_reference=run.of_reference[name].value,
            difference=one.value.value,
            low=one.value.low,
            high=one.value.high,
            p=one.p,
            p_holm=adjusted.metrics[name],
            shown=shown(run, name, adjusted.metrics[name], other_seed),
        )
        for name, one in run.found.items()
    ]


def numbers(estimate: Estimate) -> dict[str, float | None]:
    """An estimate for JSON."""
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _test(p: float | None, adjusted: float | None) -> dict[str, float | None] | None:
    return None if p is None else {"p": _number(p), "p_holm": _number(adjusted)}


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 6)


def _plain(found: Estimate) -> str:
    return "–" if math.isnan(found.value) else f"{found.value:.3f}"


def _signed(found: Estimate) -> str:
    if math.isnan(found.value):
        return "–"
    return f"{found.value:+.3f} " + ("[–]" if math.isnan(found.low) else f"[{found.low:+.3f}, {found.high:+.3f}]")
