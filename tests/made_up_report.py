"""A report that is made up: what metrics.json holds, its folds, and as many judged slides as a test wants."""

from typing import Any

import numpy as np

from sammil_cli.report.metrics import Predictions
from sammil_cli.report.slide_rows import SlideRow, judged_rows

NAMES = ("auc", "accuracy", "f1")
SUMMARY: dict[str, Any] = {
    "model": "sam-mil",
    "protocol": "honest",
    "positive_class": "tumour",
    "changed_labels": 0,
    "folds": 2,
    "repeats": 1,
    "folds_with_auc": 1,
    "val_auc": {"mean": 0.875, "sd": 0.0},
    "folds_with_val_auc": 1,
    "slides": 23,
    "patients": 19,
    "interval": 0.95,
    "bootstrap_draws": 2000,
    "auc": {"mean": 0.912345, "sd": 0.034567, "pooled": 0.9, "low": 0.81, "high": 0.98765},
    "accuracy": {"mean": 0.8125, "sd": 0.0625, "pooled": 0.8, "low": 0.7, "high": 0.9},
    "f1": {"mean": None, "sd": None, "pooled": None, "low": None, "high": None},
    "auc_delong": {"pooled": 0.9, "low": 0.79, "high": 0.97},
    **{name: {"pooled": 0.25, "low": 0.2, "high": 0.3} for name in ("brier", "brier_calibrated")},
    **{name: {"pooled": 0.125} for name in ("ece", "ece_calibrated")},
    "baselines": {
        "majority": {name: {"mean": 0.5, "sd": 0.0, "pooled": 0.5, "low": 0.5, "high": 0.5} for name in NAMES}
    },
    "notice": None,
    "audit": {
        "choices": [
            {"what": "epoch", "on": "the validation part", "slides": [3, 4], "patients": [3, 3], "test_slides": 0},
            {"what": "settings, seed", "on": "not recorded", "slides": None, "patients": None, "test_slides": None},
        ],
        "shared_patients": {"train-test": 0, "val-test": 0, "train-val": 0},
        **{name: {"test_slides": 0, "of": 23} for name in ("patients_in_names", "near_duplicates", "seen_sites")},
        "sites": 0,
        "beside": {"site-only": {"difference": -0.125, "low": -0.25, "high": 0.0625}},
        "left_out": ["brightness-only: no <picture>"],
        "warnings": [],
    },
    "per_site": {},
}
FOLDS = [
    {"repeat": 0, "fold": 0, "test slides": 11, "val AUC": None, "threshold": 0.4567, "auc": 0.95},
    {"repeat": 0, "fold": 1, "test slides": 12, "val AUC": 0.875, "threshold": None, "auc": float("nan")},
]
CLASSES = ("normal", "tumour")


def predictions(count: int, *, named: dict[int, str] | None = None) -> Predictions:
    """Slides of five folds and one threshold (0.5), two of a patient; one in ten is called wrong.

    Args:
        named: names of some slides in place of `slide_007`.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    predicted = np.where(np.arange(count) % 10 == 7, 1 - labels, labels)
    score = 0.5 + (predicted - 0.5) * rng.uniform(0.05, 1, count)
    return Predictions(
        slides=tuple((named or {}).get(number, f"slide_{number:03d}") for number in range(count)),
        patients=tuple(f"P{number // 2:03d}" for number in range(count)),
        repeat=np.zeros(count, np.int64),
        fold=np.arange(count) % 5,
        labels=labels,
        predicted=predicted,
        probabilities=np.stack([1 - score, score], axis=1),
        positive_class=CLASSES[1],
    )


def slide_rows(rows: Predictions) -> list[SlideRow]:
    """The rows of a table; every third slide has a remark."""
    remarks = {name: ["pen: 1.5% of the slide"] for name in rows.slides[::3]}
    return judged_rows(rows, CLASSES, {(0, fold): 0.5 for fold in range(5)}, remarks)
