"""The picture of one slide and its table of patches, as trained models see them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.jobs.patch_map import map_patches
from sammil_cli.jobs.patch_scores import PatchScores, score_patches
from sammil_cli.jobs.slide_layers import lesion_polygons, region_labels
from sammil_cli.jobs.visualize import SlideFiles, VisualizeJob
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.report.heatmap import SlideView, draw
from sammil_cli.report.patch_table import PatchTable, write_patch_table
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.training.thresholds import in_digits

_SEEN = {
    False: "slide not seen in training",
    True: "slide seen in training: no fair prediction",
    None: "not known whether the slide was seen in training",
}


def draw_slide(folder: Path, job: VisualizeJob) -> list[str]:
    """See `jobs.visualize.work`."""
    bag = read_checked(job.bag)
    scores = score_patches(bag, *job.trained)
    view, remarks = _map(bag, scores, job) if job.files is None else _on_slide(bag, scores, job, job.files)
    (folder / f"{job.bag.stem}.png").write_bytes(draw(view.cropped()))
    table = PatchTable(classes=scores.facts.classes, xy=bag.xy, attention=scores.attention, evidence=scores.evidence)
    write_patch_table(folder / f"{job.bag.stem}.csv", table)
    return remarks


def _on_slide(
    bag: FeatureBag, scores: PatchScores, job: VisualizeJob, files: SlideFiles
) -> tuple[SlideView, list[str]]:
    """What is drawn over the slide, and remarks."""
    grid, regions = read_patches(files.patches), read_regions(files.regions)
    attention, most = scores.attention, job.settings.top_patches
    with open_slide(files.slide, grid.slide_mpp, grid.scene) as slide:
        thumbnail = slide.thumbnail(job.settings.heatmap_mpp)
        scale = thumbnail.shape[1] / slide.size_px[0]
        grid = replace(grid, xy=bag.xy, scores={})  # without patches that could not be decoded
        outlines, remarks = _outlines(job.lesions, slide.bounds_px) if job.lesions else ([], [])
        top = [(read_patch(slide, grid, int(i)), float(attention[i])) for i in np.argsort(-attention)[:most]]
        view = SlideView(
            title=_title(bag, scores, job.seen),
            thumbnail=thumbnail,
            regions=_regions_on(thumbnail, slide, regions),
            xy=bag.xy * scale,
            side=grid.patch_px_level0 * scale,
            attention=attention,
            evidence=scores.evidence[:, scores.shown],
            positive=scores.facts.classes[scores.shown],
            classes=len(scores.facts.classes),
            outlines=[ring * scale for ring in outlines],
            top=top,
            patch_um=grid.patch_px * grid.patch_mpp,
        )
    return view, remarks


def _map(bag: FeatureBag, scores: PatchScores, job: VisualizeJob) -> tuple[SlideView, list[str]]:
    """What is drawn where the slide is not here, and the remark that says so."""
    found = map_patches(bag, job.settings.heatmap_mpp)
    view = SlideView(
        title=_title(bag, scores, job.seen),
        thumbnail=found.ground,
        regions=found.regions,
        xy=found.xy,
        side=found.side,
        attention=scores.attention,
        evidence=scores.evidence[:, scores.shown],
        positive=scores.facts.classes[scores.shown],
        classes=len(scores.facts.classes),
        outlines=[],
        top=[],
        patch_um=bag.encoder.patch_px * bag.encoder.patch_mpp,
        ground="patches, without the slide",
    )
    return view, ["no-slide: the picture is the map of its patches"]


def _title(bag: FeatureBag, scores: PatchScores, seen: bool | None) -> str:
    """The slide, who judges it, and what they say."""
    facts, shown, predicted = scores.facts, scores.shown, scores.predicted
    texts, limit = in_digits(scores.probabilities, scores.threshold, predicted, 3)
    count, names = len(scores.models), " and ".join(dict.fromkeys(scores.models))
    who = f"{names}, " + (f"fold {facts.repeat}.{facts.fold}" if count == 1 else f"mean of {count} models")
    decided = f", threshold {limit}: " if limit else ": "
    return (
        f"{bag.slide_id} — {who} ({facts.stamp or _SEEN[seen]}): P({facts.classes[shown]}) = {texts[shown]}"
        f"{decided}called {facts.classes[predicted]}"
    )


def _regions_on(thumbnail: RGB, slide: Slide, regions: RegionMap) -> RGB:
    """The thumbnail tinted by region."""
    factor = slide.size_px[0] / thumbnail.shape[1]  # level-0 pixels per thumbnail pixel
    size = (thumbnail.shape[1], thumbnail.shape[0])
    return draw_regions(thumbnail, region_labels(regions, (0, 0), factor, size))


def _outlines(lesions: DrawingPath, bounds_px: Box) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Closed rings in level-0 pixels, and what had to be repaired or passed over."""
    polygons, remarks = lesion_polygons(lesions, bounds_px)
    return [shapely.get_coordinates(r) for p in polygons for r in (p.exterior, *p.interiors)], remarks
