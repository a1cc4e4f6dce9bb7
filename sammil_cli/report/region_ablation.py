"""Do regions help, and whose? Region proposers beside each other: the AUC they lead to, and what they are like."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np

from sammil_cli.report.ablation import OTHER_SEED, comparison, differences
from sammil_cli.report.comparison import HIGHER, LIKE_ANOTHER_SEED, LOWER, ONE_REPEAT
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.tables import Table

NO_REGIONS = "no regions"
_TITLE = "Whose regions?"


Quality = Mapping[str, Any]  # a slide's record, see `features.quality`


def region_table(
    baseline: Predictions,
    found: Mapping[str, Predictions],
    reference: str,
    other_seed: Predictions | None,
    *,
    level: float,
    draws: int,
) -> Table:
    """No regions, then the regions of each proposer; below it in words what this cohort can tell.

    Args:
        baseline: AB-MIL core on patches only. found: the full objective by proposer; all on the same slides and folds.
        reference: the proposer that the others are compared with. other_seed: that of it; None = not trained.
    """
    rows = [(NO_REGIONS, baseline), *found.items(), *([(OTHER_SEED, other_seed)] if other_seed is not None else [])]
    gaps = differences(rows, [label for label, _ in rows].index(reference), level=level, draws=draws)
    slides, patients = len(set(baseline.slides)), len(set(baseline.patients))
    title = f"{_TITLE} ({slides} slides of {patients} patients)"
    seed = gaps[-1] if other_seed is not None else None
    table = comparison(title, rows, gaps, reference, seed, level=level, draws=draws)
    told = [
        verdict(label, gap.value, reference, row[-1])
        for (label, _), gap, row in zip(rows, gaps, table.rows, strict=True)
        if gap is not None and gap is not seed
    ]
    # Lines of their own on the terminal; a page and Markdown run them together.
    return replace(table, note="\n".join([*told, table.note]))


def verdict(label: str, gap: Estimate, reference: str, shown: str) -> str:
    """What an AUC minus that of the reference tells, in a plain sentence.

    Args:
        shown: the word of `report.comparison.verdict`.
    """
    low, high = 100 * gap.low, 100 * gap.high
    if shown == HIGHER:
        return f"{_begun(label)} did better than {reference} here, by {low:.1f} to {high:.1f} points of AUC."
    if shown == LOWER:
        return f"{_begun(label)} did worse than {reference} here, by {-high:.1f} to {-low:.1f} points of AUC."
    if not low <= high:  # NaN
        return f"{_begun(label)} or {reference}: this cohort gives no interval."
    range_of = f"{label} may be {_points(low)} to {_points(high)}"
    if shown == ONE_REPEAT:
        return f"{_begun(label)} or {reference}: {range_of} with these very models; set repeats to 3 or more to know."
    if shown == LIKE_ANOTHER_SEED:
        return f"{_begun(label)} or {reference}: {range_of}, and another seed alone may move {reference} as far."
    alone = ", taken alone" if low > 0 or high < 0 else ""  # p is adjusted for the number of rows
    return f"{_begun(label)} or {reference}: this cohort cannot tell; {range_of}{alone}."


def patches_per_region(record: Quality) -> float | None:
    """Mean members of the regions that have any; a patch counts in each of its regions. None without such regions."""
    held = record["patches"] * (1 - record["no_region"])
    return record["regions_per_patch"] * held / record["group_features"] if record["group_features"] else None


# Column of `quality_table` -> its value in a slide's record, and how it is written.
_COLUMNS: dict[str, tuple[Callable[[Quality], float | None], str]] = {
    "regions": (itemgetter("regions"), "{:.0f}"),
    "with patches": (itemgetter("group_features"), "{:.0f}"),
    "patches in a region": (patches_per_region, "{:.1f}"),
    "patches covered, %": (lambda record: 100 * (1 - record["no_region"]), "{:.1f}"),
    "contrast": (itemgetter("contrast"), "{:.2f}"),
    "of as many squares": (itemgetter("contrast_of_squares"), "{:.2f}"),
}


def quality_table(found: Mapping[str, Sequence[Quality]]) -> Table:
    """What the regions of each proposer are like: medians over slides, and in brackets the middle 90 % of slides.

    Args:
        found: the records of `features.quality` of all slides, by proposer.
    """
    return Table(
        title="What the regions are like",
        header=("proposer", *_COLUMNS),
        rows=[
            (name, *(_spread([value(one) for one in records], form) for value, form in _COLUMNS.values()))
            for name, records in found.items()
        ],
        note="Per slide: the median over slides [5 %, 95 % of slides]. Patches in a region: mean of those that have "
        "any. Covered: share of the patches in any region. Contrast: share of the variance of patch features that lies "
        "between regions rather than within them, adjusted for their number: 0 = regions group nothing that belongs "
        "together, 1 = all in a region is alike. Near patches are alike anyway: the last column is the contrast of as "
        "many plain squares. None of this says whether regions help the diagnosis: the table above does.",
    )


def _spread(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, middle, high = (form.format(value) for value in np.quantile(known, (0.05, 0.5, 0.95)))
    return f"{middle} [{low}, {high}]"


def _begun(label: str) -> str:
    """A row's name at the beginning of a sentence; a proposer's stays as the user types it."""
    return label.capitalize() if label == NO_REGIONS else label


def _points(value: float) -> str:
    if round(abs(value), 1) == 0:
        return "equal"
    return f"{abs(value):.1f} points {'better' if value > 0 else 'worse'}"
