"""Statistics on cohorts whose truth is known: how often intervals hold it, and how often tests err.

Prints the tables of docs/evaluation.md as Markdown. Scores are normal; models differ in what all trainings share, in
what one training does to single slides, and in how well a training went as a whole.

    python benchmarks/interval_coverage.py            # some minutes
    python benchmarks/interval_coverage.py --quick    # fewer cohorts
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from scipy.stats import norm

from sammil_cli.report.comparison import METRICS, compare_metrics
from sammil_cli.report.intervals import bootstrap, delong, metrics_of_draws, percentiles
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.paired_tests import holm

LEVEL = 0.95
SLOPE = 1.5  # probability = expit(SLOPE * score): a model that is a little too sure
ALIKE = 0.7  # share of a slide's noise that all slides of its patient have, where patients have several
SHARED, OF_MODEL = 0.5, 0.2  # of the noise: what all models see, and what one model sees in each training
REPEATS = (1, 2, 5)
FAMILY = 4  # models beside the reference, for Holm


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Patients, the share of them that is positive, slides of each (1 to `most`)."""

    patients: int
    share: float
    most: int

    @property
    def positive(self) -> int:
        """Positive patients, two at least."""
        return max(2, round(self.patients * self.share))

    def __str__(self) -> str:
        slides = "1" if self.most == 1 else f"1 to {self.most}"
        return f"{self.patients} | {self.positive} | {slides}"


def cohorts(sizes: Sequence[int]) -> Iterator[Cohort]:
    """Every size, balanced and 1:10, with one slide and with several."""
    for patients in sizes:
        for share in (1 / 2, 1 / 11):
            for most in (1, 5):
                yield Cohort(patients=patients, share=share, most=most)


def judged(
    cohort: Cohort, area: float, rng: np.random.Generator, *, models: int = 1, repeats: int = 1, training: float = 0.0
) -> list[Predictions]:
    """Models of the same true AUC, on the same slides and folds.

    Args:
        training: sd over trainings of the distance of the two classes' mean scores.
    """
    count = cohort.patients
    of = np.repeat(np.arange(count), rng.integers(1, cohort.most + 1, count))
    labels = (of < cohort.positive).astype(np.int64)
    alike = ALIKE if cohort.most > 1 else 0.0

    def noise() -> np.ndarray:
        return math.sqrt(alike) * rng.normal(size=count)[of] + math.sqrt(1 - alike) * rng.normal(size=len(of))

    distance, shared, found = math.sqrt(2) * norm.ppf(area), noise(), []
    for _ in range(models):
        own, scores = noise(), []
        for _ in range(repeats):
            chance = math.sqrt(SHARED) * shared + math.sqrt(OF_MODEL) * own
            chance = chance + math.sqrt(1 - SHARED - OF_MODEL) * noise()
            scores.append((distance + training * rng.normal()) * (labels - 0.5) + chance)
        score = np.concatenate(scores)
        found.append(
            Predictions(
                slides=tuple(f"s{i}" for i in range(len(of))) * repeats,
                patients=tuple(f"p{i}" for i in of) * repeats,
                repeat=np.repeat(np.arange(repeats), len(of)),
                fold=np.tile(of % 5, repeats),
                labels=np.tile(labels, repeats),
                predicted=(score > 0).astype(np.int64),
                probabilities=np.stack([expit(-SLOPE * score), expit(SLOPE * score)], axis=1),
            )
        )
    return found


def truth(cohort: Cohort, area: float) -> dict[str, float]:
    """What each metric would be with endless patients, the share of each class as in the cohort."""
    half, share = norm.ppf(area) / math.sqrt(2), cohort.positive / cohort.patients
    right = float(norm.cdf(half))
    points, weights = hermegauss(60)
    lost = float((weights / weights.sum()) @ expit(-SLOPE * (half + points)) ** 2)  # alike for both classes
    return {
        "auc": area,
        "accuracy": right,
        "f1": 2 * share * right / (2 * share * right + 1 - right),
        "balanced_accuracy": right,
        "sensitivity": right,
        "brier": 2 * lost,
    }


def coverage(cohort: Cohort, area: float, runs: int, draws: int) -> dict[str, str]:
    """How often each interval holds the truth, in percent; beside it in brackets that of percentiles of the draws."""
    rng = np.random.default_rng([cohort.patients, cohort.positive, cohort.most, int(100 * area)])
    held, plain, there = defaultdict(int), defaultdict(int), 0
    wanted, by_delong = truth(cohort, area), 0
    for _ in range(runs):
        (rows,) = judged(cohort, area, rng)
        drawn = metrics_of_draws(rows, rows, draws=draws)[0]
        for name, found in bootstrap(rows, level=LEVEL, draws=draws).items():
            if name in wanted:
                old = percentiles(found.value, drawn[name][0, 1:], LEVEL)
                held[name] += found.low <= wanted[name] <= found.high
                plain[name] += old.low <= wanted[name] <= old.high
        alone = delong(rows.labels, rows.probabilities[:, 1], level=LEVEL)
        there += not math.isnan(alone.low)
        by_delong += alone.low <= area <= alone.high
    cells = {name: f"{_share(held[name], runs)} ({_share(plain[name], runs)})" for name in wanted}
    return cells | {"DeLong": _share(by_delong, there) + ("" if there == runs else f" of {there}")}


def sizes(cohort: Cohort, training: float, repeats: int, runs: int, draws: int) -> dict[str, str]:
    """How often models of the same truth are found to differ, in percent; 5 is wanted.

    Two models; for Holm's p (with the most repeats only, for time) a reference and `FAMILY` others.
    """
    family = FAMILY if repeats == REPEATS[-1] else 1
    rng = np.random.default_rng([cohort.patients, cohort.positive, cohort.most, repeats, int(1000 * training)])
    wrong: dict[str, int] = defaultdict(int)
    for _ in range(runs):
        reference, *others = judged(cohort, 0.8, rng, models=1 + family, repeats=repeats, training=training)
        found = [compare_metrics(reference, one, level=LEVEL, draws=draws) for one in others]
        for name in METRICS:
            wrong[name] += not found[0][name].value.low <= 0 <= found[0][name].value.high
        wrong["held"] += not found[0]["auc"].fixed.low <= 0 <= found[0]["auc"].fixed.high
        wrong["DeLong"] += (found[0]["auc"].delong or math.nan) < 1 - LEVEL
        wrong["McNemar"] += (found[0]["auc"].mcnemar or 0.0) < 1 - LEVEL
        wrong["Holm"] += any(p < 1 - LEVEL for p in holm([one["auc"].p for one in found]))
        wrong["unadjusted"] += any(one["auc"].p < 1 - LEVEL for one in found)
    found_wrong = {name: _share(count, runs) for name, count in wrong.items()}
    return found_wrong if family > 1 else found_wrong | {"Holm": "–", "unadjusted": "–"}


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}" if of else "–"


def _print(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(header) + " |", "|" + "---|" * len(header), sep="\n")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cohorts, of 20 and 50 patients")
    parser.add_argument("--only", choices=("intervals", "tests"))
    asked = parser.parse_args()
    patients, draws = ((20, 50), 100) if asked.quick else ((20, 50, 200), 200)
    first = ("patients", "positive", "slides of each")
    if asked.only != "tests":
        columns = ("auc", "DeLong", "accuracy", "f1", "balanced_accuracy", "sensitivity", "brier")
        drawn = ((one, area) for one in cohorts(patients) for area in (0.75, 0.9))
        found = ((one, area, coverage(one, area, 40 if asked.quick else 400, draws)) for one, area in drawn)
        rows = ((str(one), str(area), *(cells[name] for name in columns)) for one, area, cells in found)
        _print((*first, "true AUC", *columns), rows)
    if asked.only != "intervals":
        columns = (*METRICS, "held", "DeLong", "McNemar", "unadjusted", "Holm")
        drawn = ((one, sd, repeats) for one in cohorts(patients) for sd in (0.0, 0.25) for repeats in REPEATS)
        found = ((*one, sizes(*one, 20 if asked.quick else 200, draws)) for one in drawn)
        rows = ((str(one), str(sd), str(r), *(cells[name] for name in columns)) for one, sd, r, cells in found)
        _print((*first, "training", "repeats", *columns), rows)


if __name__ == "__main__":
    main()
