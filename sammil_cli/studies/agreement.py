"""How far two runs of the same thing agree: their metrics, predictions, weights and bags."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sammil_cli.project.run_record import FoldEntry
from sammil_cli.storage.hdf5 import read_hdf5

Verdict = Literal["identical", "within tolerance", "different"]

# Metrics and predictions are written with six decimals; another number of cores may move the last one.
SAME_TOLERANCE = 1e-5
# Another library or processor rounds otherwise, GPUs add up in any order, and training carries that on.
OTHER_TOLERANCE = 0.01
_KEY = ("repeat", "fold", "slide_id")
_WORDS = ("notice", "positive_class", "per_patient", "per_patient.notice")  # of metrics.json: no numbers, or none
_PROBABILITIES = ("probability_", "uncalibrated_")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A value that is not the same; `size` is None where one of the two is no number."""

    name: str
    then: str | float | None
    now: str | float | None
    size: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was compared and what differs, the largest differences first.

    `bags` and `equal_bags` are None where bags were not made anew; `decisions`: slides with another predicted class.
    """

    verdict: Verdict
    tolerance: float
    metrics: int
    metric_differences: tuple[Difference, ...]
    predictions: int
    prediction_differences: tuple[Difference, ...]
    decisions: int
    folds: int
    equal_folds: int
    bags: int | None
    equal_bags: int | None
    largest_feature_difference: float | None


def compare_metrics(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[int, tuple[Difference, ...]]:
    """How many numbers of two metrics.json there are, and those that differ; words in them are passed over."""
    before, after = dict(_numbers(then)), dict(_numbers(now))
    names = list(dict.fromkeys([*before, *after]))
    found = [_difference(name, before.get(name), after.get(name)) for name in names]
    return len(names), _ordered(found)


def compare_predictions(
    then: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]
) -> tuple[int, tuple[Difference, ...], int]:
    """How many slides two predictions.csv judge, the largest difference of each that differs, and other decisions."""
    before, after = ({tuple(row[name] for name in _KEY): row for row in rows} for rows in (then, now))
    found: list[Difference | None] = []
    decisions = 0
    for key in dict.fromkeys([*before, *after]):
        name = f"{key[2]}, fold {key[0]}.{key[1]}"
        old, new = before.get(key, {}), after.get(key, {})
        if not old or not new:
            found.append(Difference(name=name, then=old.get("predicted"), now=new.get("predicted"), size=None))
            continue
        decisions += old.get("predicted") != new.get("predicted")
        columns = [column for column in {**old, **new} if column.startswith(_PROBABILITIES)]
        numbers = _ordered(
            [_difference(f"{name}: {column}", _read(old.get(column)), _read(new.get(column))) for column in columns]
        )
        words = [_difference(f"{name}: {word}", old.get(word), new.get(word)) for word in ("label", "predicted")]
        found += numbers[:1] or words
    return len(before), _ordered(found), decisions


def equal_folds(then: Sequence[FoldEntry], now: Sequence[FoldEntry]) -> int:
    """How many folds have the same weights, bit by bit, and the same threshold."""
    after = {fold.name: (fold.weights_sha256, fold.threshold) for fold in now}
    return sum(after.get(fold.name) == (fold.weights_sha256, fold.threshold) for fold in then)


def feature_difference(then: Path, now: Path) -> float:
    """The largest difference of two bags' numbers; infinite where patches or regions are not the same ones.

    What the files say of how they were made is not compared: another version of the code may give the same bag.
    """
    (before, facts), (after, others) = (read_hdf5(path, "bag", mapped=True) for path in (then, now))
    apart = {"provenance": None, "sums": None, "schema": None}
    if {**facts, **apart} != {**others, **apart} or before.keys() != after.keys():
        return math.inf
    largest = 0.0
    for name, array in before.items():
        other = after[name]
        if array.shape != other.shape:
            return math.inf
        if name in ("features", "group_features"):
            gap = np.abs(array.astype(np.float64) - other)
            largest = max(largest, float(gap.max(initial=0.0)))
        elif not np.array_equal(array, other, equal_nan=array.dtype.kind == "f"):
            return math.inf
    return largest


def judge(differences: Sequence[Difference], tolerance: float, *, all_equal: bool) -> Verdict:
    """The verdict on the differences of metrics and predictions.

    Args:
        all_equal: folds, and bags where they were made anew, are the same bit by bit.
    """
    if any(one.size is None or one.size > tolerance for one in differences):
        return "different"
    return "identical" if all_equal and not differences else "within tolerance"


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """The numbers in nested JSON, by their path; null counts as one, since it stands where a number is not defined."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _numbers(part, f"{path}[{index}]")
    elif value is None and path not in _WORDS:
        yield path, None
    elif isinstance(value, int | float):
        yield path, value


def _difference(name: str, then: str | float | None, now: str | float | None) -> Difference | None:
    if then == now:
        return None
    size = abs(then - now) if isinstance(then, int | float) and isinstance(now, int | float) else math.nan
    return Difference(name=name, then=then, now=now, size=size if math.isfinite(size) else None)


def _ordered(found: Sequence[Difference | None]) -> tuple[Difference, ...]:
    """Those that there are, the largest first; what is no number comes before all."""
    there = [one for one in found if one is not None]
    return tuple(sorted(there, key=lambda one: -math.inf if one.size is None else -one.size))


def _read(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None
