"""What the explained slides of a cohort say together: faithfulness, and agreement with drawn lesions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.explained_slide import Explained
from sammil_cli.report.lesion_agreement import Agreement
from sammil_cli.report.lesion_bins import Bin, Positives, bins_of, terciles
from sammil_cli.report.patient_means import mean_difference, mean_share
from sammil_cli.report.ranked_regions import Values
from sammil_cli.report.removal import AGAINST, area_between

ALL = "all slides"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An explained slide with what the label table says of it."""

    slide: Explained
    patient_id: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Slides that are called one class (or all), as patches go in one order: means over the slides.

    `curve`, `random` (len(SHARES),): the probability of the class that a slide is called. `area`: between them.
    """

    called: str
    order: str
    slides: int
    patients: int
    curve: Values
    random: Values
    area: Estimate


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A mean over slides with lesions; `by_chance`: the mean of what a blind choice has on each."""

    name: str
    slides: int
    patients: int
    mean: Estimate
    by_chance: float


def groups(slides: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """The slides by the class that they are called, all of them first where there are several."""
    names = sorted({one.slide.called for one in slides})
    parts = [(f"called {name}", [one for one in slides if one.slide.called == name]) for name in names]
    return [(ALL, list(slides)), *parts] if len(parts) > 1 else parts


def removals(slides: Sequence[Judged], *, level: float, draws: int) -> list[Removal]:
    """Each order in each group, of the slides that have it."""
    found = []
    for called, group in groups(slides):
        for order, other in AGAINST.items():
            if own := [one for one in group if order in one.slide.curves]:
                patients = [one.patient_id for one in own]
                between = np.array([area_between(one.slide.curves[order], one.slide.curves[other]) for one in own])
                found.append(
                    Removal(
                        called=called,
                        order=order,
                        slides=len(own),
                        patients=len(set(patients)),
                        curve=mean_curve(own, order),
                        random=mean_curve(own, other),
                        area=mean_difference(between, patients, level=level, draws=draws),
                    )
                )
    return found


def mean_curve(slides: Sequence[Judged], order: str) -> Values:
    """The mean curve of the slides that have an order."""
    curves = [one.slide.curves[order] for one in slides if order in one.slide.curves]
    return np.asarray(np.mean(curves, axis=0), np.float64)


def findings(slides: Sequence[tuple[Judged, Agreement]], *, level: float, draws: int) -> list[Finding]:
    """How well patches and first regions find the lesions of slides that have them; where it is defined."""

    def finding(name: str, values: Sequence[float | None], by_chance: Sequence[float | None]) -> Finding | None:
        known = [at for at, value in enumerate(values) if value is not None]
        if not known:
            return None
        patients = [slides[at][0].patient_id for at in known]
        numbers = np.array([values[at] for at in known], np.float64)
        return Finding(
            name=name,
            slides=len(known),
            patients=len(set(patients)),
            mean=mean_share(numbers, patients, level=level, draws=draws),
            by_chance=float(np.mean([by_chance[at] or 0.0 for at in known])),
        )

    found = [one for _, one in slides]
    half = [0.5] * len(found)
    top, first = [float(one.top_patch) for one in found], [one.top_patch_by_chance for one in found]
    parts = [
        finding("AUC of patch evidence", [one.evidence_auc for one in found], half),
        finding("AUC of attention", [one.attention_auc for one in found], half),
        finding("first patch is lesion", top, first),
        finding("first region: half lesion", [_number(o.hit) for o in found], [o.regions_in_lesion for o in found]),
        finding("first region: any lesion", [_number(o.touched) for o in found], [o.regions_touching for o in found]),
    ]
    return [one for one in parts if one is not None]


def by_area(slides: Sequence[tuple[Judged, Agreement]], *, level: float) -> list[Bin]:
    """The share of slides that are called what they are, in three bins of lesion area; none without areas."""
    known = [(one, lesions) for one, lesions in slides if lesions.lesion_mm2 > 0]  # false for NaN
    if not known:
        return []
    area = np.array([lesions.lesion_mm2 for _, lesions in known])
    positives = Positives(
        slides=[one.slide.slide_id for one, _ in known],
        patients=[one.patient_id for one, _ in known],
        area=area,
        found=np.array([float(one.slide.called == one.label) for one, _ in known]),
        probability=np.array([one.slide.probability for one, _ in known]),
    )
    return bins_of(positives, terciles(area), level=level)


def _number(flag: bool | None) -> float | None:
    return None if flag is None else float(flag)
