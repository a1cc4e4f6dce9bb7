"""Fig. 5 of the paper: a slide's regions below the outlines of its lesions, from the whole slide to a close-up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from matplotlib.axes import Axes
from numpy.typing import NDArray
from shapely import Polygon

from sammil_cli.errors import SlideError
from sammil_cli.figures.sheet import Panel, PanelRow, outline, outline_key, scale_bar, sheet
from sammil_cli.figures.sources import Source, draw_each, find_sources, lesion_mm2, lesions_in, telling_slides
from sammil_cli.figures.written import list_slides, rounded, write_figure
from sammil_cli.jobs.slide_layers import region_labels
from sammil_cli.patches.file import read_patches
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.slides.field import Field, around, read_field
from sammil_cli.slides.files import open_slide

NAME = "regions"
_MOST_PX = 900  # longest side of a panel's picture
_ACROSS = 4  # columns of a row at most
_LEAST_UM = 400.0  # side of a close-up
_MOSTLY = 0.5  # share of a region that is lesion, from which on it counts as one of lesion


@dataclass(frozen=True, kw_only=True)
class RegionFit:
    """How regions meet lesions, of what is shown: the smallest region at each pixel of the canvas.

    `iou`: of the largest lesion and the region that fits it best; `held`: share of all lesion area in regions that are
    lesion by half or more; `covered`: in any region. None without a lesion on the canvas.
    """

    regions: int
    mm2: float | None
    iou: float | None
    held: float | None
    covered: float | None


@dataclass(frozen=True, kw_only=True)
class _Column:
    slide_id: str
    what: str
    field: Field
    labels: NDArray[np.int32]
    lesions: Sequence[Polygon]
    fit: RegionFit


def run(project: Project, slides: Sequence[str], out: Path) -> list[Row]:
    """Draws the figure and returns what became of each slide.

    Args:
        slides: ids; none = the slides with the largest and the smallest lesion, and one without.
    """
    sources, refused = find_sources(project, slides, bags=False)
    chosen = sources if slides else telling_slides(sources, healthy=True)
    drawn, rows = draw_each(NAME, chosen, _columns)
    rows = [*refused, *rows]
    if drawn:
        columns = sorted((c for _, found in drawn for c in found), key=lambda c: -_width_um(c.field))
        write_figure(out, NAME, _picture(columns), _record(drawn), _table(drawn))
    return list_slides(project.process_lists, NAME, rows, out)


def _columns(source: Source) -> list[_Column]:
    grid, regions = read_patches(source.patches), read_regions(source.regions)
    with open_slide(source.slide, grid.slide_mpp, grid.scene) as slide:
        lesions = lesions_in(source, slide.bounds_px)
        fit = fit_of(regions, lesions, None if source.lesions is None else lesion_mm2(source.lesions, slide.mpp))
        if not len(grid.xy):
            raise SlideError("E_NO_PATCH", "it has no patch", remedy="look at: sammil patch")
        low, high = grid.xy.min(axis=0), grid.xy.max(axis=0) + grid.patch_px_level0
        margin = 2.0 * grid.patch_px_level0
        boxes = [("whole tissue", around(tuple(low), tuple(high), margin, slide.size_px))]
        if lesions:
            largest = max(lesions, key=lambda polygon: float(polygon.area))
            x0, y0, x1, y1 = largest.bounds
            side = max(1.8 * max(x1 - x0, y1 - y0), _LEAST_UM / slide.mpp)
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            boxes.append(("largest lesion", around(middle, middle, side / 2, slide.size_px)))
        found = []
        for what, box in boxes:
            field = read_field(slide, box, _MOST_PX)
            labels = region_labels(regions, field.origin_px, field.factor, field.size_px)
            column = _Column(slide_id=source.slide_id, what=what, field=field, labels=labels, lesions=lesions, fit=fit)
            found.append(column)
    return found


def fit_of(regions: RegionMap, lesions: Sequence[Polygon], mm2: float | None) -> RegionFit:
    """Compares regions with lesions of level-0 pixels, on the regions' canvas.

    Args:
        mm2: area of the lesions.
    """
    labels = regions.labels()
    masks = [_raster(polygon, regions, labels.shape) for polygon in lesions]
    inside = np.any(masks, axis=0) if masks else np.zeros(labels.shape, bool)
    if not inside.any():
        return RegionFit(regions=len(regions), mm2=mm2, iou=None, held=None, covered=None)
    count = len(regions) + 1  # region -1 comes last
    size = np.bincount(labels.ravel() % count, minlength=count)[:-1]
    of_lesion = np.bincount(labels[inside] % count, minlength=count)[:-1]
    largest = max(masks, key=np.count_nonzero)
    shared = np.bincount(labels[largest] % count, minlength=count)[:-1]
    together = size + np.count_nonzero(largest) - shared
    whole = np.count_nonzero(inside)
    return RegionFit(
        regions=len(regions),
        mm2=mm2,
        iou=float((shared / together).max(initial=0.0)),
        held=float(of_lesion[of_lesion >= _MOSTLY * np.maximum(size, 1)].sum() / whole),
        covered=float(of_lesion.sum() / whole),
    )


def _raster(polygon: Polygon, regions: RegionMap, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels of the canvas whose middle lies in a polygon."""
    canvas = regions.canvas
    x0, y0, x1, y1 = (
        (value - canvas.origin_px[axis % 2]) / canvas.downsample for axis, value in enumerate(polygon.bounds)
    )
    columns = np.arange(max(0, math.floor(x0)), min(shape[1], math.ceil(x1)))
    rows = np.arange(max(0, math.floor(y0)), min(shape[0], math.ceil(y1)))
    mask = np.zeros(shape, bool)
    if len(rows) and len(columns):
        x, y = ((own + 0.5) * canvas.downsample + canvas.origin_px[axis] for axis, own in enumerate((columns, rows)))
        shapely.prepare(polygon)
        mask[np.ix_(rows, columns)] = shapely.contains_xy(polygon, *np.meshgrid(x, y))
    return mask


def _width_um(field: Field) -> float:
    return field.um_per_px * max(field.size_px)


def _picture(columns: Sequence[_Column]) -> bytes:
    rows = []
    across = math.ceil(len(columns) / math.ceil(len(columns) / _ACROSS))  # rows of nearly equal length
    for first in range(0, len(columns), across):
        part = columns[first : first + across]
        upper = [
            Panel(
                title=f"{column.slide_id}: {column.what}",
                shape=(column.field.size_px[1], column.field.size_px[0]),
                draw=partial(_draw, column, column.field.image),
            )
            for column in part
        ]
        lower = [
            Panel(
                title=f"{column.fit.regions} regions",
                shape=(column.field.size_px[1], column.field.size_px[0]),
                draw=partial(_draw, column, draw_regions(column.field.image, column.labels)),
                below=_said(column),
            )
            for column in part
        ]
        rows += [PanelRow(heading="", panels=upper), PanelRow(heading="", panels=lower)]
    notes = [
        "Above: the slide. Below: its regions, as in the paper's Fig. 5. From the largest field to the smallest. "
        "Colours separate neighbouring regions and mean nothing else."
    ]
    return sheet("Regions below the outlines of lesions", notes, rows, [[outline_key("known lesion")]])


def _draw(column: _Column, image: NDArray[np.uint8], axes: Axes) -> None:
    axes.imshow(image)
    outline(axes, column.field, column.lesions)
    scale_bar(axes, column.field)


def _said(column: _Column) -> list[str]:
    fit = column.fit
    if fit.iou is None or fit.held is None:
        none = "the lesions drawn lie outside of what was searched for regions" if fit.mm2 else "no lesion drawn"
        return [none] if column.what == "whole tissue" else []
    if column.what == "whole tissue":
        return [f"lesions {fit.mm2:.3g} mm², {fit.held:.0%} of them in regions that are mostly lesion"]
    return [f"best region of it: IoU {fit.iou:.2f}"]


def _table(drawn: Sequence[tuple[str, list[_Column]]]) -> list[dict[str, object]]:
    return [
        {
            "slide_id": slide_id,
            "regions": columns[0].fit.regions,
            "lesion_mm2": rounded(columns[0].fit.mm2),
            "iou_of_largest_lesion": rounded(columns[0].fit.iou),
            "lesion_in_mostly_lesion_regions": rounded(columns[0].fit.held),
            "lesion_in_any_region": rounded(columns[0].fit.covered),
        }
        for slide_id, columns in drawn
    ]


def _record(drawn: Sequence[tuple[str, list[_Column]]]) -> dict[str, object]:
    slides = []
    for row, (_, columns) in zip(_table(drawn), drawn, strict=True):
        shown = [{"what": c.what, "side_um": rounded(_width_um(c.field), 1)} for c in columns]
        slides.append({**row, "panels": shown})
    return {"figure": NAME, "as": "Fig. 5", "slides": slides}
