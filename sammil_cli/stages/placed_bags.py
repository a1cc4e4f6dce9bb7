"""Bags of features in hand, each with what says where its slide's tissue is, and the part of a key that this is."""

from collections.abc import Mapping, Sequence

from sammil_cli.errors import InputError
from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import with_slides
from sammil_cli.runner.inputs import content
from sammil_cli.slides.files import find_slides
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.paths import BagPath, SlidePath, TissuePath


def slides_here(project: Project) -> dict[str, SlidePath]:
    """The slides that are here, by id: none in most projects of features."""
    try:
        return find_slides(project.slides).paths
    except InputError:
        return {}


def place_bags(
    project: Project, bags: Sequence[BagPath], slides: Mapping[str, SlidePath], *, look: bool
) -> tuple[list[tuple[PlacedBag, dict[str, object]]], list[Row]]:
    """Each bag with its tissue, where `segment` found it, and its slide.

    Args:
        slides: those that are here, by id. look: whether they are looked at where their tissue is known, too; else all
            that they would be opened for is known then.

    Returns:
        The bags with what their places depend on, and a row for each whose slide was replaced.
    """
    here = [bag for bag in bags if bag.stem in slides]
    held, refused = with_slides(here, project, lambda bag: (_tissue(project, bag), bag)) if here else ([], [])
    seen = {bag.stem: (slide, digest) for bag, slide, digest in held}
    replaced = {row.slide_id for row in refused}
    entries = read_slides_table(project.slides_table)
    found = []
    for bag in (bag for bag in bags if bag.stem not in replaced):
        tissue, entry = _tissue(project, bag), entries.get(bag.stem, SlideEntry())
        known = tissue if tissue.exists() else None
        slide, digest = seen.get(bag.stem, (None, None)) if look or known is None else (None, None)
        placed = PlacedBag(bag=bag, slide=slide, tissue=known, mpp=entry.mpp, scene=entry.scene)
        inputs: dict[str, object] = {
            "bag": content(bag),
            "slide": digest,
            "tissue": content(known),
            "mpp": entry.mpp,
            "scene": entry.scene,
        }
        found.append((placed, inputs))
    return found, refused


def _tissue(project: Project, bag: BagPath) -> TissuePath:
    return TissuePath(project.tissue / f"{bag.stem}.geojson")
