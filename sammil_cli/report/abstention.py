"""What `sammil evaluate` says of slides better left undecided; the sets of a fold are made by the other folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.conformal import Sets, scores_of
from sammil_cli.report.metrics import Predictions

COLUMNS = ("set", "abstained", "coverage")  # of predictions.csv
_BETWEEN = " | "  # classes of a set


def sets_out_of_fold(rows: Predictions, coverage: float) -> Sets:
    """The classes left open (r, C) of each row, by scores of the other folds of its repeat, and of other patients."""
    found = np.zeros(rows.probabilities.shape, np.bool_)
    classes = [str(place) for place in range(rows.probabilities.shape[1])]
    for part in rows.by_fold():
        here = (rows.repeat == part.repeat[0]) & (rows.fold == part.fold[0])
        found[here] = scores_of(_apart_from(part, rows), classes, coverage).sets(part.probabilities)
    return found


def _apart_from(part: Predictions, rows: Predictions) -> Predictions:
    """The rows of the other folds of a fold's repeat, without its patients."""
    patients = set(part.patients)
    apart = np.array([name not in patients for name in rows.patients], np.bool_)
    return rows.rows((rows.repeat == part.repeat[0]) & (rows.fold != part.fold[0]) & apart)


def abstains(sets: Sets, predicted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a slide is left undecided (s,): its set is not exactly the class that is called."""
    called = np.zeros_like(sets)
    called[np.arange(len(predicted)), predicted] = True
    return np.asarray((sets != called).any(axis=1), np.bool_)


def cells_of(left_open: NDArray[np.bool_], predicted: int, classes: Sequence[str]) -> tuple[str, str]:
    """Cells of the columns `set` (classes, empty where all are excluded) and `abstained` of one slide (C,)."""
    names = [name for name, is_open in zip(classes, left_open.tolist(), strict=True) if is_open]
    undecided = bool(abstains(left_open[None], np.array([predicted]))[0])
    return _BETWEEN.join(names), "true" if undecided else "false"


def summarise_abstention(rows: Predictions, classes: Sequence[str], coverage: float) -> dict[str, Any]:
    """`abstention` of metrics.json.

    Returns:
        `coverage` that was asked for; `covered`: the share of slides, and `covered_patients`: of patients (in all of
        their slides), whose class is in the set; `per_class`: `covered` slides and `patients` of each class that give
        scores; `abstained`: the share of slides left undecided; `accuracy_decided` of the others, None without one;
        `remark`: what keeps the sets from deciding.
    """
    sets = sets_out_of_fold(rows, coverage)
    covered = sets[np.arange(len(rows.labels)), rows.labels]
    undecided = abstains(sets, rows.predicted)
    right = (rows.predicted == rows.labels)[~undecided]
    scores = scores_of(rows, classes, coverage)
    per_class = {
        name: {"covered": _share(covered[rows.labels == place]), "patients": len(scores.scores[place])}
        for place, name in enumerate(classes)
    }
    return {
        "coverage": coverage,
        "covered": _share(covered),
        "covered_patients": _share(_whole(rows, covered)),
        "per_class": per_class,
        "abstained": _share(undecided),
        "accuracy_decided": _share(right),
        "remark": _remark(rows, classes, coverage),
    }


def abstention_note(summary: Mapping[str, Any]) -> str | None:
    """The line below the tables; None where `abstain` is not set."""
    found = summary.get("abstention")
    if found is None:
        return None
    each = ", ".join(f"{name} {_number(one['covered'])}" for name, one in found["per_class"].items())
    line = (
        f"abstain at a coverage of {found['coverage']:g}: the set held the class of {_number(found['covered'])} of the "
        f"slides ({each}), of all slides of {_number(found['covered_patients'])} of the patients; "
        f"{_number(found['abstained'])} of the slides are abstained from, accuracy of the others "
        f"{_number(found['accuracy_decided'])}"
    )
    return f"{line}; {found['remark']}" if found["remark"] else line


def _remark(rows: Predictions, classes: Sequence[str], coverage: float) -> str | None:
    """Which classes have too few patients in the other folds for some fold, and what follows from it."""
    least: dict[str, int] = {}
    needed = 0
    for part in rows.by_fold():
        scores = scores_of(_apart_from(part, rows), classes, coverage)
        needed = scores.least_patients
        for name, found in zip(classes, scores.scores, strict=True):
            least[name] = min(least.get(name, len(found)), len(found))
    few = {name: number for name, number in least.items() if number < needed}
    if not few:
        return None
    said = ", ".join(f"{name} {number}" for name, number in few.items())
    so = "every slide is abstained from" if len(few) == len(classes) else "these classes are in every set"
    return f"too few patients in the other folds for this coverage, which takes {needed} of a class ({said}): {so}"


def _whole(rows: Predictions, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of each patient and repeat whether all of its slides are covered."""
    found: dict[tuple[str, int], bool] = {}
    for name, repeat, one in zip(rows.patients, rows.repeat.tolist(), covered.tolist(), strict=True):
        found[name, repeat] = found.get((name, repeat), True) and one
    return np.array(list(found.values()), np.bool_)


def _share(flags: NDArray[np.bool_]) -> float | None:
    return round(float(flags.mean()), 6) if len(flags) else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
