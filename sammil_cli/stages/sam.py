"""sammil sam: slides and tissue masks -> regions."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from sammil_cli import choices, console
from sammil_cli.config import SamSettings
from sammil_cli.console import download_progress
from sammil_cli.errors import MissingError, SlideError
from sammil_cli.jobs.sam import SamJob, work
from sammil_cli.project import quality_table
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import files_of, undone_by, with_slides
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.storage.nearest_ids import nearest_ids
from sammil_cli.storage.paths import TissuePath
from sammil_cli.storage.weight_download import download
from sammil_cli.storage.weights import WantedWeights
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings


def run(project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
    """Proposes regions on every slide that has a tissue mask; returns the process list.

    Raises:
        InputError, MissingError: what `check` and `plan` raise; nothing has been done then.
    """
    check(settings, options)
    rows = run_plan(partial(plan, project, settings, options), options, limits_of(settings))
    folder = drawings_folder(project, choices.load(choices.PROPOSERS, settings.proposer))
    if folder is not None:
        undone = undone_by(project, "segment")
        for line in stray_drawings(folder, {path.stem for path in project.tissue.glob("*.geojson")}, undone):
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


def plan(project: Project, settings: SamSettings, options: RunOptions, *, weightless: bool = False) -> Plan[SamJob]:
    """What is to do.

    Args:
        weightless: only to look at: missing weights are taken for those that are pinned.

    Raises:
        MissingError: the proposer's weights are not here; nothing has been done then.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    facts = {
        "proposer": settings.proposer,
        "sam_canvas_px": settings.sam_canvas_px,
        "sam_mpp": settings.sam_mpp,
        **({} if settings.sam_mpp is None else {"sam_tile_overlap": settings.sam_tile_overlap}),
        **{name: getattr(settings, name) for name in proposer.SETTINGS if name not in getattr(proposer, "LOCAL", ())},
    }
    # How outlines are packed is none of the settings that a bag is made with.
    shared: dict[str, object] = {"settings": facts, "region_polygons": settings.region_polygons}
    if hasattr(proposer, "wanted_weights"):
        wanted = proposer.wanted_weights(settings.model_dump())
        shared["weights"] = _sha256(wanted, download_first=options.download, weightless=weightless)
    found = files_of(TissuePath, project, project.tissue, "segment", options.only)
    pairs, refused = with_slides(found, project, lambda tissue: (tissue.with_suffix(".h5"), tissue))
    folder = drawings_folder(project, proposer)
    drawings = {} if folder is None else find_drawings(folder)
    stray = {name: path.name for name, path in drawings.items() if not (project.tissue / f"{name}.geojson").exists()}
    tasks = []
    for tissue, slide, seen in pairs:
        drawing = drawings.get(tissue.stem)
        if folder is not None and drawing is None:
            refused.append(refusal(tissue.stem, _not_drawn(tissue.stem, folder, stray)))
            continue
        code = code_of_slide("sam", slide, settings.proposer)
        inputs = {"slide": seen, "tissue": content(tissue)} | ({} if drawing is None else {"drawing": content(drawing)})
        job = SamJob(slide=slide, tissue=tissue, drawing=drawing, settings=settings, device=options.device)
        tasks.append(Task.of(tissue.stem, job, {**inputs, **shared}, code, strict=settings.strict_versions))
    out, process_lists = project.regions, project.process_lists
    return Plan(
        stage="sam",
        tasks=tasks,
        work=work,
        out=out,
        process_lists=process_lists,
        refused=refused,
        longest_suffix=f".{settings.region_polygons}",
    )


def _sha256(wanted: WantedWeights, *, download_first: bool, weightless: bool) -> str | None:
    if download_first and wanted.to_fetch:
        download(wanted.to_fetch, download_progress())
    try:
        return wanted.identify()
    except MissingError:
        if not weightless:
            raise
        return wanted.sha256


def drawings_folder(project: Project, proposer: ModuleType) -> Path | None:
    """The folder of the project with the drawings that a proposer wants of each slide; None if it wants none."""
    folder: Path | None = getattr(project, proposer.INPUTS) if hasattr(proposer, "INPUTS") else None
    return folder


def _not_drawn(slide_id: str, folder: Path, stray: Mapping[str, str]) -> SlideError:
    near = nearest_ids(slide_id, stray, 1)
    hint = f"rename {stray[near[0]]}, if it is this slide's; or " if near else ""
    return SlideError(
        "E_ANNOTATION",
        f"it has no drawing: {folder / slide_id}.geojson does not exist",
        remedy=f"{hint}draw its regions in QuPath and export them as GeoJSON to that file",
    )
