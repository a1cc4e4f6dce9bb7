"""Logistic regression on one vector of each slide (the mean of its patches, or a slide embedding), fold by fold."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.legacy.slide_vectors import read_slide_vectors
from sammil_cli.runner.worker import forget_peak, peak_bytes
from sammil_cli.storage.paths import BagFolderPath
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.baselines import judge_of_fold, mean_features
from sammil_cli.training.decision import Decision
from sammil_cli.training.fold import Fold
from sammil_cli.training.thresholds import Values, decide

MOST_TIMED = 30  # slides
_TIMES = 3


@dataclass(frozen=True, kw_only=True)
class LogisticJob:
    """All folds of one cohort. `folder`: of bags, whose patches are averaged, or of slide embeddings.

    `decision`: what thresholds are chosen for.
    """

    folds: tuple[Fold, ...]
    labels: Mapping[str, int]
    classes: int
    folder: Path
    embeddings: bool
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class LogisticResult:
    """What it says of each fold's test slides, in their order, and what it cost.

    probabilities: (s, C) by fold; predicted: (s,) by fold. `ms`: see `median_ms`; `peak_bytes`: None = not known.
    """

    probabilities: tuple[Values, ...]
    predicted: tuple[NDArray[np.int64], ...]
    parameters: int
    ms: float
    peak_bytes: int | None


def work(job: LogisticJob) -> LogisticResult:
    """Fits and judges every fold; one thread."""
    torch.set_num_threads(1)
    counted = forget_peak()
    slides = sorted({slide for fold in job.folds for part in (fold.train, fold.val, fold.test) for slide in part})
    bags = None if job.embeddings else BagFolder(BagFolderPath(job.folder), "cpu")
    vectors = read_slide_vectors(job.folder, slides) if bags is None else mean_features(bags.read, slides)
    probabilities, predicted = [], []
    for fold in job.folds:
        judge, threshold = judge_of_fold(vectors, job.labels, fold, job.classes, job.decision)
        said = judge(np.stack([vectors[slide] for slide in fold.test]))
        probabilities.append(said)
        predicted.append(decide(said, threshold))

    def timed(slide: str) -> Callable[[], object]:
        if bags is None:
            return lambda: judge(vectors[slide][None])
        features = bags.read(slide).features
        return lambda: judge(features.mean(axis=0, dtype=np.float64)[None])

    width = len(vectors[slides[0]])
    return LogisticResult(
        probabilities=tuple(probabilities),
        predicted=tuple(predicted),
        parameters=(width + 1) * (1 if job.classes == 2 else job.classes),
        ms=median_ms([timed(slide) for slide in job.folds[0].test[:MOST_TIMED]]),
        peak_bytes=(peak_bytes() or None) if counted else None,
    )


def median_ms(judged: list[Callable[[], object]]) -> float:
    """Median over slides of the milliseconds that judging one takes.

    Each is judged once before, which brings its bag into memory; of the next three times the shortest counts, since
    other work on the machine can only lengthen one.
    """
    found = []
    for judge in judged:
        judge()
        times = []
        for _ in range(_TIMES):
            begun = time.perf_counter()
            judge()
            times.append(1000 * (time.perf_counter() - begun))
        found.append(min(times))
    return statistics.median(found)
