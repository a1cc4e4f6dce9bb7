"""sammil sam: slides and tissue masks -> regions."""

from functools import partial
from typing import Any

from sammil_cli import choices, console
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError
from sammil_cli.jobs.sam import SamJob, work
from sammil_cli.project import quality_table
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.propose import FEATURES, seen_by
from sammil_cli.runner.earlier_files import files_of, undone_by, with_slides
from sammil_cli.runner.how_to_run import backend_of
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages import bag_regions
from sammil_cli.stages.proposing import drawings_folder, not_drawn, shared_key
from sammil_cli.storage.paths import TissuePath
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings


def run(project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
    """Proposes regions on every slide that has a tissue mask, or a bag; returns the process list.

    Raises:
        InputError, MissingError: what `check` and `plan` raise; nothing has been done then.
    """
    check(settings, options)
    rows = run_plan(partial(plan, project, settings, options), options, limits_of(settings))
    folder = drawings_folder(project, choices.load(choices.PROPOSERS, settings.proposer))
    if folder is not None:
        bags = project.ungrouped
        known = project.tissue.glob("*.geojson") if bags is None else bags.glob("*.h5")
        undone = undone_by(project, *(["segment"] if bags is None else ["convert-legacy", "tiles"]))
        for line in stray_drawings(folder, {path.stem for path in known}, undone):
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


def plan(project: Project, settings: SamSettings, options: RunOptions, *, weightless: bool = False) -> Plan[Any]:
    """What is to do, with `SamJob`s; for the bags of a project that names features see `stages.bag_regions`.

    Args:
        weightless: see `stages.proposing.shared_key`.

    Raises:
        InputError: the proposer looks at features, and the bags have none. MissingError: its weights are not here.
    """
    if project.ungrouped is not None:
        return bag_regions.plan(project, settings, options, weightless=weightless)
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    if seen_by(proposer) == FEATURES:
        raise InputError(
            f"the proposer {settings.proposer} finds regions in the features of bags, and no folder of bags is named",
            remedy="give it: sammil sam --features DIR, then sammil extract --features DIR",
        )
    shared = shared_key(proposer, settings, options, weightless=weightless)
    found = files_of(TissuePath, project, project.tissue, "segment", options.only)
    pairs, refused = with_slides(found, project, lambda tissue: (tissue, tissue.with_suffix(".h5")))
    backend = backend_of(proposer, settings)[1]
    folder = drawings_folder(project, proposer)
    drawings = {} if folder is None else find_drawings(folder)
    stray = {name: path.name for name, path in drawings.items() if not (project.tissue / f"{name}.geojson").exists()}
    tasks = []
    for tissue, slide, seen in pairs:
        drawing = drawings.get(tissue.stem)
        if folder is not None and drawing is None:
            refused.append(refusal(tissue.stem, not_drawn(tissue.stem, folder, stray)))
            continue
        code = code_of_slide("sam", slide, settings.proposer, backend)
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
