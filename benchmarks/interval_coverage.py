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
from sammil_cli.report.paired_tests import delong_test, holm, mcnemar
from sammil_cli.report.recalibration import recalibration
from sammil_cli.report.spread import difference_of

LEVEL = 0.95
SLOPE = 1.5  # probability = expit(SLOPE * score): a model that is a little too sure
ALIKE = 0.7  # share of a slide's noise that all slides of its patient have, where patients have several
SHARED, OF_MODEL = 0.5, 0.2  # of the noise: what all models see, and what one model sees in each training
REPEATS = (1, 2, 5)
TRAINING = 0.25  # sd over trainings of the distance of the classes; at an AUC of .8 its sd is about .05
APART = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "brier")  # of an external cohort
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
        wrong["Holm"] += any(p < 1 - LEVEL for p in holm([one["auc"].p for one in found]))
        wrong["unadjusted"] += any(one["auc"].p < 1 - LEVEL for one in found)
    found_wrong = {name: _share(count, runs) for name, count in wrong.items()}
    return found_wrong if family > 1 else found_wrong | {"Holm": "–", "unadjusted": "–"}


def held_tests(cohort: Cohort, training: float, runs: int) -> dict[str, str]:
    """How often DeLong's and McNemar's test find two models of the same truth to differ, in percent; 5 is wanted."""
    rng = np.random.default_rng([cohort.patients, cohort.positive, cohort.most, int(1000 * training)])
    wrong = np.zeros(2, np.int64)
    for _ in range(runs):
        one, other = judged(cohort, 0.8, rng, models=2, training=training)
        wrong[0] += delong_test(one.labels, one.probabilities[:, 1], other.probabilities[:, 1]) < 1 - LEVEL
        wrong[1] += mcnemar(one.labels, one.predicted, other.predicted) < 1 - LEVEL
    return {"DeLong": _share(int(wrong[0]), runs), "McNemar": _share(int(wrong[1]), runs)}


def apart(patients: int, most: int, runs: int, draws: int) -> dict[str, str]:
    """How often intervals of an external cohort hold the truth, in percent: external minus internal, recalibration.

    Internal: 200 patients, AUC .9; external: AUC .8, each patient positive with chance 1/2.
    """
    rng = np.random.default_rng([patients, most])
    inside = Cohort(patients=200, share=1 / 2, most=most)
    half = Cohort(patients=patients, share=1 / 2, most=most)
    wanted = {name: truth(half, 0.8)[name] - truth(inside, 0.9)[name] for name in APART}
    slope = math.sqrt(2) * norm.ppf(0.8) / SLOPE
    held: dict[str, int] = defaultdict(int)
    there = 0
    for _ in range(runs):
        share = rng.binomial(patients, 1 / 2) / patients
        (internal,) = judged(inside, 0.9, rng)
        (external,) = judged(Cohort(patients=patients, share=share, most=most), 0.8, rng)
        beside = [bootstrap(rows, level=LEVEL, draws=draws) for rows in (internal, external)]
        for name in APART:
            found = difference_of(*(of_cohort[name] for of_cohort in beside))
            held[name] += found.low <= wanted[name] <= found.high
        fitted = recalibration(external, level=LEVEL, draws=draws)
        there += not math.isnan(fitted["slope"].low)
        held["intercept"] += fitted["intercept"].low <= 0 <= fitted["intercept"].high
        held["slope"] += fitted["slope"].low <= slope <= fitted["slope"].high
    cells = {name: _share(held[name], runs) for name in (*APART, "intercept")}
    return cells | {"slope": _share(held["slope"], there) + ("" if there == runs else f" of {there}")}


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}" if of else "–"


def _print(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(header) + " |", "|" + "---|" * len(header), sep="\n")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cohorts, of 20 and 50 patients")
    parser.add_argument("--only", choices=("intervals", "differences", "tests", "external"))
    asked = parser.parse_args()
    patients, draws = ((20, 50), 100) if asked.quick else ((20, 50, 200), 200)
    first = ("patients", "positive", "slides of each")
    if asked.only in (None, "intervals"):
        columns = ("auc", "DeLong", "accuracy", "f1", "balanced_accuracy", "sensitivity", "brier")
        drawn = ((one, area) for one in cohorts(patients) for area in (0.75, 0.9))
        found = ((one, area, coverage(one, area, 40 if asked.quick else 400, draws)) for one, area in drawn)
        rows = ((str(one), str(area), *(cells[name] for name in columns)) for one, area, cells in found)
        _print((*first, "true AUC", *columns), rows)
    if asked.only in (None, "external"):
        rows = (
            (str(count), str(most), *apart(count, most, 40 if asked.quick else 400, draws).values())
            for count in patients
            for most in (1, 5)
        )
        _print(("external patients", "slides up to", *APART, "intercept", "slope"), rows)
    if asked.only in (None, "tests"):
        found = (
            (one, *(held_tests(one, sd, 40 if asked.quick else 500) for sd in (0.0, TRAINING)))
            for one in cohorts(patients)
        )
        rows = ((str(one), *alone.values(), *moved.values()) for one, alone, moved in found)
        _print((*first, "DeLong", "McNemar", "DeLong, training", "McNemar, training"), rows)
    if asked.only in (None, "differences"):
        columns = (*METRICS, "held", "unadjusted", "Holm")
        drawn = ((one, TRAINING, repeats) for one in cohorts(patients) for repeats in REPEATS)
        found = (
            (*one, sizes(*one, 20 if asked.quick else 100 if one[0].patients == 200 else 200, 100)) for one in drawn
        )
        rows = ((str(one), str(r), *(cells[name] for name in columns)) for one, _, r, cells in found)
        _print((*first, "repeats", *columns), rows)


if __name__ == "__main__":
    main()
