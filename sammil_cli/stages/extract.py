"""sammil extract: patches and regions, or bags and regions -> feature bags."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sammil_cli.config import ExtractSettings
from sammil_cli.jobs import regroup
from sammil_cli.jobs.extract import ExtractJob, work
from sammil_cli.jobs.regroup import RegroupJob, membership
from sammil_cli.project import quality_table
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import bags_of, files_of, lack_of, with_slides
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.encoding import encoder_in_use
from sammil_cli.storage.paths import ArtefactsPath, BagPath, PatchesPath, RegionsPath


def run(project: Project, settings: ExtractSettings, options: RunOptions) -> list[Row]:
    """Encodes or regroups the patches of every slide with regions; returns the process list; raises as `plan`."""
    rows = run_plan(partial(plan, project, settings, options), options, limits_of(settings))
    quality_table.report("extract", project.bags, project.process_lists)
    return rows


def plan(project: Project, settings: ExtractSettings, options: RunOptions) -> Plan[Any]:
    """What is to do, with `ExtractJob`s; of a project that names features its bags are grouped anew, see `plan_bags`.

    Raises:
        InputError: there are no patches, or no bags. MissingError: the encoder's weights are not here.
    """
    if project.ungrouped is not None:
        bags = bags_of(project, options.only)
        return plan_bags("extract", bags, project, settings)
    settings, shared = encoder_in_use(settings, options)
    found = files_of(PatchesPath, project, project.patches, "patch", options.only)
    pairs, refused = with_slides(found, project, partial(made_before, project))
    tasks = []
    for patches, slide, seen in pairs:
        regions = RegionsPath(project.regions / patches.name)
        if not regions.exists():
            refused.append(refusal(patches.stem, lack_of(project, patches.stem, regions, "sam")))
            continue
        maps = ArtefactsPath(project.tissue / patches.name)
        artefacts = maps if maps.exists() else None
        code = code_of_slide("extract", slide, settings.encoder, settings.encode_backend)
        inputs = {
            "slide": seen,
            "artefacts": content(artefacts),
            "patches": content(patches),
            "regions": content(regions),
        }
        job = ExtractJob(
            slide=slide, patches=patches, regions=regions, artefacts=artefacts, settings=settings, device=options.device
        )
        tasks.append(Task.of(patches.stem, job, {**inputs, **shared}, code, strict=settings.strict_versions))
    out, process_lists = project.bags, project.process_lists
    return Plan(stage="extract", tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)


def made_before(project: Project, patches: PatchesPath) -> tuple[Path, ...]:
    """Earlier files that say which slide they were made from; an HDF5 file takes ten times as long to ask."""
    tissue = project.tissue / patches.name
    return tissue.with_suffix(".geojson"), tissue, project.regions / patches.name


def plan_bags(stage: str, bags: Sequence[BagPath], project: Project, settings: ExtractSettings) -> Plan[RegroupJob]:
    """What is to do where bags are grouped by the regions of a project; no slide is read, and nothing encoded.

    Args:
        stage: whose results they are.
    """
    code = code_of_slide("regroup")
    tasks, refused = [], []
    for bag in bags:
        regions = RegionsPath(project.regions / bag.name)
        if not regions.exists():
            refused.append(refusal(bag.stem, lack_of(project, bag.stem, regions, "sam")))
            continue
        inputs = {"bag": content(bag), "regions": content(regions), "settings": membership(settings)}
        job = RegroupJob(bag=bag, regions=regions, settings=settings)
        tasks.append(Task.of(bag.stem, job, inputs, code, strict=settings.strict_versions))
    out, process_lists = project.bags, project.process_lists
    return Plan(stage=stage, tasks=tasks, work=regroup.work, out=out, process_lists=process_lists, refused=refused)
