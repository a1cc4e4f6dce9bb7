"""The curves of `sammil evaluate`: as CSV for `dvc plots`, as PNG for the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sammil_cli.report import figures, metrics
from sammil_cli.report.curve_bands import pr_bands, roc_bands
from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.files import write_csv
from sammil_cli.training.thresholds import Labels, Values

_Points = list[tuple[str, float, float]]
_ROC, _PR = ("false positive rate", "true positive rate"), ("recall", "precision")


def write_curves(
    folder: Path, new: Callable[[Path], Path], rows: Predictions, classes: tuple[str, ...], *, level: float, draws: int
) -> dict[str, bytes]:
    """Curves of class 1, or of each class against the rest; returns title -> PNG.

    Args:
        level, draws: of the bands around the pooled curves.
    """
    roc, pr = of_folds(rows, classes, metrics.roc_points), of_folds(rows, classes, metrics.pr_points)
    pairs = [(classes[label], classes[choice]) for label, choice in zip(rows.labels, rows.predicted, strict=True)]
    # DVC draws one line per file: the mean of the folds; the page shows each fold, and all test parts together.
    write_csv(new(folder / "roc.csv"), ("false_positive_rate", "true_positive_rate"), metrics.mean_curve(roc))
    write_csv(new(folder / "pr.csv"), ("recall", "precision"), metrics.mean_curve(pr))
    write_csv(new(folder / "confusion.csv"), ("actual", "predicted"), pairs)
    bands = roc_bands(rows, classes, level=level, draws=draws), pr_bands(rows, classes, level=level, draws=draws)
    return {
        f"ROC{_positive(rows)}": figures.pooled_curves(roc, bands[0], _ROC, diagonal=True),
        f"Precision and recall{_positive(rows)}": figures.pooled_curves(pr, bands[1], _PR, diagonal=False),
        "Confusion": _drawn_confusion(rows, classes),
    }


def patient_figures(rows: Predictions, classes: tuple[str, ...], *, level: float, draws: int) -> dict[str, bytes]:
    """ROC and confusion of rows of patients, title -> PNG; `level`, `draws` as of `write_curves`."""
    bands = roc_bands(rows, classes, level=level, draws=draws)
    roc = of_folds(rows, classes, metrics.roc_points)
    return {
        f"ROC per patient{_positive(rows)}": figures.pooled_curves(roc, bands, _ROC, diagonal=True),
        "Confusion per patient": _drawn_confusion(rows, classes),
    }


def of_folds(
    rows: Predictions, classes: Sequence[str], points: Callable[[Labels, Values], list[tuple[float, float]]]
) -> _Points:
    """Fold (and class, of more than two), x and y of each curve."""
    found: _Points = []
    for part in rows.by_fold():
        for index in [1] if len(classes) == 2 else range(len(classes)):
            name = f"fold {part.repeat[0]}.{part.fold[0]}"
            name += "" if len(classes) == 2 else f", {classes[index]}"
            truth = (part.labels == index).astype(np.int64)
            found += [(name, x, y) for x, y in points(truth, part.probabilities[:, index])]
    return found


def _drawn_confusion(rows: Predictions, classes: tuple[str, ...]) -> bytes:
    return figures.confusion(metrics.confusion(rows.labels, rows.predicted, len(classes)), classes)


def _positive(rows: Predictions) -> str:
    return f", positive class: {rows.positive_class}" if rows.positive_class else ""
