"""A benchmark as one table: every row on the same slides and folds, beside one of them, and what it costs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sammil_cli.report.ablation import BESIDE, WITH_TRAINING, WITHOUT_TRAINING, in_points
from sammil_cli.report.comparison import WHAT_VERDICTS_MEAN, Comparison, compare_predictions, verdict
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import bootstrap
from sammil_cli.report.metrics import Predictions, fold_metrics, over_folds
from sammil_cli.report.paired_tests import holm
from sammil_cli.report.tables import Table, of_class, shown_p

_SHOWN = {"auc": "AUC", "f1": "F1", "accuracy": "accuracy"}
_NONE = "–"
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Out-of-fold predictions of one row, and what it costs.

    `ms_per_slide`: median of judging a slide on one thread; `peak_bytes`: the most memory that a process held while it
    trained a fold; `peak_gpu_bytes`: on its GPU. None = not known.
    """

    predictions: Predictions
    parameters: int
    ms_per_slide: float
    peak_bytes: int | None
    peak_gpu_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model on some features. `role`: one is the reference, and one may be the same model with another seed."""

    model: str
    features: str
    measured: Measured
    role: str = ""


REFERENCE, OTHER_SEED = "reference", "other seed"  # roles


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A row with its numbers. `spread`: metric -> mean and sd over folds; `auc`: pooled.

    `gap`: its AUC minus the reference's, None for the reference or without one; `p_holm`: None for the same model with
    another seed, too, which is no hypothesis; `says`: in words.
    """

    row: Row
    spread: dict[str, tuple[float | None, float | None]]
    auc: Estimate
    gap: Comparison | None
    p_holm: float | None
    says: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A row that could not be made."""

    model: str
    features: str
    code: str
    message: str
    remedy: str


def stand(
    rows: Sequence[Row], *, level: float, draws: int, progress: Callable[[str], object] = lambda model: None
) -> list[Standing]:
    """Every row beside the reference, p adjusted for their number; without a reference nothing is compared.

    Args:
        level, draws: see `report.comparison.compare_predictions`.
        progress: called twice for each row, with its model.

    Raises:
        InputError: rows of different slides, labels or patients.
    """
    reference = next((row for row in rows if row.role == REFERENCE), None)
    gaps: list[Comparison | None] = []
    for row in rows:
        beside = None if reference is None or row is reference else reference.measured.predictions
        gaps.append(
            None
            if beside is None
            else compare_predictions(beside, row.measured.predictions, "auc", level=level, draws=draws)
        )
        progress(row.model)
    tried = [place for place, gap in enumerate(gaps) if gap is not None and rows[place].role != OTHER_SEED]
    adjusted = dict(zip(tried, holm([gap.p for place in tried if (gap := gaps[place])]), strict=True))
    seeds = next((gap for row, gap in zip(rows, gaps, strict=True) if row.role == OTHER_SEED), None)
    found = []
    for place, (row, gap) in enumerate(zip(rows, gaps, strict=True)):
        one = row.measured.predictions
        spread = over_folds([fold_metrics(p.labels, p.probabilities, p.predicted) for p in one.by_fold()])
        found.append(
            Standing(
                row=row,
                spread={name: (spread[name]["mean"], spread[name]["sd"]) for name in _SHOWN},
                auc=bootstrap(one, level=level, draws=draws)["auc"],
                gap=gap,
                p_holm=adjusted.get(place),
                says=_says(row, gap, seeds, adjusted.get(place)),
            )
        )
        progress(row.model)
    return found


def _says(row: Row, gap: Comparison | None, seeds: Comparison | None, adjusted: float | None) -> str:
    if row.role:
        return {REFERENCE: "the reference", OTHER_SEED: "how far a seed moves it"}[row.role]
    return _NONE if gap is None else verdict(gap, seeds, adjusted=adjusted)


def benchmark_table(title: str, standings: Sequence[Standing], *, level: float) -> Table:
    """The table, all metrics × 100."""
    names = titles([one.row for one in standings])
    reference = next((name for one, name in zip(standings, names, strict=True) if one.row.role == REFERENCE), None)
    cells = []
    for one in standings:
        means = (_NONE if mean is None else f"{100 * mean:.1f} ± {100 * (sd or 0):.1f}" for mean, sd in _each(one))
        measured = one.row.measured
        cells.append(
            (
                one.row.model,
                one.row.features,
                *means,
                in_points(one.auc, ""),
                _NONE if one.gap is None else in_points(one.gap.value),
                shown_p(one.p_holm),
                one.says,
                f"{measured.parameters:,}",
                f"{measured.ms_per_slide:.3g}",
                _memory(measured),
            )
        )
    first = standings[0].row.measured.predictions
    return Table(
        title=of_class(title, first.positive_class),
        header=(
            *("model", "features"),
            *_SHOWN.values(),
            f"AUC pooled [{level:.0%}]",
            f"AUC minus {reference}" if reference else "AUC minus reference",
            *(*BESIDE, "parameters", "ms per slide", "peak memory"),
        ),
        rows=cells,
        note=_note(standings, level),
    )


def titles(rows: Sequence[Row]) -> list[str]:
    """What rows are called where model and features do not stand in columns of their own."""
    several = len({row.features for row in rows}) > 1
    return [f"{row.model} @ {row.features}" if several else row.model for row in rows]


def _note(standings: Sequence[Standing], level: float) -> str:
    known = all(one.gap.retraining_known for one in standings if one.gap is not None)
    return (
        "Metrics × 100, every row on the same slides and folds. ± is the sd over folds, their spread and no error. "
        f"{WITH_TRAINING if known else WITHOUT_TRAINING} Intervals of {level:.0%}. p: two-sided, of no difference, "
        f"adjusted by Holm for the rows compared. {OTHER_SEED.capitalize()}: the reference trained with another seed "
        f"on the same folds. {WHAT_VERDICTS_MEAN} ms per slide: a bag in memory judged on one thread of this machine's "
        "CPU, the shortest of three times, the median of up to 30 test slides of the first fold; without the encoder, "
        "and without reading. Peak "
        "memory: the most that the process of a fold held while it trained, libraries and mapped bags included; – "
        "where another command had trained the folds before, or the system does not say."
    )


def failed_table(failed: Sequence[Failed]) -> Table:
    """What could not be made, with the fix."""
    return Table(
        title="Rows that could not be made",
        header=("model", "features", "code", "reason", "fix"),
        rows=[(one.model, one.features, one.code, one.message, one.remedy) for one in failed],
        note="After the fix the same command makes what is missing, and nothing else.",
    )


def narrow(table: Table) -> Table:
    """A `benchmark_table` without means over folds and costs: what a terminal of 80 columns has room for."""
    left_out = {*_SHOWN.values(), "parameters", "ms per slide", "peak memory"}
    kept = [at for at, name in enumerate(table.header) if name not in left_out]
    return replace(
        table, header=tuple(table.header[at] for at in kept), rows=[tuple(row[at] for at in kept) for row in table.rows]
    )


def as_records(standings: Sequence[Standing], failed: Sequence[Failed]) -> list[dict[str, object]]:
    """Every row in numbers (not × 100), for CSV and JSON; None where one is not known. All have the same keys."""
    records = [_record(one) for one in standings]
    keys = list(_record(standings[0])) if standings else ["model", "features", "role"]
    for one in failed:
        facts = {"model": one.model, "features": one.features, "role": "failed", "code": one.code}
        records.append(dict.fromkeys(keys) | facts | {"message": one.message, "remedy": one.remedy})
    return records


def _record(one: Standing) -> dict[str, object]:
    facts: dict[str, object] = {"model": one.row.model, "features": one.row.features, "role": one.row.role}
    for name, (mean, sd) in one.spread.items():
        facts |= {f"{name}_mean": _six(mean), f"{name}_sd": _six(sd)}
    facts |= _estimate("auc_pooled", one.auc)
    facts |= _estimate("difference", None if one.gap is None else one.gap.value)
    facts |= _estimate("difference_same_training", None if one.gap is None else one.gap.fixed)
    measured = one.row.measured
    return facts | {
        "p": None if one.gap is None else _six(one.gap.p),
        "p_holm": _six(one.p_holm),
        "says": one.says,
        "parameters": measured.parameters,
        "ms_per_slide": _six(measured.ms_per_slide),
        "peak_bytes": measured.peak_bytes,
        "peak_gpu_bytes": measured.peak_gpu_bytes,
        "code": None,
        "message": None,
        "remedy": None,
    }


def _estimate(name: str, found: Estimate | None) -> dict[str, object]:
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    return {name: _six(values[0]), f"{name}_low": _six(values[1]), f"{name}_high": _six(values[2])}


def _six(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _each(one: Standing) -> list[tuple[float | None, float | None]]:
    return [one.spread[name] for name in _SHOWN]


def _memory(measured: Measured) -> str:
    """`512 MiB`, with that of the GPU after a plus sign."""
    parts = [(measured.peak_bytes, "MiB"), (measured.peak_gpu_bytes, "MiB GPU")]
    return " + ".join(f"{value / _MIB:,.0f} {unit}" for value, unit in parts if value is not None) or _NONE
