"""Conformal sets: the classes that cannot be excluded at a stated coverage, by out-of-fold scores of patients.

Class-conditional (Mondrian) conformal prediction with the nonconformity 1 - p of the class (Vovk, Gammerman and Shafer
2005, chapter 4), its scores from cross-validation (cross-conformal: Vovk 2015, Ann. Math. Artif. Intell. 74, 9).
Patients are exchangeable, their slides are not: a patient has one score in each class that its slides have, the largest
of them.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.metrics import Predictions
from sammil_cli.training.thresholds import Probabilities, Values

Sets = NDArray[np.bool_]  # (s, C): whether the class is left open

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class ConformalScores:
    """What a model's sets are made with.

    `classes`: of the model, in order. `scores`: of each class 1 - p of its patients, rising; p is calibrated and
    out-of-fold. `coverage`: the share of patients, of each class, whose class the sets are to hold.
    """

    classes: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    coverage: float

    @property
    def limits(self) -> Values:
        """The largest nonconformity (C,) that is left open: the ceil((n + 1) coverage)-th score of the n of a class.

        Infinite, so that the class is in every set, where a class has too few patients for the coverage.
        """
        found = []
        for scores in self.scores:
            place = math.ceil((len(scores) + 1) * self.coverage - _ROUNDING)
            found.append(scores[place - 1] if place <= len(scores) else math.inf)
        return np.array(found, np.float64)

    @property
    def too_few(self) -> tuple[str, ...]:
        """The classes that no set can exclude."""
        return tuple(np.array(self.classes)[np.isinf(self.limits)].tolist())

    @property
    def least_patients(self) -> int:
        """How many patients of a class the coverage needs: 9 for 0.9, 19 for 0.95."""
        return math.ceil(self.coverage / (1 - self.coverage) - _ROUNDING)

    def sets(self, probabilities: Probabilities) -> Sets:
        """The classes that are left open (s, C), of calibrated probabilities (s, C)."""
        return np.asarray(1 - probabilities <= self.limits, np.bool_)

    def as_json(self) -> dict[str, Any]:
        """Plain lists and numbers, for a file; `of_json` gives the scores back."""
        scores = dict(zip(self.classes, map(list, self.scores), strict=True))
        return {"coverage": self.coverage, "scores": scores}

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> "ConformalScores":
        """Raises `ValueError`, `KeyError` or `TypeError` where a record is not as `as_json` gives it."""
        coverage = float(record["coverage"])
        scores = tuple(tuple(float(score) for score in found) for found in record["scores"].values())
        if not 0 < coverage < 1 or not all(0 <= score <= 1 for found in scores for score in found):
            raise ValueError("a coverage or a score is not between 0 and 1")
        if any(list(found) != sorted(found) for found in scores):
            raise ValueError("the scores do not rise")
        return cls(classes=tuple(map(str, record["scores"])), scores=scores, coverage=coverage)


def scores_of(rows: Predictions, classes: Sequence[str], coverage: float) -> ConformalScores:
    """The scores of out-of-fold predictions; with several repeats a slide has the mean of its probabilities.

    A patient whose slides have several labels counts in each class, with the slides of that label.
    """
    of_slide = defaultdict[tuple[str, int, str], list[float]](list)
    own = rows.probabilities[np.arange(len(rows.labels)), rows.labels]
    for patient, label, slide, p in zip(rows.patients, rows.labels.tolist(), rows.slides, own.tolist(), strict=True):
        of_slide[patient, label, slide].append(p)
    worst = dict[tuple[str, int], float]()
    for (patient, label, _), found in of_slide.items():
        score = min(max(1 - math.fsum(found) / len(found), 0.0), 1.0)
        worst[patient, label] = max(worst.get((patient, label), 0.0), score)
    scores = (sorted(score for (_, label), score in worst.items() if label == place) for place in range(len(classes)))
    return ConformalScores(classes=tuple(classes), scores=tuple(map(tuple, scores)), coverage=coverage)
