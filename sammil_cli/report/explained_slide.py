"""What explains the verdict on one slide, as files: its ranked regions as CSV, all else as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sammil_cli.regions.drawn_names import Called
from sammil_cli.report.lesion_agreement import Agreement
from sammil_cli.report.ranked_regions import Ranked, Values
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.summed import damaged, read_of_slide, write_of_slide

REGION_COLUMNS = (
    "rank",
    "region",
    "name",
    "class",
    "area_mm2",
    "patches",
    "patches_mm2",
    "patch_share",
    "evidence_share",
    "attention_share",
    "probability",
    "contrast",
    "lesion_share",
)
_AGAIN = "delete it, and run again: sammil explain"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A slide as the fold explains it that did not see it.

    `of`: the class that regions are ranked for. `called`, `probability`, `threshold`: the verdict; the probability is
    that of `of`, calibrated. `curves`: what the probability of `called` is at `removal.SHARES`, by order.
    `lesions`: None where none are drawn, or none were asked about.
    """

    slide_id: str
    model: str
    fold: str
    of: str
    called: str
    probability: float
    threshold: float | None
    patches: int
    curves: Mapping[str, Values]
    lesions: Agreement | None


def write_regions(
    path: Path,
    ranked: Ranked,
    area_mm2: Values,
    patch_mm2: float,
    called: Mapping[int, Called],
    lesion_share: Values | None,
) -> None:
    """Writes the regions of a slide, the first rank first; a cell is empty where a number is not known.

    Args:
        area_mm2: (k,) as the regions are drawn. patch_mm2: of one patch. called: what people called them.
        lesion_share: (k,) the share of each region's patches that are lesion; None = no lesions are drawn.
    """
    rows = []
    for at in ranked.order.tolist():
        region = int(ranked.region[at])
        rows.append(
            (
                int(ranked.rank[at]),
                region,
                *called.get(region, Called("", "")),
                shown(area_mm2[at]),
                int(ranked.patches[at]),
                shown(ranked.patches[at] * patch_mm2),
                shown(ranked.patch_share[at]),
                shown(ranked.evidence_share[at]),
                shown(ranked.attention_share[at]),
                shown(ranked.probability[at]),
                shown(ranked.contrast[at]),
                "" if lesion_share is None else shown(lesion_share[at]),
            )
        )
    write_csv(path, REGION_COLUMNS, rows)


def shown(value: float | None) -> str:
    """A number as tables have it, to six digits; "" = it is not known or not defined."""
    return "" if value is None or np.isnan(value) else f"{value:.6g}"


def write_explained(path: Path, slide: Explained) -> None:
    """Writes the facts on a slide; the file is called like it."""
    facts = {name: value for name, value in asdict(slide).items() if name != "slide_id"}
    write_of_slide(path, facts | {"curves": {name: curve.tolist() for name, curve in slide.curves.items()}})


def read_explained(path: Path) -> Explained:
    """Reads what `write_explained` wrote.

    Raises:
        InputError: `E_DAMAGED`, it is not as it was written; `E_MIXED`, it is of another slide.
    """
    facts = read_of_slide(path, _AGAIN)
    try:
        curves = {name: np.array(curve, np.float64) for name, curve in facts.pop("curves").items()}
        lesions = facts.pop("lesions")
        return Explained(
            slide_id=path.stem, curves=curves, lesions=None if lesions is None else Agreement(**lesions), **facts
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, str(error), _AGAIN) from None


def orders_of(slides: Sequence[Explained]) -> list[str]:
    """The orders of removal that any of the slides has."""
    return list(dict.fromkeys(name for slide in slides for name in slide.curves))
