"""What people called the regions that they drew. Regions themselves keep no names."""

from typing import NamedTuple

import shapely
from shapely import MultiPolygon, Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.regions.region_mask import RegionMask, shared
from sammil_cli.storage.drawing import read_drawn_shapes
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.mask import paint_area

_SAME = 0.5  # IoU from which on a region is taken for what was drawn; what excludes may have been taken off it


class Called(NamedTuple):
    """The name and class of an annotation; "" = it has none."""

    name: str
    class_name: str


def drawn_names(path: DrawingPath, offset_px: tuple[int, int], regions: RegionMap) -> dict[int, Called]:
    """What the annotations are called that regions were made of, by region; regions without such a one are left out.

    Each annotation is painted on the regions' canvas and looked for among them.

    Args:
        path: the drawing that the regions were made of (proposer `geojson`).
        offset_px: corner of the scanned area, from which QuPath counts.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read.
    """
    try:
        shapes, _ = read_drawn_shapes(path, offset_px=offset_px)
    except InputError as error:
        raise SlideError("E_EDIT", error.message, remedy=error.remedy) from None
    found: dict[int, tuple[float, Called]] = {}
    for shape in shapes:
        called = Called(shape.name, shape.class_name)
        mask = _painted(shape.geometry, regions) if shape.object_type == "annotation" and any(called) else None
        if mask is not None:
            region, same = _most_alike(mask, regions)
            if same >= max(_SAME, found.get(region, (0.0, called))[0]):
                found[region] = same, called
    return {region: called for region, (_, called) in sorted(found.items())}


def _painted(geometry: shapely.Geometry, regions: RegionMap) -> RegionMask | None:
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(geometry)))
    area = MultiPolygon([part for part in parts if isinstance(part, Polygon)])
    width, height = regions.canvas.size_px
    painted = paint_area(area, regions.canvas.origin_px, regions.canvas.downsample, (height, width))
    return None if painted is None else RegionMask.of(*painted)


def _most_alike(mask: RegionMask, regions: RegionMap) -> tuple[int, float]:
    """The region with the largest IoU, and that; -1, 0 where none meets the mask."""
    best = (-1, 0.0)
    for region, box in enumerate(regions.box.tolist()):
        if part := shared(mask.box, tuple(box)):
            both = int((mask.within(part) & regions.mask(region).within(part)).sum())
            iou = both / (mask.area_px + int(regions.area_px[region]) - both)
            best = max(best, (region, iou), key=lambda one: one[1])
    return best
