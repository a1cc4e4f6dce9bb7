"""What convert-legacy would do with a source: a task for each slide of an older run's folder, pickle or matrix."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.jobs.convert_legacy import ConvertJob, Request, work
from sammil_cli.legacy.inventory import Inventory, Kind, take_inventory
from sammil_cli.legacy.layout import Layout, Source, find_layout
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.patch_lists import read_patch_lists
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.project import Project
from sammil_cli.runner.inputs import content, slide_input
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.slides.files import find_slides
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.paths import SlidePath

Planned = tuple[Plan[ConvertJob], list[str]]

_LISTS = (Kind.PATCH_LISTS, Kind.MAT_BAGS)
_PLACED = (Kind.FEATURES, Kind.PLACED_TENSOR, Kind.PLACED_ROWS, Kind.COORDS, Kind.IMAGES, Kind.CORNERS)
_HELD = (*_PLACED, Kind.BARE_FEATURES, Kind.TENSOR, Kind.ARRAY, Kind.ROWS)
_LEFT = (Kind.ATTENTION, Kind.SLIDE_FEATURES, Kind.TISSUE, Kind.CONTOURS, Kind.WEIGHTS, Kind.ZIPPED, Kind.DAMAGED)
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Held:
    """A source that holds features or coordinates.

    `request`: what is asked of it. `lists`: the pickle or matrix that all of its slides lie in, None = a file for each.
    """

    source: Path
    found: Inventory
    request: Request
    lists: Path | None

    def plan(self, project: Project, out: Path | None) -> Planned:
        """A task for each of its slides, and lines that say what was found; reads every file to identify it.

        Raises:
            InputError: several things could be meant, or something needed is not there.
        """
        make: Callable[[Request, Project, Path | None], Planned] = partial(plan_layout, self.source)
        if self.lists is not None:
            make = partial(plan_mat if self.found.of(Kind.MAT_BAGS) else plan_lists, self.lists)
        return make(self.request, project, out)

    def slides(self) -> tuple[dict[str, Path], list[str]]:
        """Where each slide lies, and lines that say what was found; looks at files without reading them whole.

        Raises:
            InputError: as `plan`.
        """
        if self.lists is not None:
            named = read_mat_bags(self.lists).bags if self.found.of(Kind.MAT_BAGS) else read_patch_lists(self.lists)
            return dict.fromkeys(named, self.lists), [f"features of {len(named)} slides in {self.lists}"]
        layout = _layout(self.source, self.request)
        return {one.slide_id: place_of(one) for one in layout.sources}, _found_lines(layout, self.request.grids, 0)

    @property
    def has_places(self) -> bool:
        """Whether it says where patches are."""
        lists = self.found.of(Kind.PATCH_LISTS)
        if lists:
            return all(one.xy is not None for one in read_patch_lists(lists[0]).values())
        return bool(self.found.of(*_PLACED))


def held_in(source: Path, request: Request) -> tuple[Inventory, Held | None]:
    """What lies in a source; None where it holds neither features nor coordinates, and none are named.

    Raises:
        InputError: it is not there, or holds features of more than one kind.
    """
    found = take_inventory(source)
    lists, holds = found.of(*_LISTS), found.of(*_HELD)
    asked = any((request.features, request.coords, request.segments, request.process_list, request.grids))
    if not lists and not holds and not asked:
        return found, None
    if len(lists) > 1 or (lists and holds):
        raise InputError(
            f"{source} holds more than one kind of features:\n{found.listing()}",
            remedy=f"convert one after the other, such as: sammil convert-legacy {lists[0]}",
        )
    return found, Held(source=source, found=found, request=request, lists=lists[0] if lists else None)


def where_placed(held: Held) -> Held:
    """The same; coordinates are kept where there are any, though features without them are asked for as well."""
    return (
        held if held.request.with_coords else replace(held, request=replace(held.request, with_coords=held.has_places))
    )


def plan_all(held: Sequence[Held], project: Project, out: Path | None) -> Planned:
    """One plan for several sources, and lines that say what was found in each.

    Raises:
        InputError: a slide lies in two of them; or as a source's own plan.
    """
    plans = [one.plan(project, out) for one in held]
    refuse_twice({task.slide_id: place_of(task.job.source) for task in plan.tasks} for plan, _ in plans)
    tasks = [task for plan, _ in plans for task in plan.tasks]
    return replace(plans[0][0], tasks=tasks), [line for _, said in plans for line in said]


def refuse_twice(places: Iterable[Mapping[str, Path]]) -> None:
    """Refuses a slide that lies in two sources.

    Raises:
        InputError: with both places.
    """
    known: dict[str, Path] = {}
    for one in places:
        if twice := sorted(known.keys() & one.keys()):
            more = f", and {len(twice) - 1} more slides lie in both" if len(twice) > 1 else ""
            raise InputError(
                f"the slide {twice[0]!r} lies in {known[twice[0]]} and in {one[twice[0]]}{more}",
                remedy="leave one of the two out, since nothing says which features are meant",
            )
        known |= one


def place_of(source: Source | Path) -> Path:
    """The file of a slide's features or, where only its grid is taken, coordinates."""
    if isinstance(source, Path):
        return source
    return next((path for path in (source.features, source.coords) if path is not None), Path(source.slide_id))


def plan_layout(source: Path, request: Request, project: Project, out: Path | None) -> Planned:
    """A task for each slide of a run's folder, or of one of its files, and lines that say what was found.

    Raises:
        InputError: see `legacy.layout.find_layout`; or a table or slide folder that cannot be read.
    """
    layout = _layout(source, request)
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


def _layout(source: Path, request: Request) -> Layout:
    return find_layout(
        source,
        request.features,
        request.segments,
        request.coords,
        request.process_list,
        require_segments=request.with_segments,
        require_coords=request.with_coords,
        grids=request.grids,
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


def plan_lists(path: Path, request: Request, project: Project, out: Path | None) -> Planned:
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


def plan_mat(path: Path, request: Request, project: Project, out: Path | None) -> Planned:
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
