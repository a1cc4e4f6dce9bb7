"""Regions that the experiment on regions is controlled by: moved at random, and cut to drawn lesions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from sammil_cli import console
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs import placebo, true_regions
from sammil_cli.jobs.placebo import PlaceboJob
from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.jobs.true_regions import TrueRegionsJob
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.inputs import content
from sammil_cli.runner.machine import choose_workers
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.placed_bags import place_bags, slides_here
from sammil_cli.storage.code import code_of
from sammil_cli.storage.paths import BagPath, DrawingPath, RegionsPath, TissuePath
from sammil_cli.tissue.drawing_files import find_drawings
from sammil_cli.tissue.edits import drawn_areas

PLACEBO, TRUE = "placebo", "true"
CONTROLS = (PLACEBO, TRUE)
Job = TypeVar("Job")
Inputs = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What controls are made from: the regions of a proposer, in the folder `regions`, of these slides."""

    proposer: str
    regions: Path
    slides: Sequence[str]
    sam: SamSettings


def check(project: Project, asked: Sequence[str] | None, slides: Sequence[str]) -> tuple[str, ...]:
    """The controls to be made; where none are named, both, true regions only if a lesion of these slides is drawn.

    Raises:
        InputError: an unknown one, or true regions without a drawing; or see `find_drawings`.
    """
    known = ", ".join(CONTROLS)
    if unknown := [name for name in asked or () if name not in CONTROLS]:
        raise InputError(f"there is no control {unknown[0]!r}", remedy=f"choose of: {known}; or none: --controls ''")
    drawn = _drawings(project, slides)
    if asked is None:
        return CONTROLS if drawn else (PLACEBO,)
    if TRUE in asked and not drawn:
        raise InputError(
            f"no labelled slide has a lesion drawn in {project.lesions}, so there are no true regions",
            remedy=f"outline lesions in QuPath and export them as {project.lesions}/<slide>.geojson; or leave true "
            "regions out: --controls placebo",
        )
    return tuple(name for name in CONTROLS if name in asked)


def drawn_slides(project: Project, slides: Sequence[str]) -> list[str]:
    """Those of the slides that have lesions drawn."""
    return sorted(_drawings(project, slides))


def make_placebo(place: Project, model: Model, seed: int, options: RunOptions) -> list[Row]:
    """Moves the regions of each slide at random; what is there of the same regions, tissue and seed is used again.

    Args:
        place: its `regions` and `process_lists` are those of the placebo.
    """

    def job_of(regions: RegionsPath, placed: PlacedBag) -> tuple[PlaceboJob, Inputs]:
        job = PlaceboJob(regions=regions, placed=placed, seed=seed, outlines=model.sam.region_polygons)
        return job, {"seed": seed}

    console.say(f"placebo: the regions of {model.proposer}, moved at random")
    return _run(place, model, options, placebo, job_of)


def make_true_regions(place: Project, model: Model, options: RunOptions) -> list[Row]:
    """Cuts the drawn lesions of each slide into its regions; slides without a drawing keep theirs.

    Args:
        place: its `regions` and `process_lists` are those of the true regions.
    """

    drawings = _drawings(place, model.slides)

    def job_of(regions: RegionsPath, placed: PlacedBag) -> tuple[TrueRegionsJob, Inputs]:
        drawing = drawings.get(regions.stem)
        job = TrueRegionsJob(regions=regions, placed=placed, drawing=drawing, outlines=model.sam.region_polygons)
        return job, {"drawing": content(drawing)}

    console.say(
        f"true regions: {len(drawings)} of {len(model.slides)} slides have lesions drawn in {place.lesions}; the "
        f"others keep the regions of {model.proposer}"
    )
    return _run(place, model, options, true_regions, job_of)


def _run(
    place: Project,
    model: Model,
    options: RunOptions,
    module: ModuleType,
    job_of: Callable[[RegionsPath, PlacedBag], tuple[Job, Inputs]],
) -> list[Row]:
    """Runs a job of `sammil_cli.jobs` on each slide, in processes of their own.

    Args:
        job_of: the job of a slide, and what its result depends on besides its regions, its tissue and the suffix of
            outlines.
    """
    suffix, code = model.sam.region_polygons, code_of(module.__name__)

    def task(placed: PlacedBag, lies: Inputs) -> Task[Job]:
        slide = placed.bag.stem
        regions = RegionsPath(model.regions / f"{slide}.h5")
        job, inputs = job_of(regions, placed)
        files = {"regions": content(regions), "region_polygons": suffix}
        return Task.of(slide, job, {**lies, **files, **inputs}, code, strict=model.sam.strict_versions)

    def plan() -> Plan[Job]:
        placed, refused = _placed(place, model.slides)
        return Plan(
            stage=module.__name__.rpartition(".")[2].replace("_", "-"),
            tasks=[task(*one) for one in placed],
            work=module.work,
            out=place.regions,
            process_lists=place.process_lists,
            refused=refused,
            longest_suffix=f".{suffix}",
        )

    # No GPU is of use, and only these slides take part.
    workers = options.workers if options.device == "cpu" else choose_workers(None, "cpu")
    here = replace(options, device="cpu", workers=workers, only=frozenset(model.slides), place="")
    return run_plan(plan, here, limits_of(model.sam))


def _placed(place: Project, slides: Sequence[str]) -> tuple[Sequence[tuple[PlacedBag, Inputs]], list[Row]]:
    """Where the tissue of each slide is; rows of those whose slide was replaced.

    Of bags of features in hand (`place.ungrouped`) what their patches cover, else what `segment` found.
    """
    bags = [BagPath(place.bags / f"{slide}.h5") for slide in slides]
    if place.ungrouped is not None:
        return place_bags(place, bags, slides_here(place), look=False)
    found = []
    for bag in bags:
        tissue = TissuePath(place.tissue / f"{bag.stem}.geojson")
        placed = PlacedBag(bag=bag, slide=None, tissue=tissue, mpp=None, scene=None)
        found.append((placed, {"tissue": content(tissue)}))
    return found, []


def _drawings(project: Project, slides: Sequence[str]) -> dict[str, DrawingPath]:
    """The files of those slides that have an area drawn; a file without one says that there is no lesion."""
    wanted = set(slides)
    files = find_drawings(project.lesions).items()
    return {slide: path for slide, path in files if slide in wanted and not _is_empty(path)}


def _is_empty(path: DrawingPath) -> bool:
    """Whether a drawing has no area; one that cannot be read is not empty, so that its slide's job says why."""
    try:
        return not drawn_areas(path, bounds_px=(0, 0, 1, 1))[0]  # wherever the scanned area lies
    except SlideError:
        return False
