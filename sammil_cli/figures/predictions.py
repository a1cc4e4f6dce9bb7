"""The out-of-fold predictions that `sammil evaluate` wrote, as numbers again."""

from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.report.metrics import Predictions
from sammil_cli.stages.judged_runs import read_run


def read_predictions(training: Path) -> Predictions:
    """The predictions in a folder that `sammil train` and `sammil evaluate` wrote, or in such a table.

    Raises:
        InputError: it has none, or `E_DAMAGED`.
    """
    path = training if training.is_file() else training / "predictions.csv"
    if not path.is_file():
        name = training.name or "study"
        fix = f"run: sammil evaluate --runs {training} --out report/{name}"
        raise InputError(f"{path} is missing: nothing was judged", remedy=fix)
    try:
        return read_run(path).rows
    except InputError as error:
        fix = f"run: sammil evaluate --runs {path.parent}"
        raise InputError(error.message, remedy=fix, code="E_DAMAGED") from None
