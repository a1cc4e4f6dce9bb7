"""The picture of one slide and its table of patches, as trained models see them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.places import patch_side
from sammil_cli.jobs.detail_fields import choose_fields
from sammil_cli.jobs.patch_map import map_patches
from sammil_cli.jobs.patch_scores import PatchScores, score_patches
from sammil_cli.jobs.slide_layers import lesion_polygons, region_labels
from sammil_cli.jobs.visualize import SlideFiles, VisualizeJob
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.report.drawn_by import DrawnBy, signed
from sammil_cli.report.evidence_tiff import EvidencePicture, write_evidence_tiff
from sammil_cli.report.heading import Heading
from sammil_cli.report.heatmap import DETAIL_PX, PANEL_PX, draw
from sammil_cli.report.patch_artefacts import artefact_of, artefact_remarks
from sammil_cli.report.patch_table import PatchTable, write_patch_table
from sammil_cli.report.slide_view import Detail, SlideView, TopPatch
from sammil_cli.slides.field import Field, around, read_field
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import OME_TIFF, DrawingPath
from sammil_cli.training.thresholds import in_digits

_SEEN = {False: "not seen in training", True: "seen in training", None: "not known whether it was seen in training"}
_IN_SAMPLE = "in sample - trained or chosen on this slide"


def draw_slide(folder: Path, job: VisualizeJob) -> list[str]:
    """See `jobs.visualize.work`."""
    bag = read_checked(job.bag)
    scores = score_patches(bag, *job.trained)
    view, evidence, remarks = _map(bag, scores, job) if job.files is None else _on_slide(bag, scores, job, job.files)
    name = job.bag.stem
    by = DrawnBy(models=tuple(model.name for model in job.trained), seen=job.seen)
    (folder / f"{name}.png").write_bytes(signed(draw(view), by))
    table = PatchTable(classes=scores.facts.classes, xy=bag.xy, attention=scores.attention, evidence=scores.evidence)
    write_patch_table(folder / f"{name}.csv", table)
    if job.settings.evidence_ome_tiff:
        if evidence.slide_mpp > 0:
            write_evidence_tiff(folder / f"{name}{OME_TIFF}", evidence)
        else:
            remarks = [*remarks, "no-ome-tiff: the bag does not say how large its patches are"]
    if job.seen:
        remarks = [*remarks, "in-sample: drawn by models that were trained or chosen on it"]
    return remarks


def _on_slide(
    bag: FeatureBag, scores: PatchScores, job: VisualizeJob, files: SlideFiles
) -> tuple[SlideView, EvidencePicture, list[str]]:
    """What is drawn over the slide, its evidence, and remarks."""
    grid, regions = read_patches(files.patches), read_regions(files.regions)
    side = grid.patch_px_level0
    with open_slide(files.slide, grid.slide_mpp, grid.scene) as slide:
        low, high = bag.xy.min(axis=0), bag.xy.max(axis=0) + side
        field = read_field(slide, around(tuple(low), tuple(high), 2 * side, slide.size_px), PANEL_PX)
        grid = _grid_of(bag, grid)
        outlines, remarks = _outlines(job.lesions, slide.bounds_px) if job.lesions else ([], [])
        remarks += artefact_remarks(grid.scores, scores.attention)
        most = np.argsort(-scores.attention, kind="stable")[: job.settings.top_patches]
        view = SlideView(
            heading=_heading(bag, scores, job),
            image=field.image,
            regions=_regions_on(field, regions),
            um_per_px=field.um_per_px,
            xy=field.of_slide(bag.xy),
            side=side / field.factor,
            attention=scores.attention,
            evidence=scores.evidence[:, scores.shown],
            shown=scores.facts.classes[scores.shown],
            classes=len(scores.facts.classes),
            threshold=scores.patch_threshold,
            outlines=[field.of_slide(ring) for ring in outlines],
            top=[_top_patch(slide, grid, index) for index in most.tolist()],
            details=_details(slide, grid, scores, job, (field, outlines)),
            patch_um=grid.patch_px * grid.patch_mpp,
        )
        evidence = _evidence(bag, scores, side, slide.size_px, (slide.mpp, job.settings.heatmap_mpp))
    return view, evidence, remarks


def _grid_of(bag: FeatureBag, grid: PatchGrid) -> PatchGrid:
    """The patches of the grid that are in the bag: not those that could not be decoded."""
    at = {tuple(xy): row for row, xy in enumerate(grid.xy.tolist())}
    rows = [at.get(tuple(xy), -1) for xy in bag.xy.tolist()]
    kept = {} if -1 in rows else {name: score[rows] for name, score in grid.scores.items()}
    return replace(grid, xy=bag.xy, scores=kept)


def _top_patch(slide: Slide, grid: PatchGrid, index: int) -> TopPatch:
    return TopPatch(image=read_patch(slide, grid, index), index=index, artefact=artefact_of(grid.scores, index))


def _details(
    slide: Slide, grid: PatchGrid, scores: PatchScores, job: VisualizeJob, on: tuple[Field, list[NDArray[np.float64]]]
) -> list[Detail]:
    """The fields of most attention, read one by one at their own resolution, on an overview with lesions."""
    overview, outlines = on
    side = grid.patch_px_level0
    # Of very large patches two are seen; a field holds a patch at least.
    factor = max(job.settings.detail_mpp / slide.mpp, 2 * side / DETAIL_PX[1])
    size = (math.ceil(DETAIL_PX[0] * factor), math.ceil(DETAIL_PX[1] * factor))
    attention = scores.attention
    total = max(float(attention.sum()), 1e-300)
    details = []
    for box in choose_fields(grid.xy, side, attention, size, slide.size_px, job.settings.detail_fields):
        field = read_field(slide, box, DETAIL_PX[0])
        low, high = np.array(box[:2]), np.array(box[:2]) + box[2:]
        index = np.flatnonzero(((grid.xy + side > low) & (grid.xy < high)).all(axis=1))
        middle = grid.xy[index] + side / 2
        counted = index[((middle >= low) & (middle < high)).all(axis=1)]
        corner, scale = overview.of_slide(low), 1 / overview.factor
        details.append(
            Detail(
                image=field.image,
                box=(float(corner[0]), float(corner[1]), box[2] * scale, box[3] * scale),
                index=index,
                xy=field.of_slide(grid.xy[index]),
                side=side / field.factor,
                um_per_px=field.um_per_px,
                share=float(attention[counted].sum()) / total,
                outlines=[field.of_slide(ring) for ring in outlines],
            )
        )
    return details


def _map(bag: FeatureBag, scores: PatchScores, job: VisualizeJob) -> tuple[SlideView, EvidencePicture, list[str]]:
    """What is drawn where the slide is not here, its evidence, and the remark that says so."""
    found = map_patches(bag)
    patch_um = bag.encoder.patch_px * bag.encoder.patch_mpp  # NaN or 0 where it is not known
    view = SlideView(
        heading=_heading(bag, scores, job),
        image=found.ground,
        regions=found.regions,
        um_per_px=patch_um / found.side if patch_um > 0 else None,
        xy=found.xy,
        side=found.side,
        attention=scores.attention,
        evidence=scores.evidence[:, scores.shown],
        shown=scores.facts.classes[scores.shown],
        classes=len(scores.facts.classes),
        threshold=scores.patch_threshold,
        outlines=[],
        top=[],
        details=[],
        patch_um=patch_um,
        ground="patches, without the slide",
    )
    side = patch_side(bag.xy, bag.encoder.patch_px_level0)
    width, height = (bag.xy.max(axis=0) + side).tolist()
    mpp = patch_um / side, job.settings.heatmap_mpp
    remarks = ["no-slide: the picture is the map of its patches"]
    return view, _evidence(bag, scores, side, (width, height), mpp), remarks


def _evidence(
    bag: FeatureBag, scores: PatchScores, side: int, size_px: tuple[int, int], mpp: tuple[float, float]
) -> EvidencePicture:
    """`mpp`: of level 0 and of the picture."""
    return EvidencePicture(
        xy=bag.xy.astype(np.float64),
        side=side,
        evidence=scores.evidence[:, scores.shown],
        shown=scores.facts.classes[scores.shown],
        classes=len(scores.facts.classes),
        size_px=size_px,
        slide_mpp=mpp[0],
        mpp=mpp[1],
    )


def _heading(bag: FeatureBag, scores: PatchScores, job: VisualizeJob) -> Heading:
    """The slide, who judges it, and what they say."""
    facts, shown, predicted = scores.facts, scores.shown, scores.predicted
    texts, limit = in_digits(scores.probabilities, scores.threshold, predicted, 3)
    count, names = len(scores.models), " and ".join(dict.fromkeys(scores.models))
    return Heading(
        slide_id=bag.slide_id,
        truth=job.truth,
        called=facts.classes[predicted],
        shown=facts.classes[shown],
        probability=float(scores.probabilities[shown]),
        threshold=scores.threshold,
        texts=(texts[shown], limit),
        judged_by=f"{names}, " + (f"fold {facts.repeat}.{facts.fold}" if count == 1 else f"mean of {count} models"),
        encoder=bag.encoder.name,
        seen=("out of fold: " if job.seen is False and job.truth else "") + _SEEN[job.seen],
        stamp=_IN_SAMPLE if job.seen else facts.stamp,
    )


def _regions_on(field: Field, regions: RegionMap) -> RGB:
    """The field tinted by region."""
    return draw_regions(field.image, region_labels(regions, field.origin_px, field.factor, field.size_px))


def _outlines(lesions: DrawingPath, bounds_px: Box) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Closed rings in level-0 pixels, and what had to be repaired or passed over."""
    polygons, remarks = lesion_polygons(lesions, bounds_px)
    return [shapely.get_coordinates(r) for p in polygons for r in (p.exterior, *p.interiors)], remarks
