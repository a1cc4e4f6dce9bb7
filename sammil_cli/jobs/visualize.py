"""visualize, one slide: its picture and its table of patches, by the model that did not see it."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import shapely
import torch
from numpy.typing import NDArray

from sammil_cli.config import VisualizeSettings
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.places import grid_places
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.regions.region_map import OVERVIEW_PX, RegionMap
from sammil_cli.report.heatmap import SlideView, draw
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record, write_csv
from sammil_cli.storage.paths import BagPath, BundlePath, DrawingPath, PatchesPath, RegionsPath, SlidePath
from sammil_cli.tissue.edits import drawn_areas, told, what_is_left
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.bundle import read_bundle
from sammil_cli.training.calibration import apply
from sammil_cli.training.thresholds import decide, in_digits


@dataclass(frozen=True, kw_only=True)
class VisualizeJob:
    """`lesions`: known ones, to be outlined."""

    slide: SlidePath
    bag: BagPath
    patches: PatchesPath
    regions: RegionsPath
    bundle: BundlePath
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
    model, facts = read_bundle(job.bundle, "cpu")
    with torch.inference_mode():
        places = grid_places(bag.xy, bag.encoder.patch_px_level0) if model.needs_places else None
        output = model(to_tensors(bag, "cpu", places, flagged=facts.spec.group_feature_flag))
    count, most = len(bag.xy), job.settings.top_patches
    attention = output.attention[:count].double().numpy()
    evidence = output.evidence[:count].double().numpy()
    said = torch.softmax(output.logits.double(), 0).numpy()
    probabilities, threshold = apply(said[None], facts.temperature)[0], facts.calibrated_threshold
    predicted = int(decide(probabilities[None], threshold)[0])
    shown = predicted if facts.positive_class is None else 1
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
    canvas = regions.canvas
    step = canvas.step_to(OVERVIEW_PX)
    factor = slide.size_px[0] / thumbnail.shape[1]  # level-0 pixels per thumbnail pixel
    scale = canvas.downsample * step / factor
    move = np.array([[scale, 0, canvas.origin_px[0] / factor], [0, scale, canvas.origin_px[1] / factor]])
    labels = cv2.warpAffine(
        regions.labels(step=step).astype(np.float32),
        move,
        thumbnail.shape[1::-1],
        flags=cv2.INTER_NEAREST,
        borderValue=-1,
    )
    return draw_regions(thumbnail, labels.astype(np.int32))


def _outlines(lesions: DrawingPath, bounds_px: Box) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Closed rings in level-0 pixels, and what had to be repaired or passed over."""
    areas, counts = drawn_areas(lesions, bounds_px=bounds_px)
    polygons = [polygon for whole in what_is_left(areas, lesions) for polygon in whole.geoms]
    return [shapely.get_coordinates(r) for p in polygons for r in (p.exterior, *p.interiors)], told(counts)
