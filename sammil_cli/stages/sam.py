"""sammil sam: slides and tissue masks -> regions."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.console import download_progress
from sammil_cli.regions.file import write_overlay, write_region_polygons, write_regions
from sammil_cli.regions.propose import Proposer, propose_regions
from sammil_cli.slides.files import identify, open_slide
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of, with_slides
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import download
from sammil_cli.tissue.file import read_tissue

CODE = ("storage", "slides", "tissue", "regions", "stages/sam.py")


def run(project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
    """Proposes regions on every slide that has a tissue mask; returns the process list; raises what `plan` raises."""
    return run_plan(plan(project, settings, options), options, limits_of(settings))


def plan(project: Project, settings: SamSettings, options: RunOptions) -> Plan:
    """What there is to do.

    Raises:
        MissingError: the proposer's weights are not here; nothing has been done then.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    chosen = {name: getattr(settings, name) for name in proposer.SETTINGS}
    weights: str | None = None
    if hasattr(proposer, "find_checkpoint"):
        if options.download:
            download(proposer.pinned_weights(settings.model_dump()), download_progress())
        path, weights = proposer.find_checkpoint(settings.model_dump())
        chosen |= {"sam_checkpoint": str(path), "sam_checkpoint_sha256": weights}
    pairs, gone = with_slides(files_of(project.tissue, ".geojson", "segment", options.only), project.slides)
    recipe = {name: value for name, value in chosen.items() if name != "sam_checkpoint"}
    shared = {
        "settings": {"proposer": settings.proposer, "sam_canvas_px": settings.sam_canvas_px, **recipe},
        "code": code_version(*CODE),
    }
    call = (settings.proposer, tuple(sorted(chosen.items())), settings.sam_canvas_px, options.device)
    tasks = [
        Task(
            slide_id=tissue.stem,
            recipe={"slide": identify(slide), "tissue": sha256_file(tissue), **shared},
            arguments=(slide, tissue, *call),
        )
        for tissue, slide in pairs
    ]
    out, listing = project.regions, project.process_lists / "sam.csv"
    return Plan(step="sam", tasks=tasks, work=work, out=out, process_list=listing, refused=gone)


@lru_cache(maxsize=1)
def _proposer(name: str, settings: tuple[tuple[str, Any], ...], device: str) -> Proposer:
    """One model per worker process, whatever the number of its slides."""
    proposer: Proposer = choices.load(choices.PROPOSERS, name).make(dict(settings), device)
    return proposer


def work(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    tissue_path: Path,
    name: str,
    settings: tuple[tuple[str, Any], ...],
    canvas_px: int,
    device: str,
) -> list[str]:
    """Writes one slide's regions, their polygons and their overlay into `folder`."""
    tissue = read_tissue(tissue_path)
    with open_slide(path, tissue.slide_mpp) as slide:
        regions, image = propose_regions(slide, tissue, _proposer(name, settings, device), canvas_px)
    write_regions(folder / f"{tissue.slide_id}.h5", regions, record)
    write_region_polygons(folder / f"{tissue.slide_id}.geojson", regions, tissue.bounds_px[:2], record)
    write_overlay(folder / f"{tissue.slide_id}.png", image, regions)
    return slide.remarks
