"""The tables of a cohort whose verdicts are explained, as text for the page."""

import math
from collections.abc import Mapping, Sequence

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.explained_cohort import Finding, Judged, Removal
from sammil_cli.report.lesion_bins import Bin
from sammil_cli.report.removal import AGAINST, SHARES
from sammil_cli.report.tables import Table, shown_number

_AT = (0.05, 0.5)  # shares removed that the table shows
_REMOVAL = (
    "Mean calibrated probability of the class that a slide is called, as patches are taken away: in the order / at "
    "random ({against}), the same number each time; group features are made anew from the patches that are left. "
    "Area: how far the curve lies below the random one, on average from nothing to half of the patches; 0 = no better"
    " than chance. {level} interval: patients drawn anew, the models as they are. It shows whether the model itself "
    "leans on what the map marks. It does not show that this is the lesion, or right: a model that leans on pen marks"
    " is faithful to pen. A slide with holes is unlike those that the model learned from, so small areas and the far "
    "ends of the curves say little. And an order by evidence takes away what speaks for the class and leaves what "
    "speaks against it, so that its curve falls on slides without any focus, too."
)
_LESIONS = (
    "Slides labelled {positive} with a drawing of its lesions, out of fold. A patch is lesion where half of it or "
    "more is drawn. By chance: a patch or region of the slide picked blindly (0.5 for an AUC). First region: of rank "
    "1; half lesion = at least half of its patches are lesion, any lesion = one patch or more is. {level} interval of"
    " patients drawn anew."
)
_BINS = (
    "Share of the slides with lesions that are called what they are, out of fold, in three bins of equal numbers, "
    "with Wilson's {level} interval (trials: patients). The picture: sammil figure lesion-size."
)
_RANKED = (
    "Evidence: what the slide's patches say for {of} beyond chance, Σ max(p − {chance}, 0). Rank 1 holds the most of "
    "it beyond its share of the patches. Contrast: mean p of its patches less that of the patches within one step "
    "around it. p is the evidence of a patch, not calibrated, and no probability of disease; for attention models it "
    "stays near {chance} where attention is small. All regions: regions.csv."
)


def removal_table(found: Sequence[Removal], *, level: float) -> Table:
    """Each order in each group of slides."""
    places = [SHARES.index(share) for share in _AT]
    return Table(
        title="Faithfulness: patches taken away",
        header=("slides (patients)", "order", "area [interval]", "all there", *(f"{share:.0%} gone" for share in _AT)),
        rows=[
            (
                f"{one.called}: {one.slides} ({one.patients})",
                one.order,
                with_sign(one.area),
                f"{one.curve[0]:.3f}",
                *(f"{one.curve[at]:.3f} / {one.random[at]:.3f}" for at in places),
            )
            for one in found
        ],
        note=_REMOVAL.format(
            against="; ".join(f"{order}: {other}" for order, other in AGAINST.items()), level=_percent(level)
        ),
    )


def findings_table(found: Sequence[Finding], positive: str, *, level: float) -> Table:
    """How well patches and first regions find drawn lesions."""
    return Table(
        title=f"Against drawn lesions: {positive}",
        header=("", "slides (patients)", "mean [interval]", "by chance"),
        rows=[
            (one.name, f"{one.slides} ({one.patients})", in_brackets(one.mean), shown_number(one.by_chance))
            for one in found
        ],
        note=_LESIONS.format(positive=positive, level=_percent(level)),
    )


def bins_table(bins: Sequence[Bin], *, level: float) -> Table:
    """Sensitivity by lesion area."""

    def limits(one: Bin) -> str:
        return f"{one.low:.3g} to {one.high:.3g}" if math.isfinite(one.high) else f"{one.low:.3g} and more"

    return Table(
        title="Sensitivity by lesion area",
        header=("mm²", "slides", "patients", "found [interval]"),
        rows=[(limits(one), str(one.slides), str(one.patients), in_brackets(one.recall)) for one in bins],
        note=_BINS.format(level=_percent(level)),
    )


def first_regions_table(
    slides: Sequence[tuple[Judged, Mapping[str, str] | None]], positive: str | None, classes: int
) -> Table:
    """The first region of each slide.

    Args:
        slides: each with the row of its first region, None = it has no regions.
        positive: the class that regions are ranked for; None = the one that each slide is called.
    """
    rows: list[tuple[str, ...]] = []
    for one, region in slides:
        limit = "" if one.slide.threshold is None else f" / {one.slide.threshold:.3f}"
        head = (one.slide.slide_id, one.label, one.slide.called, f"{one.slide.probability:.3f}{limit}")
        if region is None:
            rows.append((*head, *("–",) * 6))
            continue
        name = " ".join(word for word in (region["name"], region["class"]) if word)
        rows.append(
            (
                *head,
                f"{region['region']} {name}".strip(),
                _cell(region["area_mm2"], "{:.3g}"),
                *(_cell(region[column], "{:.0%}") for column in ("patch_share", "evidence_share")),
                _cell(region["contrast"], "{:+.3f}"),
                _cell(region["lesion_share"], "{:.0%}"),
            )
        )
    return Table(
        title="The first region of each slide",
        header=(
            *("slide", "label", "called", f"P({positive}) / threshold" if positive else "P(called)", "region", "mm²"),
            *("of patches", "of evidence", "contrast", "lesion"),
        ),
        rows=rows,
        note=_RANKED.format(of=positive or "the class that it is called", chance=f"1/{classes}"),
    )


def in_brackets(found: Estimate) -> str:
    """`0.912 [0.850, 0.948]`."""
    return f"{found.value:.3f}" + ("" if math.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]")


def with_sign(found: Estimate) -> str:
    """`+0.212 [+0.150, +0.248]`."""
    return f"{found.value:+.3f}" + ("" if math.isnan(found.low) else f" [{found.low:+.3f}, {found.high:+.3f}]")


def _cell(text: str, form: str) -> str:
    return form.format(float(text)) if text else "–"


def _percent(level: float) -> str:
    return f"{100 * level:g} %"
