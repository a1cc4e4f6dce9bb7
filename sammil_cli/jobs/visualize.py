"""visualize, one slide: its picture and its table of patches, by the model that did not see it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.config import VisualizeSettings
from sammil_cli.features.bag_check import read_checked
from sammil_cli.jobs.patch_scores import score_patches
from sammil_cli.jobs.slide_layers import lesion_polygons, region_labels
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.report.heatmap import SlideView, draw
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record, write_csv
from sammil_cli.storage.paths import BagPath, DrawingPath, ModelPath, PatchesPath, RegionsPath, SlidePath
from sammil_cli.training.thresholds import in_digits


@dataclass(frozen=True, kw_only=True)
class VisualizeJob:
    """`lesions`: known ones, to be outlined."""

    slide: SlidePath
    bag: BagPath
    patches: PatchesPath
    regions: RegionsPath
    trained: ModelPath
    lesions: DrawingPath | None
    settings: VisualizeSettings


def work(folder: Path, record: Record, job: VisualizeJob) -> list[str]:
    """Draws one slide into `folder`, and writes what each patch says: level-0 corner, attention, evidence by class.

    Evidence and probability are of the positive class; of more than two classes, of the one that the slide is called.

    Raises:
        SlideError: `E_EDIT`, the file of lesions cannot be read; or what `features.bag_check` finds in the bag.
    """
    del record  # a picture carries its model in the title
    bag, grid, regions = read_checked(job.bag), read_patches(job.patches), read_regions(job.regions)
    scores = score_patches(bag, job.trained)
    facts, attention, evidence = scores.facts, scores.attention, scores.evidence
    probabilities, threshold = scores.probabilities, facts.calibrated_threshold
    predicted, shown, most = scores.predicted, scores.shown, job.settings.top_patches
    texts, limit = in_digits(probabilities, threshold, predicted, 3)
    with open_slide(job.slide, grid.slide_mpp, grid.scene) as slide:
        thumbnail = slide.thumbnail(job.settings.heatmap_mpp)
        scale = thumbnail.shape[1] / slide.size_px[0]
        grid = replace(grid, xy=bag.xy, scores={})  # without patches that could not be decoded
        outlines, remarks = _outlines(job.lesions, slide.bounds_px) if job.lesions else ([], [])
        top = [(read_patch(slide, grid, int(i)), float(attention[i])) for i in np.argsort(-attention)[:most]]
        view = SlideView(
            title=f"{bag.slide_id} — {facts.model}, fold {facts.repeat}.{facts.fold} "
            f"({facts.stamp or 'slide not seen in training'}): P({facts.classes[shown]}) = {texts[shown]}, "
            + (f"threshold {limit}: " if limit else "")
            + f"called {facts.classes[predicted]}",
            thumbnail=thumbnail,
            regions=_regions_on(thumbnail, slide, regions),
            xy=bag.xy * scale,
            side=grid.patch_px_level0 * scale,
            attention=attention,
            evidence=evidence[:, shown],
            positive=facts.classes[shown],
            classes=len(facts.classes),
            outlines=[ring * scale for ring in outlines],
            top=top,
            patch_um=grid.patch_px * grid.patch_mpp,
        )
    (folder / f"{job.bag.stem}.png").write_bytes(draw(view.cropped()))
    write_csv(
        folder / f"{job.bag.stem}.csv",
        ("x", "y", "attention", *(f"evidence_{name}" for name in facts.classes)),
        [
            (x, y, f"{weight:.9g}", *(f"{share:.9g}" for share in shares))
            for (x, y), weight, shares in zip(bag.xy.tolist(), attention, evidence, strict=True)
        ],
    )
    return remarks


def _regions_on(thumbnail: RGB, slide: Slide, regions: RegionMap) -> RGB:
    """The thumbnail tinted by region."""
    factor = slide.size_px[0] / thumbnail.shape[1]  # level-0 pixels per thumbnail pixel
    size = (thumbnail.shape[1], thumbnail.shape[0])
    return draw_regions(thumbnail, region_labels(regions, (0, 0), factor, size))


def _outlines(lesions: DrawingPath, bounds_px: Box) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Closed rings in level-0 pixels, and what had to be repaired or passed over."""
    polygons, remarks = lesion_polygons(lesions, bounds_px)
    return [shapely.get_coordinates(r) for p in polygons for r in (p.exterior, *p.interiors)], remarks
