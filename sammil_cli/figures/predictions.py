"""The out-of-fold predictions that `sammil evaluate` wrote, as numbers again."""

from pathlib import Path

import numpy as np

from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.files import read_csv

_HEADER = ("slide_id", "patient_id", "repeat", "fold", "label", "predicted", "positive_class")
_PROBABILITY = "probability_"


def read_predictions(training: Path) -> Predictions:
    """The predictions in a folder that `sammil train` and `sammil evaluate` wrote.

    Raises:
        InputError: it has none, or `E_DAMAGED`.
    """
    path = training / "predictions.csv"
    if not path.is_file():
        name = training.name or "study"
        fix = f"run: sammil evaluate --runs {training} --out report/{name}"
        raise InputError(f"{path} is missing: nothing was judged", remedy=fix)
    rows = read_csv(path, _HEADER)
    classes = [name.removeprefix(_PROBABILITY) for name in (rows[0] if rows else ()) if name.startswith(_PROBABILITY)]
    number = {name: index for index, name in enumerate(classes)}
    try:
        return Predictions(
            slides=tuple(row["slide_id"] for row in rows),
            patients=tuple(row["patient_id"] for row in rows),
            repeat=np.array([int(row["repeat"]) for row in rows], np.int64),
            fold=np.array([int(row["fold"]) for row in rows], np.int64),
            labels=np.array([number[row["label"]] for row in rows], np.int64),
            predicted=np.array([number[row["predicted"]] for row in rows], np.int64),
            probabilities=np.array([[float(row[_PROBABILITY + name]) for name in classes] for row in rows], np.float64),
            positive_class=rows[0]["positive_class"] or None,
        )
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} is no table of predictions: {error!r}",
            remedy=f"run: sammil evaluate --runs {training}",
            code="E_DAMAGED",
        ) from None
