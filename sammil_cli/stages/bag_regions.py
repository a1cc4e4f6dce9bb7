"""sammil sam --features: bags -> regions, on slides that may not be here."""

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs.bag_regions import BagRegionsJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.propose import FEATURES, PIXELS, seen_by
from sammil_cli.runner.earlier_files import bags_of, with_slides
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.slides.files import find_slides
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.stages.proposing import drawings_folder, not_drawn, shared_key
from sammil_cli.storage.paths import BagPath, SlidePath, TissuePath
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
    entries = read_slides_table(project.slides_table)
    folder = drawings_folder(project, proposer)
    drawings = {} if folder is None else find_drawings(folder)
    stray = {name: path.name for name, path in drawings.items() if name not in {bag.stem for bag in bags}}
    here = [bag for bag in bags if bag.stem in slides]
    held, refused = with_slides(here, project, lambda bag: (_tissue(project, bag), bag)) if here else ([], [])
    seen = {bag.stem: (slide, digest) for bag, slide, digest in held}
    replaced = {row.slide_id for row in refused}
    tasks = []
    for bag in bags:
        name, tissue, entry = bag.stem, _tissue(project, bag), entries.get(bag.stem, SlideEntry())
        slide, digest = seen.get(name, (None, None))
        drawing = drawings.get(name)
        if name in replaced:
            continue
        if sees == PIXELS and slide is None:
            refused.append(_not_here(name, project))
            continue
        if folder is not None and drawing is None:
            refused.append(refusal(name, not_drawn(name, folder, stray)))
            continue
        if sees == FEATURES and tissue.exists():
            slide, digest = None, None  # all that it would be opened for is known
        job = BagRegionsJob(
            bag=bag,
            slide=slide,
            tissue=tissue if tissue.exists() else None,
            drawing=drawing,
            mpp=entry.mpp,
            scene=entry.scene,
            settings=settings,
            device=options.device,
        )
        inputs = {
            "bag": content(bag),
            "slide": digest,
            "tissue": content(job.tissue),
            "mpp": entry.mpp,
            "scene": entry.scene,
            **({} if drawing is None else {"drawing": content(drawing)}),
        }
        code = code_of_slide("bag-regions", slide, settings.proposer)
        tasks.append(Task.of(name, job, {**inputs, **shared}, code, strict=settings.strict_versions))
    return Plan(
        stage="sam",
        tasks=tasks,
        work=work,
        out=project.regions,
        process_lists=project.process_lists,
        refused=refused,
        longest_suffix=f".{settings.region_polygons}",
    )


def _tissue(project: Project, bag: BagPath) -> TissuePath:
    return TissuePath(project.tissue / f"{bag.stem}.geojson")


def _slides(project: Project, *, wanted: bool) -> dict[str, SlidePath]:
    """The slides that are here, by id: none in most projects of features.

    Raises:
        InputError: they are `wanted`, and none are here.
    """
    try:
        return find_slides(project.slides).paths
    except InputError as error:
        if wanted:
            raise InputError(error.message, remedy=f"{error.remedy}; or {_WITHOUT}") from None
        return {}


def _not_here(slide_id: str, project: Project) -> Row:
    remedy = f"put it, or a link to it, there; or {_WITHOUT}"
    return refusal(slide_id, SlideError("E_UPSTREAM", f"its slide is not in {project.slides}", remedy=remedy))
