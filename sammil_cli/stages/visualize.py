"""sammil visualize: one picture and one table of patches per slide, by the model that did not see it."""

import html
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import shapely
import torch

from sammil_cli.config import VisualizeSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import read_bag
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.regions.file import draw_regions, read_regions
from sammil_cli.regions.region_map import OVERVIEW_PX
from sammil_cli.report.heatmap import SlideView, draw
from sammil_cli.report.page import document
from sammil_cli.slides.files import identify, open_slide
from sammil_cli.slides.slide import RGB, Slide
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of, with_slides
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file, write_csv, write_text
from sammil_cli.storage.geojson import read_geojson
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.bundle import FACTS_FILE, read_bundle
from sammil_cli.training.splits import read_folds

CODE = (
    "storage",
    "slides",
    "patches",
    "regions",
    "features",
    "mil",
    "training",
    "report",
    "stages/visualize.py",
)


def run(project: Project, settings: VisualizeSettings, options: RunOptions) -> list[Row]:
    """Draws every slide that is in a test part; of several repeats the first one speaks. Returns the process list."""
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    _write_index(project.pictures)
    return rows


def plan(project: Project, settings: VisualizeSettings, options: RunOptions) -> Plan:
    """What there is to do."""
    fold_of = {slide: fold.name for fold in reversed(read_folds(project.splits)) for slide in fold.test}
    bags = [p for p in files_of(project.bags, ".h5", "extract", options.only) if p.stem in fold_of]
    pairs, gone = with_slides(bags, project.slides)
    shown = {"mpp": settings.heatmap_mpp, "top": settings.top_patches}
    tasks, refused = [], list(gone)
    for bag, slide in pairs:
        model = project.models / fold_of[bag.stem]
        lesions = project.lesions / f"{bag.stem}.geojson"
        inputs = [bag, project.patches / bag.name, project.regions / bag.name]
        if lost := [path for path in (*inputs, model / FACTS_FILE) if not path.exists()]:
            lack = SlideError("E_UPSTREAM", f"{lost[0]} is gone", remedy="run: sammil patch, sammil sam, sammil train")
            refused.append(refusal(bag.stem, lack))
            continue
        recipe = {
            "slide": identify(slide),
            "inputs": [sha256_file(path) for path in inputs],
            "model": sha256_file(model / FACTS_FILE),
            "lesions": sha256_file(lesions) if lesions.exists() else None,
            "settings": shown,
            "code": code_version(*CODE),
        }
        arguments = (slide, *inputs, model, lesions if lesions.exists() else None, shown)
        tasks.append(Task(slide_id=bag.stem, recipe=recipe, arguments=arguments))
    out, listing = project.pictures, project.process_lists / "visualize.csv"
    return Plan(step="visualize", tasks=tasks, work=work, out=out, process_list=listing, refused=refused)


def work(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    bag_path: Path,
    patches_path: Path,
    regions_path: Path,
    model_folder: Path,
    lesions: Path | None,
    shown: dict[str, Any],
) -> list[str]:
    """Draws one slide into `folder`, and writes what each patch says: level-0 corner, attention, evidence by class."""
    del record  # a picture carries its model in the title
    bag, grid, regions = read_bag(bag_path), read_patches(patches_path), read_regions(regions_path)
    model, facts = read_bundle(model_folder, "cpu")
    with torch.inference_mode():
        output = model(to_tensors(bag, "cpu"))
    count = len(bag.xy)
    attention = output.attention[:count].double().numpy()
    evidence = output.evidence[:count].double().numpy()
    positive = len(facts.classes) - 1
    probability = float(torch.softmax(output.logits / facts.temperature, 0)[positive])
    with open_slide(path, grid.slide_mpp) as slide:
        thumbnail = slide.thumbnail(shown["mpp"])
        scale = thumbnail.shape[1] / slide.size_px[0]
        grid = replace(grid, xy=bag.xy, scores={})  # without patches that could not be decoded
        top = [(read_patch(slide, grid, int(i)), float(attention[i])) for i in np.argsort(-attention)[: shown["top"]]]
        view = SlideView(
            title=f"{bag.slide_id} — {facts.model}, fold {facts.repeat}.{facts.fold} (slide not seen in training): "
            f"P({facts.classes[positive]}) = {probability:.3f}",
            thumbnail=thumbnail,
            regions=_regions_on(thumbnail, slide, regions),
            xy=bag.xy * scale,
            side=grid.patch_px_level0 * scale,
            attention=attention,
            evidence=evidence[:, positive],
            positive=facts.classes[positive],
            classes=len(facts.classes),
            outlines=_outlines(lesions, scale) if lesions else [],
            top=top,
            patch_um=grid.patch_px * grid.patch_mpp,
        )
    (folder / f"{grid.slide_id}.png").write_bytes(draw(view.cropped()))
    write_csv(
        folder / f"{grid.slide_id}.csv",
        ("x", "y", "attention", *(f"evidence_{name}" for name in facts.classes)),
        [
            (x, y, f"{weight:.9g}", *(f"{share:.9g}" for share in shares))
            for (x, y), weight, shares in zip(bag.xy.tolist(), attention, evidence, strict=True)
        ],
    )
    return []


def _regions_on(thumbnail: RGB, slide: Slide, regions: Any) -> RGB:
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


def _outlines(lesions: Path, scale: float) -> list[Any]:
    shapes, _ = read_geojson(lesions)
    polygons = [p for drawn in shapes for p in shapely.get_parts(drawn.geometry) if isinstance(p, shapely.Polygon)]
    return [shapely.get_coordinates(ring) * scale for p in polygons for ring in (p.exterior, *p.interiors)]


def _write_index(pictures: Path) -> None:
    """A page with all pictures, by slide id."""
    names = sorted(path.stem for path in pictures.glob("*.png"))
    items = "".join(
        f"<h2 id='{html.escape(name)}'>{html.escape(name)}</h2>"
        f"<p><a href='{html.escape(quote(name))}.csv'>attention and evidence of every patch</a></p>"
        f"<img loading='lazy' alt='{html.escape(name)}' src='{html.escape(quote(name))}.png'>"
        for name in names
    )
    body = f"<h1>Slides</h1><p>{len(names)} slides, each by the model of the fold that did not see it.</p>{items}"
    write_text(pictures / "index.html", document("sammil: slides", body))
