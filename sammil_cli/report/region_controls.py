"""Does it matter where regions lie? They beside as many and as large ones that were moved at random, the placebo."""

from collections.abc import Mapping, Sequence

from sammil_cli.regions.placebo import Moved
from sammil_cli.report.ablation import in_points
from sammil_cli.report.comparison import (
    HIGHER,
    LIKE_ANOTHER_SEED,
    LOWER,
    ONE_REPEAT,
    Comparison,
    compare_predictions,
    verdict,
)
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.region_ablation import PLACEBO, Quality, spread
from sammil_cli.report.tables import Table, of_class

TRUE_REGIONS = "true regions"  # a row


def placebo_table(
    baseline: Predictions,
    found: Mapping[str, Predictions],
    reference: str,
    other_seed: Predictions | None,
    *,
    level: float,
    draws: int,
) -> Table:
    """What grouping is worth, and what it is worth that the groups are these; below it in words, see `answer`.

    Args:
        baseline: of the row without regions. found: of the others, `PLACEBO` and the reference among them, on the same
            slides and folds.
        reference: the proposer whose regions were moved. other_seed: that of it; None = not trained.
    """
    placebo = found[PLACEBO]

    def minus(first: Predictions, second: Predictions) -> Comparison:
        return compare_predictions(second, first, "auc", level=level, draws=draws)

    gap = minus(found[reference], placebo)
    seed = None if other_seed is None else minus(other_seed, found[reference])
    rows = [
        ("grouping, wherever the regions lie", f"{PLACEBO} minus no regions", minus(placebo, baseline)),
        (f"where the regions of {reference} lie", f"{reference} minus {PLACEBO}", gap),
    ]
    if TRUE_REGIONS in found:
        gained = minus(found[TRUE_REGIONS], placebo)
        rows.append(("where lesions were drawn", f"{TRUE_REGIONS} minus {PLACEBO}", gained))
    return Table(
        title=of_class("Does it matter where regions lie?", baseline.positive_class),
        header=("what is measured", "rows", f"difference of AUC [{level:.0%}]"),
        rows=[(what, pair, in_points(one.value)) for what, pair, one in rows],
        note=f"{answer(reference, gap.value, verdict(gap, seed))}\nAll × 100, on the same slides, patches and folds. "
        f"The placebo has as many regions as {reference}, each as large, laid at random over the tissue. Intervals: "
        "patients drawn anew, and with two repeats or more models and folds.",
    )


def answer(reference: str, gap: Estimate, shown: str) -> str:
    """What the reference's AUC minus that of its placebo lets one say, in a plain sentence.

    Args:
        shown: the word of `report.comparison.verdict`.
    """
    low, high = 100 * gap.low, 100 * gap.high
    if not low <= high:  # NaN
        return f"Does it matter where the regions of {reference} lie? This cohort gives no interval."
    span = f"{low:+.1f} to {high:+.1f} points of AUC"
    if shown == HIGHER:
        return f"It mattered here where the regions of {reference} lie: against its placebo {span}."
    if shown == LOWER:
        return f"The regions of {reference} did worse here than the same ones moved at random: {span}."
    if shown in (ONE_REPEAT, LIKE_ANOTHER_SEED):
        why = "one repeat says nothing of another training; set repeats to 3 or more"
        why = why if shown == ONE_REPEAT else f"another seed alone may move {reference} as far"
        asked = f"Whether it matters where the regions of {reference} lie"
        return f"{asked} is not shown: against its placebo {span}, but {why}."
    return (
        f"This cohort does not show that it matters where the regions of {reference} lie: against its placebo {span}. "
        "Nor does it show that it does not matter, beyond that range."
    )


def drawn_note(drawn: int, slides: int, reference: str) -> str:
    """What the row of true regions is made of, and why it is an upper bound."""
    return (
        f"True regions: {drawn} of {slides} slides have drawn lesions, which are cut into the regions of {reference}; "
        "the others keep those. They were drawn by somebody who knew the answer: the row says what regions could give "
        "at most. New slides come without such drawings."
    )


def moved_table(reference: str, moved: Sequence[Moved], before: Sequence[Quality], after: Sequence[Quality]) -> Table:
    """What moving the regions has kept: medians over slides, and in brackets the middle 90 % of slides.

    Args:
        before, after: the records of `features.quality` with the regions of the reference and with the moved ones, of
            the same slides.
    """

    def held(records: Sequence[Quality]) -> list[float]:
        return [100 * (1 - one["no_region"]) for one in records]

    ratios = [
        one["group_features"] / other["group_features"]
        for one, other in zip(after, before, strict=True)
        if other["group_features"]
    ]
    areas = [one.area_ratio for one in moved if one.area_ratio is not None]
    shares = [100 * one.as_drawn for one in moved if one.as_drawn is not None]
    columns: dict[str, tuple[Sequence[float], str]] = {
        "regions": ([one.regions for one in moved], "{:.0f}"),
        "area, after / before": (areas, "{:.3f}"),
        "with patches, after / before": (ratios, "{:.2f}"),
        "patches in a region before, %": (held(before), "{:.1f}"),
        "after, %": (held(after), "{:.1f}"),
        "in the moved shape, %": (shares, "{:.0f}"),
        "same company": ([one.agreement for one in moved], "{:.2f}"),
    }
    return Table(
        title="What the placebo has kept",
        header=("placebo of", *columns),
        rows=[(reference, *(spread(values, form) for values, form in columns.values()))],
        note="Per slide: the median over slides [5 %, 95 % of slides]; each slide is in ablation.json. In the moved "
        "shape: the rest of a region's pixels gave way to other regions, and lies next to it. Same company: adjusted "
        "Rand index of the tissue's pixels by region, before and after; 0.4 is usual, since regions are compact (4/9 "
        "for squares of one size). Near 1 the regions fill the tissue and could not be moved, so that placebo and "
        "reference are much the same.",
    )
