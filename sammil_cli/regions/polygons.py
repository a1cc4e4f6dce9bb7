"""Regions as GeoJSON for QuPath."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.regions.region_map import RegionMap
from sammil_cli.regions.region_mask import RegionMask, middles
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, write_geojson
from sammil_cli.tissue.trace import trace

_OUTLINED_PX = 1 << 24
# Outlines are simplified by this number of canvas pixels: of 1500 regions as SAM draws them each kept an IoU of 0.95
# or more with its mask, on two thirds of the points.
_MOST_OFF_PX = 0.6
_AT_ONCE = 2048  # regions whose outlines are held


def write_region_polygons(path: Path, regions: RegionMap, offset_px: tuple[int, int], provenance: Record) -> None:
    """Writes one `Region` annotation per region, with id, areas and scores, in level-0 pixels.

    Outlines run along the outer edges of a region's pixels, to 0.6 canvas pixels; a region whose box has more than 2²⁴
    pixels is outlined on a grid as much coarser. A few thousand are outlined at a time, whatever their number.

    Args:
        path: packed where the name ends with `.gz`.
    """
    facts = {**provenance, "slide_id": regions.slide_id}
    write_geojson(path, annotations(regions), offset_px=offset_px, provenance=facts)


def annotations(regions: RegionMap) -> Iterator[tuple[Shape, Record]]:
    """The regions in their order, in level-0 pixels, with the numbers that QuPath sorts them by."""
    for first in range(0, len(regions), _AT_ONCE):
        part = range(first, min(first + _AT_ONCE, len(regions)))
        for region, outline in zip(part, _outlines(regions, part), strict=True):
            # No name: QuPath writes names on the slide, a hundred thousand of them, too.
            area = {} if isnan(regions.canvas.mpp) else {"area_um2": round(float(regions.area_um2[region]), 1)}
            yield (
                Shape(geometry=outline, class_name="Region"),
                {
                    "region": region,
                    **area,
                    "predicted_iou": round(float(regions.predicted_iou[region]), 4),
                    "stability": round(float(regions.stability[region]), 4),
                },
            )


def _outlines(regions: RegionMap, part: range) -> NDArray[np.object_]:
    """The outlines of some of the regions, in level-0 pixels."""
    canvas = regions.canvas
    sides = regions.box[part.start : part.stop, 2:].astype(np.int64)
    steps = np.ceil(np.sqrt(sides.prod(1) / _OUTLINED_PX)).astype(int)
    drawn = [_outline(regions.mask(region), int(step)) for region, step in zip(part, steps, strict=True)]
    place = _simplified(drawn, steps)
    level0 = shapely.transform(place, lambda points: np.round(points * canvas.downsample + canvas.origin_px, 1))
    return np.asarray(level0, object)


def outline_of(mask: NDArray[np.bool_]) -> shapely.MultiPolygon:
    """A mask (h, w) as polygons along the outer edges of its pixels, to 0.6 of them; its corner is (0, 0)."""
    if not mask.any():
        return shapely.MultiPolygon()
    outline: shapely.MultiPolygon = _simplified([_outline(RegionMask.of(mask), 1)], np.ones(1, int))[0]
    return outline


def _simplified(drawn: list[shapely.MultiPolygon], steps: NDArray[np.int64]) -> NDArray[np.object_]:
    """Outlines with fewer points, each to 0.6 of its steps, valid, without lines."""
    simple = shapely.make_valid(shapely.simplify(np.array(drawn, object), _MOST_OFF_PX * steps))
    return np.array([_polygons(shape) for shape in simple], object)


def _outline(region: RegionMask, step: int) -> shapely.MultiPolygon:
    """The region's outline in canvas pixels, pixel by pixel of a grid of `step`."""
    x, y, width, height = region.box
    mask = region.array() if step == 1 else region.at(middles(x, width, step), middles(y, height, step))
    if not mask.any():  # specks between the grid's points: their box
        mask[:] = True

    def place(ring: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.asarray(np.minimum(ring * step, (width, height)) + np.array([x, y]), np.int64)

    return shapely.MultiPolygon(
        [shapely.Polygon(place(outer), list(map(place, holes))) for outer, holes in trace(mask)]
    )


def _polygons(shape: shapely.Geometry) -> shapely.MultiPolygon:
    """Those of a shape, without lines."""
    flat = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon(flat[shapely.get_type_id(flat) == shapely.GeometryType.POLYGON].tolist())
