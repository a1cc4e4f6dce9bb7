"""Made-up runs whose truth is known: normal scores of patients and slides, models and trainings."""

import math

import numpy as np
from scipy.stats import norm

from sammil_cli.report.metrics import Predictions


def two_runs(
    patients: int, *, seed: int, areas: tuple[float, float] = (0.8, 0.8), repeats: int = 1, most_slides: int = 1
) -> tuple[Predictions, Predictions]:
    """Two models judged on the same slides and folds, each trained anew in every repeat; every second patient positive.

    Args:
        areas: true AUC of both.
    """
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, most_slides + 1, patients))
    common, labels = rng.normal(size=patients)[of], of % 2
    runs = []
    for area in areas:
        score = np.concatenate(
            [
                math.sqrt(2) * norm.ppf(area) * (labels - 0.5)
                + math.sqrt(0.5) * common
                + math.sqrt(0.5) * rng.normal(size=len(of))
                for _ in range(repeats)
            ]
        )
        positive = 1 / (1 + np.exp(-score))
        runs.append(
            Predictions(
                slides=tuple(f"s{i}" for i in range(len(of))) * repeats,
                patients=tuple(f"p{i}" for i in of) * repeats,
                repeat=np.repeat(np.arange(repeats), len(of)),
                fold=np.tile(of % 5, repeats),
                labels=np.tile(labels, repeats),
                predicted=(positive >= 0.5).astype(np.int64),
                probabilities=np.stack([1 - positive, positive], axis=1),
                positive_class="tumour",
            )
        )
    return runs[0], runs[1]
