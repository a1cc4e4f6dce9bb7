"""sammil convert-legacy: an older tool's files -> feature bags or patch grids, and its tables."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError
from sammil_cli.exchange.tables import read_tables, write_tables
from sammil_cli.jobs.convert_legacy import ConvertJob, Request, work
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.legacy.inventory import Inventory, Kind, take_inventory
from sammil_cli.legacy.layout import Layout, Source, find_layout
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.patch_lists import read_patch_lists
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.inputs import content, slide_input
from sammil_cli.runner.per_slide import Plan, Task, run_plan
from sammil_cli.slides.files import find_slides
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.paths import SlidePath

_IGNORED = re.compile(r"would have ignored (\d+) of (\d+) masks")
_LEFT = (Kind.ATTENTION, Kind.SLIDE_FEATURES, Kind.TISSUE, Kind.CONTOURS, Kind.WEIGHTS, Kind.ZIPPED, Kind.DAMAGED)
_SHOWN = 5


def run(
    source: Path, request: Request, project: Project, options: RunOptions, out: Path | None
) -> tuple[list[Row], Path]:
    """Converts what lies in `source`; `<slide>.txt` beside a bag or grid says what was assumed.

    Args:
        out: folder of the bags or grids, None = the project's.

    Returns:
        The process list, and the folder that was written.

    Raises:
        InputError: nothing to convert, or several things that could be meant; the message lists what was found.
        MissingError: the encoder that is to check features is not here.
    """
    found = take_inventory(source)
    lists = found.of(Kind.PATCH_LISTS, Kind.MAT_BAGS)
    held = (Kind.FEATURES, Kind.BARE_FEATURES, Kind.TENSOR, Kind.PLACED_TENSOR, Kind.COORDS, Kind.IMAGES)
    holds = found.of(*held)
    asked = any((request.features, request.coords, request.segments, request.process_list, request.grids))
    if not lists and not holds and not asked:
        return _tables_only(found, request, project), project.bags
    if len(lists) > 1 or (lists and holds):
        raise InputError(
            f"{source} holds more than one kind of features:\n{found.listing()}",
            remedy=f"convert one after the other, such as: sammil convert-legacy {lists[0]}",
        )
    make = partial(plan_layout, source)
    if lists:
        make = partial(plan_mat if lists[0] in found.of(Kind.MAT_BAGS) else plan_lists, lists[0])
    plan, say = make(request, project, out)
    slides = {task.slide_id for task in plan.tasks}
    check_only(options.only, slides, str(source))
    tables = read_tables(found, project, slides, request.labels, request.splits, request.classes)
    if request.checks.features and request.checks.encoder:
        build_encoder(request.checks.encoder, "cpu")  # fails here, before any work, when something is missing
    for line in say:
        console.say(line)
    if lists:  # every process would read the whole file
        options = replace(options, workers=1)
    looked_at = iter([plan])

    def chosen() -> Plan[ConvertJob]:
        now = next(looked_at, None) or make(request, project, out)[0]
        return now if options.only is None else now.only(options.only)

    rows = run_plan(chosen, _keeping(plan, options), request.limits)
    _say_remarks(rows)
    write_tables(tables, project, slides)
    return rows, plan.out


def _tables_only(found: Inventory, request: Request, project: Project) -> list[Row]:
    tables = read_tables(found, project, None, request.labels, request.splits, request.classes)
    if tables.empty:
        weights = found.of(Kind.WEIGHTS)
        alone = [f"a weight file is converted alone: sammil convert-legacy {weights[0]}"] if weights else []
        raise InputError(
            f"there are no features and no patch coordinates in {found.root}; it holds\n{found.listing()}",
            remedy="; ".join([*alone, *tables.remarks]) or "give the folder of the run",
        )
    write_tables(tables, project, set())
    return []


def _keeping(plan: Plan[ConvertJob], options: RunOptions) -> RunOptions:
    """Of `out` only the slides of this folder count: what came from another one, or another command, is kept."""
    return replace(options, only=options.only or frozenset(task.slide_id for task in plan.tasks))


def encoder_to_check(settings: ExtractSettings, name: str | None) -> ExtractSettings:
    """The encoder to check features with: the one that is named, if it is one of ours, else that of the settings."""
    return settings.model_copy(update={"encoder": name}) if name in choices.names(choices.ENCODERS) else settings


def slides_of(project: Project) -> Path | None:
    """The project's slide folder to check against, where it holds anything."""
    return project.slides if project.slides.is_dir() and any(project.slides.iterdir()) else None


def plan_layout(
    source: Path, request: Request, project: Project, out: Path | None
) -> tuple[Plan[ConvertJob], list[str]]:
    """A task for each slide of a run's folder, or of one of its files, and lines that say what was found.

    Raises:
        InputError: see `legacy.layout.find_layout`; or a table or slide folder that cannot be read.
    """
    layout = find_layout(
        source,
        request.features,
        request.segments,
        request.coords,
        request.process_list,
        require_segments=request.with_segments,
        require_coords=request.with_coords,
        grids=request.grids,
    )
    grids = layout.features is None
    entries, slides = read_slides_table(request.slides_table), _slides(request.slides)
    tasks = []
    for one in layout.sources:
        tissue = layout.settings.get(one.slide_id)
        key = {
            "files": {path.name: content(path) for path in _files(one) if path.is_file()},
            "kinds": [path.parent.name for path in _files(one)],
            "tissue": tissue,
            "run_encoder": one.encoder,
        }
        job = ConvertJob(
            slide_id=one.slide_id,
            source=one,
            grids=grids,
            slide=slides.get(one.slide_id),
            mpp=entries.get(one.slide_id, SlideEntry()).mpp,
            scene=entries.get(one.slide_id, SlideEntry()).scene,
            tissue=tissue or "",
            request=request,
        )
        tasks.append(_task(job, key | {"grids": grids}))
    return _plan(tasks, project, out or (project.patches if grids else project.bags)), _found_lines(
        layout, grids, len(slides.keys() & {task.slide_id for task in tasks})
    )


def _task(job: ConvertJob, files: dict[str, object]) -> Task[ConvertJob]:
    code = code_of_slide("convert-legacy", job.slide)
    inputs = files | {
        "id": job.slide_id,
        "slide": None if job.slide is None else slide_input(job.slide),
        "mpp": job.mpp,
        "scene": job.scene,
        "settings": job.request.settings(),
    }
    return Task.of(job.slide_id, job, inputs, code)


def _plan(tasks: list[Task[ConvertJob]], project: Project, out: Path) -> Plan[ConvertJob]:
    return Plan(stage="convert-legacy", tasks=tasks, work=work, out=out, process_lists=project.process_lists)


def _files(source: Source) -> list[Path]:
    given = (source.features, source.coords, source.segments, source.sam_info, source.seg_file)
    return [path for path in given if path is not None]


def _slides(folder: Path | None) -> dict[str, SlidePath]:
    return {} if folder is None else find_slides(folder).paths


def _found_lines(layout: Layout, grids: bool, slides: int) -> list[str]:
    what = "patch coordinates" if grids else "features"
    against = f", {slides} with their slide" if slides else ", no slides to check against"
    lines = [f"{layout.tool}: {what} of {len(layout.sources)} slides in {layout.features or layout.root}{against}"]
    lines += layout.remarks
    gone = list(layout.left_out.items())
    lines += [f"left out: {slide}: {reason}" for slide, reason in gone[:_SHOWN]]
    if len(gone) > _SHOWN:
        lines.append(f"left out: … and {len(gone) - _SHOWN} more")
    passed = [f"{len(layout.inventory.of(kind))} {kind.value}" for kind in _LEFT if layout.inventory.of(kind)]
    return [*lines, f"not converted: {', '.join(passed)}"] if passed else lines


def plan_lists(path: Path, request: Request, project: Project, out: Path | None) -> tuple[Plan[ConvertJob], list[str]]:
    """As `plan_layout`, of a DTFD-style pickle.

    Raises:
        InputError: the pickle is refused, or its patches have no places and `request` needs them.
    """
    found = read_patch_lists(path)
    placed = sum(one.xy is not None for one in found.values())
    if placed < len(found) and request.with_coords:
        raise InputError(
            f"{path}: the patches of {len(found) - placed} of {len(found)} slides have no places in their names "
            "(…_<x>_<y>_<column>_<row>_WW_…_HH_….png)",
            remedy="convert them without coordinates, which costs their heatmaps: --no-coords",
        )
    entries, slides = read_slides_table(request.slides_table), _slides(request.slides)
    file = {"file": content(path)}
    jobs = []
    for name in found:
        entry, slide = entries.get(name, SlideEntry()), slides.get(name)
        jobs.append(
            ConvertJob(slide_id=name, source=path, slide=slide, mpp=entry.mpp, scene=entry.scene, request=request)
        )
    plan = _plan([_task(job, dict(file)) for job in jobs], project, out or project.bags)
    return plan, [f"DTFD-style pickle: features of {len(found)} slides, {placed} with places in their patches' names"]


def plan_mat(path: Path, request: Request, project: Project, out: Path | None) -> tuple[Plan[ConvertJob], list[str]]:
    """As `plan_layout`, of a classical data set in MATLAB's files.

    Raises:
        InputError: the files are refused, or `request` needs coordinates.
    """
    found = read_mat_bags(path)
    if request.with_coords:
        raise InputError(
            f"{path}: the {len(found.bags)} bags of a classical data set have no coordinates",
            remedy="convert them without, which costs their heatmaps: --no-coords",
        )
    files: dict[str, object] = {file.name: content(file) for file in found.files}
    tasks = [
        _task(ConvertJob(slide_id=name, source=path, slide=None, mpp=None, request=request), dict(files))
        for name in found.bags
    ]
    positive = sum(label == "positive" for label in found.labels.values())
    said = f"classical data set: {len(tasks)} bags, {positive} of them positive, in {path.parent}"
    return _plan(tasks, project, out or project.bags), [said]


def report(rows: Sequence[Row], out: Path, project: Project) -> None:
    """Prints what could not be done and the totals; remarks were said by `run`, once for all slides."""
    process_list = project.process_lists / "convert-legacy.csv"
    summarise("convert-legacy", [replace(row, remarks=()) for row in rows], out, process_list)


def _say_remarks(rows: Sequence[Row]) -> None:
    """What was assumed, each once with the number of its slides, and what the original pipeline would have ignored."""
    told: dict[str, list[str]] = {}
    masks = ignored = slides = 0
    for row in rows:
        for note in row.remarks:
            told.setdefault(re.sub(r"\d[\d.]*", "#", note), []).append(note)
            if match := _IGNORED.search(note):
                slides, ignored, masks = slides + 1, ignored + int(match[1]), masks + int(match[2])
    for remarks in told.values():
        same = len(set(remarks)) == 1
        console.say(
            f"{len(remarks)} slide(s): {remarks[0]}" + ("" if same else " (numbers differ: see the process list)")
        )
    if ignored:
        console.say(
            f"the published steps would have ignored {ignored} of {masks} masks in {slides} slide(s), since they read "
            "the first piece of tissue only; all are in the bags"
        )
