"""The conformal scores of trained models, from what `sammil evaluate` wrote of just these with `abstain` set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sammil_cli.bundles.ensemble import TrainedFold, Verdict
from sammil_cli.bundles.performance import are_of
from sammil_cli.errors import InputError
from sammil_cli.report.abstention import cells_of
from sammil_cli.report.conformal import ConformalScores, scores_of
from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.files import read_csv


def scores_beside(predictions: Path, folds: Sequence[TrainedFold]) -> ConformalScores | None:
    """The scores; None where nothing was evaluated, without `abstain`, or of other models than these.

    Args:
        predictions: runs/predictions.csv. folds: all models of the run.

    Raises:
        InputError: the table is not as `sammil evaluate` writes it.
    """
    rows = read_csv(predictions, ()) if predictions.is_file() else []
    if not rows or "coverage" not in rows[0] or not are_of(rows, folds):
        return None
    classes = folds[0].facts.classes
    try:
        found = Predictions(
            slides=tuple(row["slide_id"] for row in rows),
            patients=tuple(row["patient_id"] for row in rows),
            repeat=np.array([int(row["repeat"]) for row in rows], np.int64),
            fold=np.array([int(row["fold"]) for row in rows], np.int64),
            labels=np.array([classes.index(row["label"]) for row in rows], np.int64),
            predicted=np.array([classes.index(row["predicted"]) for row in rows], np.int64),
            probabilities=np.array([[float(row[f"probability_{name}"]) for name in classes] for row in rows]),
        )
        return scores_of(found, classes, float(rows[0]["coverage"]))
    except (KeyError, ValueError) as error:
        raise InputError(f"{predictions}: {error}", remedy="run: sammil evaluate") from None


def left_open(verdict: Verdict, scores: ConformalScores) -> tuple[str, str]:
    """The cells `set` and `abstained` of a verdict, see `report.abstention.cells_of`."""
    classes = list(verdict.probability)
    sets = scores.sets(np.array([list(verdict.probability.values())], np.float64))
    return cells_of(sets[0], classes.index(verdict.predicted), classes)


def remark_on(verdict: Verdict, scores: ConformalScores) -> tuple[str, ...]:
    """That a slide is better left undecided, and why; empty where it is decided."""
    classes, abstained = left_open(verdict, scores)
    if abstained == "false":
        return ()
    why = f"left open: {classes}" if classes else "it is like none of the classes"
    return (f"abstained: at a coverage of {scores.coverage:g} {why}",)
