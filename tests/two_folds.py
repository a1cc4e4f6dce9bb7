"""Predictions of eight slides in two folds, made by hand."""

import numpy as np

from sammil_cli.report.metrics import Predictions


def judged(scores: list[float], labels: list[int]) -> Predictions:
    """Two folds of slides, each its own patient; positive from 0.5 on."""
    count, values = len(scores), np.array(scores)
    names = tuple(f"s{i}" for i in range(count))
    return Predictions(
        slides=names,
        patients=names,
        repeat=np.zeros(count, np.int64),
        fold=np.arange(count) * 2 // count,
        labels=np.array(labels),
        predicted=(values >= 0.5).astype(np.int64),
        probabilities=np.stack([1 - values, values], axis=1),
    )


LABELS = [0, 0, 1, 1, 0, 0, 1, 1]
PERFECT = judged([0.1, 0.2, 0.8, 0.9, 0.1, 0.2, 0.8, 0.9], LABELS)
POOR = judged([0.1, 0.9, 0.2, 0.8, 0.1, 0.9, 0.2, 0.8], LABELS)  # AUC 0.5 in each fold: 2 of 4 pairs in order
