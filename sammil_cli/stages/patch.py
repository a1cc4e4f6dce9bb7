"""sammil patch: tissue masks -> patch grids."""

from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import PatchSettings
from sammil_cli.errors import SlideError
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.grid import describe, make_grid
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.segment import stray_drawings
from sammil_cli.stages.upstream import files_of
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.tissue.artefacts import read_artefacts
from sammil_cli.tissue.edits import find_drawings, read_polygons
from sammil_cli.tissue.file import read_tissue

CODE = ("storage", "slides", "tissue", "patches", "stages/patch.py")


def run(project: Project, settings: PatchSettings, options: RunOptions) -> list[Row]:
    """Lays the grid on every slide that has a tissue mask; returns the process list."""
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    for warning in stray_drawings(project.rois, dict.fromkeys(path.stem for path in project.tissue.glob("*.geojson"))):
        console.say(warning)
    return rows


def plan(project: Project, settings: PatchSettings, options: RunOptions) -> Plan:
    """What there is to do. No slide is read: all that counts lies in the folder of tissue masks."""
    grid = {
        "patch_px": settings.patch_px,
        "patch_mpp": settings.patch_mpp,
        "overlap": settings.patch_overlap,
        "min_tissue": settings.patch_min_tissue,
        "limits": {
            "blank": settings.patch_max_blank,
            "pen": settings.patch_max_pen,
            "dark": settings.patch_max_dark,
            "blur": settings.patch_max_blur,
        },
    }
    shared = {"settings": grid, "code": code_version(*CODE)}
    rois = find_drawings(project.rois)
    tasks, refused = [], []
    for tissue in files_of(project.tissue, ".geojson", "segment", options.only):
        maps, roi = tissue.with_suffix(".h5"), rois.get(tissue.stem)
        if not maps.exists():
            lack = SlideError("E_UPSTREAM", f"{maps} is gone", remedy="run: sammil segment")
            refused.append(refusal(tissue.stem, lack))
            continue
        recipe = {
            "tissue": sha256_file(tissue),
            "artefacts": sha256_file(maps),
            "roi": None if roi is None else sha256_file(roi),
            **shared,
        }
        tasks.append(Task(slide_id=tissue.stem, recipe=recipe, arguments=(tissue, maps, roi, grid)))
    listing = project.process_lists / "patch.csv"
    return Plan(step="patch", tasks=tasks, work=work, out=project.patches, process_list=listing, refused=refused)


def work(
    folder: Path, record: dict[str, Any], tissue: Path, maps: Path, roi: Path | None, grid: dict[str, Any]
) -> list[str]:
    """Writes one slide's grid into `folder`; notes what each step left."""
    mask, notices, region = read_tissue(tissue), list[str](), None
    if roi is not None:
        region, notices = read_polygons(roi, slide_size_px=mask.slide_size_px, bounds_px=mask.bounds_px)
    patches = make_grid(mask, roi=region, artefacts=read_artefacts(maps), **grid)
    write_patches(folder / f"{tissue.stem}.h5", patches, record)
    return [describe(patches.waterfall), *(f"roi: {notice.removeprefix('edit: ')}" for notice in notices)]
