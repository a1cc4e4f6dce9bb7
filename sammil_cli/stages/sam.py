"""sammil sam: slides and tissue masks -> regions."""

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sammil_cli import choices, console
from sammil_cli.config import SamSettings
from sammil_cli.console import download_progress
from sammil_cli.errors import MissingError, SlideError
from sammil_cli.regions.file import write_overlay, write_regions
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.propose import Proposer, propose_regions
from sammil_cli.regions.quality import flags, measure, quality_record
from sammil_cli.slides.files import identify, open_slide
from sammil_cli.stages import quality_table
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.segment import stray_drawings
from sammil_cli.stages.upstream import files_of, with_slides
from sammil_cli.stages.worker import own_device
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file, write_json
from sammil_cli.storage.weights import download
from sammil_cli.tissue.edits import find_drawings
from sammil_cli.tissue.file import read_tissue
from sammil_cli.tissue.mask import TissueMask

CODE = ("storage", "slides", "tissue", "regions", "stages/sam.py")
_LOCAL = ("sam_checkpoint", "sam_compile")  # do not change the regions


def run(project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
    """Proposes regions on every slide that has a tissue mask; returns the process list.

    Raises:
        InputError, MissingError: what `check` and `plan` raise; nothing has been done then.
    """
    check(settings, options)
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    folder = drawings_folder(project, choices.load(choices.PROPOSERS, settings.proposer))
    if folder is not None:
        for line in stray_drawings(folder, dict.fromkeys(path.stem for path in project.tissue.glob("*.geojson"))):
            console.say(line)
    quality_table.report("sam", project.regions, project.process_lists)
    return rows


def check(settings: SamSettings, options: RunOptions) -> None:
    """Refuses what the proposer cannot do, on the device that is asked for, before any slide.

    Raises:
        InputError: a setting. MissingError: its weights.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    if hasattr(proposer, "check"):
        proposer.check(settings.model_dump(), options.device)


def plan(project: Project, settings: SamSettings, options: RunOptions, *, weightless: bool = False) -> Plan:
    """What there is to do.

    Args:
        weightless: only to look at: missing weights are taken for those that are pinned.

    Raises:
        MissingError: the proposer's weights are not here; nothing has been done then.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    chosen = {name: getattr(settings, name) for name in proposer.SETTINGS}
    if hasattr(proposer, "find_checkpoint"):
        chosen |= _checkpoint(proposer, settings, download_first=options.download, weightless=weightless)
    views = views_of(settings)
    recipe = {name: value for name, value in {**views, **chosen}.items() if name not in _LOCAL}
    shared = {"settings": {"proposer": settings.proposer, **recipe}, "code": code_version(*CODE)}
    call = (settings.proposer, tuple(sorted(chosen.items())), tuple(views.items()), options.device)
    pairs, refused = with_slides(files_of(project.tissue, ".geojson", "segment", options.only), project.slides)
    folder = drawings_folder(project, proposer)
    drawings = {} if folder is None else find_drawings(folder)
    stray = [slide_id for slide_id in drawings if not (project.tissue / f"{slide_id}.geojson").exists()]
    tasks = []
    for tissue, slide in pairs:
        drawing = drawings.get(tissue.stem)
        if folder is not None and drawing is None:
            refused.append(refusal(tissue.stem, _not_drawn(tissue.stem, folder, stray)))
            continue
        drawn = {} if drawing is None else {"drawing": sha256_file(drawing)}
        recipe = {"slide": identify(slide), "tissue": sha256_file(tissue), **drawn, **shared}
        tasks.append(Task(slide_id=tissue.stem, recipe=recipe, arguments=(slide, tissue, drawing, *call)))
    out, listing = project.regions, project.process_lists / "sam.csv"
    return Plan(step="sam", tasks=tasks, work=work, out=out, process_list=listing, refused=refused)


def _checkpoint(
    proposer: ModuleType, settings: SamSettings, *, download_first: bool, weightless: bool
) -> dict[str, Any]:
    given = settings.model_dump()
    if download_first:
        download(proposer.pinned_weights(given), download_progress())
    try:
        path, sha256 = proposer.find_checkpoint(given)
    except MissingError:
        if not weightless:
            raise
        path, sha256 = None, settings.sam_checkpoint_sha256 or proposer.pinned_weights(given).sha256
    return {"sam_checkpoint": str(path), "sam_checkpoint_sha256": sha256}


def views_of(settings: SamSettings) -> dict[str, Any]:
    """The settings that say what a proposer sees; the overlap of tiles only where there are tiles."""
    tiles = {} if settings.sam_mpp is None else {"sam_tile_overlap": settings.sam_tile_overlap}
    return {"sam_canvas_px": settings.sam_canvas_px, "sam_mpp": settings.sam_mpp, **tiles}


def drawings_folder(project: Project, proposer: ModuleType) -> Path | None:
    """The folder of the project with the drawings that a proposer wants of each slide; None if it wants none."""
    folder: Path | None = getattr(project, proposer.INPUTS) if hasattr(proposer, "INPUTS") else None
    return folder


def _not_drawn(slide_id: str, folder: Path, stray: Sequence[str]) -> SlideError:
    near = difflib.get_close_matches(slide_id, stray, 1, 0.5)
    hint = f"rename {near[0]}.geojson, if it is this slide's; or " if near else ""
    return SlideError(
        "E_ANNOTATION",
        f"it has no drawing: {folder / slide_id}.geojson does not exist",
        remedy=f"{hint}draw its regions in QuPath and export them as GeoJSON to that file",
    )


@lru_cache(maxsize=1)
def _proposer(name: str, settings: tuple[tuple[str, Any], ...], device: str) -> Proposer:
    """One model per worker process, whatever the number of its slides."""
    proposer: Proposer = choices.load(choices.PROPOSERS, name).make(dict(settings), own_device(device))
    return proposer


def work(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    tissue_path: Path,
    drawing: Path | None,
    name: str,
    settings: tuple[tuple[str, Any], ...],
    views: tuple[tuple[str, Any], ...],
    device: str,
) -> list[str]:
    """Writes one slide's regions, their polygons, overlay and quality into `folder`; returns remarks and flags."""
    proposer = _proposer(name, settings, device)
    advice: Mapping[str, str] = getattr(choices.load(choices.PROPOSERS, name), "ADVICE", {})
    return write_proposed(folder, record, path, read_tissue(tissue_path), proposer, dict(views), advice, drawing)


def write_proposed(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    tissue: TissueMask,
    proposer: Proposer,
    views: Mapping[str, Any],
    advice: Mapping[str, str],
    drawing: Path | None = None,
) -> list[str]:
    """What `work` does, with any proposer and tissue."""
    with open_slide(path, tissue.slide_mpp) as slide:
        regions, picture = propose_regions(
            slide,
            tissue,
            proposer,
            canvas_px=views["sam_canvas_px"],
            mpp=views["sam_mpp"],
            overlap=views.get("sam_tile_overlap", 0.0),
            drawing=drawing,
        )
    quality = measure(regions, picture, tissue)
    write_regions(folder / f"{tissue.slide_id}.h5", regions, record)
    write_region_polygons(folder / f"{tissue.slide_id}.geojson", regions, tissue.bounds_px[:2], record)
    write_overlay(folder / f"{tissue.slide_id}.png", picture, regions)
    write_json(folder / f"{tissue.slide_id}.json", quality_record(quality, advice))
    return [*slide.remarks, *flags(quality, advice)]
