"""Runs as `sammil evaluate` leaves them, made up: predictions.csv, and thresholds for patients where asked for."""

from collections.abc import Sequence
from pathlib import Path

from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.files import write_csv

CLASSES = ("normal", "tumour")


def write_run(project: Path, rows: Predictions, *, classes: Sequence[str] = CLASSES, protocol: str = "honest") -> Path:
    """Writes runs/predictions.csv of a project, and returns the project."""
    binary = len(classes) == 2
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "positive_class", "threshold")
    cells = [
        (
            *(rows.slides[at], rows.patients[at], rows.repeat[at], rows.fold[at], "test", classes[rows.labels[at]]),
            *(classes[rows.predicted[at]], (rows.positive_class or "") if binary else "", "0.5" if binary else ""),
            *(f"{value:.6f}" for value in rows.probabilities[at]),
            protocol,
        )
        for at in range(len(rows.slides))
    ]
    path = project / "runs/predictions.csv"
    path.parent.mkdir(parents=True)
    write_csv(path, (*header, *(f"probability_{name}" for name in classes), "protocol"), cells)
    return project


def write_patient_thresholds(project: Path, rows: Predictions, threshold: float, rule: str = "mean") -> None:
    """Writes what `sammil compare` reads of runs/predictions_patients.csv: one threshold for all folds."""
    places = sorted(set(zip(rows.repeat.tolist(), rows.fold.tolist(), strict=True)))
    cells = [(*place, threshold, rule) for place in places]
    write_csv(project / "runs/predictions_patients.csv", ("repeat", "fold", "threshold", "patient_rule"), cells)
