"""explain, one slide: its bag, a model that did not see it, drawings -> ranked regions, and how far they explain it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.places import patch_side
from sammil_cli.jobs.slide_layers import lesion_polygons
from sammil_cli.regions.drawn_names import Called, drawn_names
from sammil_cli.regions.file import read_regions
from sammil_cli.report.explained_slide import Explained, write_explained, write_regions
from sammil_cli.report.lesion_agreement import agreement, patches_in
from sammil_cli.report.ranked_regions import Ranked, RegionPatches, patch_mm2, slide_mpp
from sammil_cli.report.removal import orders
from sammil_cli.slides.pixels import Box
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath, DrawingPath, ModelPath, RegionsPath, TissuePath
from sammil_cli.tissue.mask import read_tissue

_SHIFT = 0.01  # of a probability: rounding moves it less
NO_OFFSET = "no-offset: the corner of the scanned area is not known and taken to be 0, 0"


@dataclass(frozen=True, kw_only=True)
class ExplainJob:
    """`trained`: a fold that did not see the slide. `lesions`: of the class `lesion_class`; None = none are drawn.

    `regions`, `drawn`: the regions and the drawing that they were made of, to name them; None = they were not drawn.
    `tissue`: says where the scanned area begins; None where it is not here.
    """

    bag: BagPath
    trained: ModelPath
    lesions: DrawingPath | None
    lesion_class: int
    regions: RegionsPath | None
    drawn: DrawingPath | None
    tissue: TissuePath | None


def work(folder: Path, record: Record, job: ExplainJob) -> list[str]:
    """Writes one slide's ranked regions and what else explains its verdict into `folder`.

    Raises:
        SlideError: `E_EDIT`, a drawing cannot be read; or what `features.bag_check` finds in the bag.
    """
    del record  # the table's columns, and the facts beside it, say what it is of
    from sammil_cli.jobs.patch_scores import score_patches  # here: torch, which planning does without
    from sammil_cli.jobs.removed_patches import removal_curves

    bag = read_checked(job.bag)
    scores = score_patches(bag, job.trained)
    classes, called = scores.facts.classes, scores.predicted
    inside = RegionPatches(bag) if bag.members.size.any() else None

    def ranked_for(index: int) -> tuple[RegionPatches, Ranked] | None:
        evidence = scores.evidence[:, index]
        return None if inside is None else (inside, inside.rank(scores.attention, evidence, 1 / len(classes)))

    bounds = read_tissue(job.tissue).bounds_px if job.tissue else (0, 0, 0, 0)
    remarks = [] if job.tissue or not (job.lesions or job.drawn) else [NO_OFFSET]
    lesions, found = None, None
    if job.lesions is not None:
        lesions, told = _lesions(bag, job.lesions, bounds)
        remarks += told
    if lesions is not None:
        evidence = scores.evidence[:, job.lesion_class]
        found = agreement(scores.attention, evidence, lesions.patches, ranked_for(job.lesion_class), lesions.mm2)
    shown = ranked_for(scores.shown)
    if shown is None:
        remarks.append("no-regions: its patches are grouped by none; patches alone are looked at")
    else:
        area, share = bag.region_area_um2[shown[1].region] / 1e6, None
        if lesions is not None:
            share = shown[0].mean(lesions.patches.astype(np.float64))
        names = _names(job, bounds[:2], len(bag.region_area))
        write_regions(folder / f"{job.bag.stem}.csv", shown[1], area, patch_mm2(bag), names, share)
    going = orders(bag.slide_id, scores.attention, scores.evidence[:, called], ranked_for(called))
    curves = removal_curves(bag, job.trained, going, called)
    if (moved := abs(float(curves["attention"][0] - scores.probabilities[called]))) > _SHIFT:
        remarks.append(f"group-features: they are no means of its patches; made anew they move P by {moved:.2f}")
    explained = Explained(
        slide_id=job.bag.stem,
        model=scores.facts.model,
        fold=f"{scores.facts.repeat}.{scores.facts.fold}",
        of=classes[scores.shown],
        called=classes[called],
        probability=float(scores.probabilities[scores.shown]),
        threshold=scores.threshold,
        patches=len(bag.xy),
        curves=curves,
        lesions=found,
    )
    write_explained(folder / f"{job.bag.stem}.json", explained)
    return remarks


class _Lesions(NamedTuple):
    """Which patches are lesion (n,), and the area of what is drawn; NaN where the scale is not known."""

    patches: NDArray[np.bool_]
    mm2: float


def _lesions(bag: FeatureBag, path: DrawingPath, bounds: Box) -> tuple[_Lesions | None, list[str]]:
    """None where nothing is drawn, or nobody knows where the patches lie; and remarks."""
    polygons, remarks = lesion_polygons(path, bounds)
    if not polygons:
        return None, [*remarks, "no-lesion: nothing is drawn on it"]
    if (bag.xy == -1).all():
        return None, [*remarks, "no-places: its bag does not say where its patches lie: nothing is said of its lesions"]
    found = patches_in(polygons, bag.xy, patch_side(bag.xy, bag.encoder.patch_px_level0))
    mm2 = float(shapely.union_all(polygons).area) * slide_mpp(bag) ** 2 / 1e6
    return _Lesions(found, mm2), remarks


def _names(job: ExplainJob, offset_px: tuple[int, int], count: int) -> dict[int, Called]:
    """What people called the regions; nothing where these are not those that the bag was made with."""
    if job.drawn is None or job.regions is None:
        return {}
    regions = read_regions(job.regions)
    return drawn_names(job.drawn, offset_px, regions) if len(regions) == count else {}
