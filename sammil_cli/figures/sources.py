"""The slides of a figure: their files, which ones are drawn where none is named, and what becomes of the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import shapely
from shapely import Polygon

from sammil_cli import console
from sammil_cli.errors import InputError, SammilError, SlideError, as_slide_error
from sammil_cli.jobs.slide_layers import lesion_polygons
from sammil_cli.patches.file import read_patches
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import lack_of, with_slides
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.paths import BagPath, DrawingPath, PatchesPath, RegionsPath, SlidePath
from sammil_cli.tissue.drawing_files import find_drawings

MOST_SLIDES = 8  # of one figure: more cannot be looked at together
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one slide. `lesions`: None where nobody drew any; an empty drawing says that it has no lesion."""

    slide_id: str
    slide: SlidePath
    patches: PatchesPath
    regions: RegionsPath
    bag: BagPath
    lesions: DrawingPath | None


def find_sources(project: Project, slides: Sequence[str], *, bags: bool) -> tuple[list[Source], list[Row]]:
    """The slides that can be drawn, in the order asked for, and the rows of the others.

    Args:
        slides: ids; none = a few that show much, see `telling_slides`. bags: whether feature bags are needed, too.

    Raises:
        InputError: more slides are named than one figure holds, or no slide is left to choose from.
    """
    if len(slides) > MOST_SLIDES:
        raise InputError(
            f"{len(slides)} slides are named, and one figure holds {MOST_SLIDES}",
            remedy="draw several figures, each into a folder of its own: --out report/figures/first",
        )
    known, drawings = find_slides(project.slides).paths, find_drawings(project.lesions)
    stages = [("patch", project.patches), ("sam", project.regions), *([("extract", project.bags)] if bags else [])]
    wanted = list(dict.fromkeys(slides)) or sorted(path.stem for path in stages[-1][1].glob("*.h5"))
    if not wanted:
        raise InputError(f"{stages[-1][1]} holds no slide", remedy=f"run: sammil {stages[-1][0]}")
    refused, there = [], []
    for slide_id in wanted:
        lost = [(stage, folder / f"{slide_id}.h5") for stage, folder in stages if not _is(folder, slide_id)]
        if slide_id not in known:
            hint = did_you_mean(slide_id, known)
            gone = SlideError("E_UPSTREAM", f"there is no such slide in {project.slides}", remedy=hint)
            refused.append(refusal(slide_id, gone))
        elif lost:
            refused.append(refusal(slide_id, lack_of(project, slide_id, lost[0][1], lost[0][0])))
        else:
            there.append(slide_id)
    pairs, replaced = with_slides(
        [PatchesPath(project.patches / f"{slide_id}.h5") for slide_id in there], project, lambda path: (path,)
    )
    found = [
        Source(
            slide_id=patches.stem,
            slide=slide,
            patches=patches,
            regions=RegionsPath(project.regions / patches.name),
            bag=BagPath(project.bags / patches.name),
            lesions=drawings.get(patches.stem),
        )
        for patches, slide, _ in pairs
    ]
    return found, [*refused, *replaced] if slides or not found else []


def _is(folder: Path, slide_id: str) -> bool:
    return (folder / f"{slide_id}.h5").is_file()


def lesion_mm2(lesions: DrawingPath, mpp: float) -> float:
    """The area of what is drawn, mm²; polygons that overlap count once.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read.
    """
    polygons, _ = lesion_polygons(lesions, (0, 0, 0, 0))  # an area is the same from every corner
    return float(shapely.union_all(polygons).area) * mpp**2 / 1e6


def telling_slides(sources: Sequence[Source], *, healthy: bool) -> list[Source]:
    """The slides with the largest and the smallest lesions, and one without; the first slide where none has any.

    Args:
        healthy: whether one without lesions is wanted.
    """
    with console.counted(_area, len(sources), "areas of lesions") as area:
        areas = {source.slide_id: area(source) for source in sources}
    ill = sorted((s for s in sources if areas[s.slide_id] > 0), key=lambda s: (-areas[s.slide_id], s.slide_id))
    well = [source for source in sources if areas[source.slide_id] == 0]
    found = list({source.slide_id: source for source in (*ill[:1], *ill[-1:])}.values())
    return found + well[: 1 if healthy or not found else 0]


def _area(source: Source) -> float:
    try:
        return lesion_mm2(source.lesions, read_patches(source.patches).slide_mpp) if source.lesions else 0.0
    except SammilError:  # other slides are chosen
        return -1.0


def draw_each(
    name: str, sources: Sequence[Source], draw: Callable[[Source], Drawn]
) -> tuple[list[tuple[str, Drawn]], list[Row]]:
    """What `draw` makes of each slide, and a row for each; a slide that cannot be drawn costs itself only."""
    drawn, rows = [], []
    with console.progress(len(sources), name) as bar:
        for source in sources:
            try:
                drawn.append((source.slide_id, draw(source)))
                rows.append(Row(slide_id=source.slide_id, status="done"))
            except SammilError as error:
                rows.append(refusal(source.slide_id, as_slide_error(error)))
            bar.advance(source.slide_id)
    return drawn, rows


def lesions_in(source: Source, bounds_px: tuple[int, int, int, int]) -> list[Polygon]:
    """The slide's lesions, level-0 pixels of the whole file; empty without a drawing.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read.
    """
    return lesion_polygons(source.lesions, bounds_px)[0] if source.lesions else []
