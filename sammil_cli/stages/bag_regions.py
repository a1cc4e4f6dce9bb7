"""sammil sam --features: bags -> regions, on slides that may not be here."""

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs.bag_regions import BagRegionsJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.propose import FEATURES, PIXELS, seen_by
from sammil_cli.runner.earlier_files import bags_of
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.slides.files import find_slides
from sammil_cli.stages.placed_bags import place_bags, slides_here
from sammil_cli.stages.proposing import drawings_folder, not_drawn, shared_key
from sammil_cli.storage.paths import SlidePath
from sammil_cli.tissue.drawing_files import find_drawings

_WITHOUT = "find regions in the features alone: -S proposer=features"


def plan(
    project: Project, settings: SamSettings, options: RunOptions, *, weightless: bool = False
) -> Plan[BagRegionsJob]:
    """What is to do for the bags in `project.ungrouped`.

    The tissue of a slide is the one that `segment` found, where it is here, else what its patches cover. Slides are
    wanted by a proposer that looks at pixels; to others they say how large they are, and where QuPath begins to count.

    Args:
        weightless: see `stages.proposing.shared_key`.

    Raises:
        InputError: there are no bags, or no slides where they are wanted. MissingError: the weights are not here.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    shared, sees = shared_key(proposer, settings, options, weightless=weightless), seen_by(proposer)
    bags, slides = bags_of(project, options.only), _slides(project, wanted=sees == PIXELS)
    folder = drawings_folder(project, proposer)
    drawings = {} if folder is None else find_drawings(folder)
    stray = {name: path.name for name, path in drawings.items() if name not in {bag.stem for bag in bags}}
    found, refused = place_bags(project, bags, slides, look=sees != FEATURES)
    tasks = []
    for placed, inputs in found:
        name = placed.bag.stem
        drawing = drawings.get(name)
        if sees == PIXELS and placed.slide is None:
            refused.append(_not_here(name, project))
            continue
        if folder is not None and drawing is None:
            refused.append(refusal(name, not_drawn(name, folder, stray)))
            continue
        job = BagRegionsJob(placed=placed, drawing=drawing, settings=settings, device=options.device)
        drawn = {} if drawing is None else {"drawing": content(drawing)}
        code = code_of_slide("bag-regions", placed.slide, settings.proposer)
        tasks.append(Task.of(name, job, {**inputs, **drawn, **shared}, code, strict=settings.strict_versions))
    return Plan(
        stage="sam",
        tasks=tasks,
        work=work,
        out=project.regions,
        process_lists=project.process_lists,
        refused=refused,
        longest_suffix=f".{settings.region_polygons}",
    )


def _slides(project: Project, *, wanted: bool) -> dict[str, SlidePath]:
    """The slides that are here, by id.

    Raises:
        InputError: they are `wanted`, and none are here.
    """
    if not wanted:
        return slides_here(project)
    try:
        return find_slides(project.slides).paths
    except InputError as error:
        raise InputError(error.message, remedy=f"{error.remedy}; or {_WITHOUT}") from None


def _not_here(slide_id: str, project: Project) -> Row:
    remedy = f"put it, or a link to it, there; or {_WITHOUT}"
    return refusal(slide_id, SlideError("E_UPSTREAM", f"its slide is not in {project.slides}", remedy=remedy))
