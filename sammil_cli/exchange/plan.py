"""What is converted of an older run: what the user asks for, and a task for each slide."""

from pathlib import Path

from sammil_cli import choices
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError
from sammil_cli.jobs.convert_legacy import ConvertJob, Request, work
from sammil_cli.legacy.inventory import Kind
from sammil_cli.legacy.layout import Layout, Source, find_layout
from sammil_cli.legacy.patch_lists import read_patch_lists
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.project import Project
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.slides.files import find_slides, identify
from sammil_cli.slides.table import read_mpp_overrides
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import SlidePath

_SHOWN = 5


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
    mpp, slides = read_mpp_overrides(request.slides_table), _slides(request.slides)
    tasks = []
    for one in layout.sources:
        tissue = layout.settings.get(one.slide_id)
        key = {
            "files": {path.name: sha256_file(path) for path in _files(one) if path.is_file()},
            "kinds": [path.parent.name for path in _files(one)],
            "tissue": tissue,
            "run_encoder": one.encoder,
        }
        job = ConvertJob(
            slide_id=one.slide_id,
            source=one,
            grids=grids,
            slide=slides.get(one.slide_id),
            mpp=mpp.get(one.slide_id),
            tissue=tissue or "",
            request=request,
        )
        tasks.append(_task(job, key | {"grids": grids}))
    return _plan(tasks, project, out or (project.patches if grids else project.bags)), _found_lines(
        layout, grids, len(slides.keys() & {task.slide_id for task in tasks})
    )


def _task(job: ConvertJob, files: dict[str, object]) -> Task[ConvertJob]:
    code = code_of_slide("convert-legacy", job.slide)
    key = files | {
        "id": job.slide_id,
        "slide": None if job.slide is None else identify(job.slide),
        "mpp": job.mpp,
        "settings": job.request.settings(),
        **code.as_key(strict=False),
    }
    return Task(slide_id=job.slide_id, key=key, libraries=code.libraries, job=job)


def _plan(tasks: list[Task[ConvertJob]], project: Project, out: Path) -> Plan[ConvertJob]:
    process_list = project.process_lists / "convert-legacy.csv"
    return Plan(stage="convert-legacy", tasks=tasks, work=work, out=out, process_list=process_list)


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
    passed = [
        f"{len(layout.inventory.of(kind))} {kind.value}"
        for kind in (Kind.ATTENTION, Kind.SLIDE_FEATURES, Kind.TISSUE, Kind.CONTOURS, Kind.WEIGHTS, Kind.DAMAGED)
        if layout.inventory.of(kind)
    ]
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
    mpp, slides = read_mpp_overrides(request.slides_table), _slides(request.slides)
    file = {"file": sha256_file(path)}
    jobs = [
        ConvertJob(slide_id=name, source=path, slide=slides.get(name), mpp=mpp.get(name), request=request)
        for name in found
    ]
    plan = _plan([_task(job, dict(file)) for job in jobs], project, out or project.bags)
    return plan, [f"DTFD-style pickle: features of {len(found)} slides, {placed} with places in their patches' names"]
