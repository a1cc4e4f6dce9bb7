"""Regions on disk: HDF5 with run lengths, GeoJSON for QuPath, and the picture that shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.regions.region_map import OVERVIEW_PX, Canvas, RegionMap
from sammil_cli.regions.region_mask import RegionMask, middles
from sammil_cli.slides.slide import RGB
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.geojson import write_geojson
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5
from sammil_cli.tissue.mask import trace

_LABEL_MAP_PX = 4096
_OUTLINED_PX = 1 << 24
# How far outlines are simplified, canvas pixels: of 1500 regions as SAM draws them, from 30 px on, each keeps an IoU of
# 0.95 with its mask, on two thirds of the points.
_MOST_OFF_PX = 0.6
_ARRAYS = ("runs", "offsets", "area_px", "box", "predicted_iou", "stability")
_SHAPES = {"runs": "k", "area_px": "m", "box": "m 4", "predicted_iou": "m", "stability": "m"}


def write_regions(path: Path, regions: RegionMap, provenance: Mapping[str, Any]) -> None:
    """Writes the arrays of `RegionMap`, areas in µm², the canvas, and a label map with no side above 4096 px."""
    canvas = regions.canvas
    step = canvas.step_to(_LABEL_MAP_PX)
    arrays = {name: getattr(regions, name) for name in _ARRAYS}
    arrays |= {"area_um2": regions.area_um2, "label_map": regions.labels(step=step)}
    facts = {
        "slide_id": regions.slide_id,
        "canvas_origin_px": canvas.origin_px,
        "canvas_downsample": canvas.downsample,
        "canvas_size_px": canvas.size_px,
        "canvas_mpp": canvas.mpp,
        "label_map_step": step,
    }
    write_hdf5(path, "regions", arrays, facts, provenance, compressed=("runs", "label_map"))


def read_regions(path: Path) -> RegionMap:
    """Reads what `write_regions` wrote; `InputError` where it is something else."""
    arrays, facts = read_hdf5(path, "regions", arrays=_ARRAYS, shapes=_SHAPES)
    x, y = (int(v) for v in facts["canvas_origin_px"])
    width, height = (int(v) for v in facts["canvas_size_px"])
    canvas = Canvas(
        origin_px=(x, y),
        downsample=float(facts["canvas_downsample"]),
        size_px=(width, height),
        mpp=float(facts["canvas_mpp"]),
    )
    return RegionMap(slide_id=facts["slide_id"], canvas=canvas, **{name: arrays[name] for name in _ARRAYS})


def write_region_polygons(
    path: Path, regions: RegionMap, offset_px: tuple[int, int], provenance: Mapping[str, Any]
) -> None:
    """Writes one `Region` annotation per region, with id, areas and scores, in level-0 pixels.

    Outlines run along the outer edges of a region's pixels, to 0.6 canvas pixels; a region whose box has more than 2²⁴
    pixels is outlined on a grid as much coarser.
    """
    numbers = [
        {
            "region": region,
            "area_um2": round(float(regions.area_um2[region]), 1),
            "predicted_iou": round(float(regions.predicted_iou[region]), 4),
            "stability": round(float(regions.stability[region]), 4),
        }
        for region in range(len(regions))
    ]
    shapes = list(zip(_outlines(regions), numbers, strict=True))
    write_geojson(path, shapes, class_name="Region", offset_px=offset_px, provenance=provenance)


def _outlines(regions: RegionMap) -> list[shapely.Geometry]:
    """The regions' outlines in level-0 pixels."""
    canvas = regions.canvas
    sides = regions.box[:, 2:].astype(np.int64)
    steps = np.ceil(np.sqrt(sides.prod(1) / _OUTLINED_PX)).astype(int)
    drawn = [_outline(regions.mask(region), int(step)) for region, step in enumerate(steps)]
    simple = shapely.make_valid(shapely.simplify(np.array(drawn, object), _MOST_OFF_PX * steps))
    place = np.array([_polygons(shape) for shape in simple], object)
    return list(shapely.transform(place, lambda points: np.round(points * canvas.downsample + canvas.origin_px, 1)))


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


def write_overlay(path: Path, image: RGB, regions: RegionMap) -> None:
    """Writes the canvas with each region tinted and outlined, as PNG. A region keeps its colour.

    Args:
        image: (h, w, 3) the canvas, shrunk by `Canvas.step_to(OVERVIEW_PX)`.
    """
    picture = draw_regions(image, regions.labels(step=regions.canvas.step_to(OVERVIEW_PX)))
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.ascontiguousarray(picture[..., ::-1]))


def draw_regions(image: RGB, labels: NDArray[np.int32]) -> RGB:
    """Tints an image (h, w, 3) by a label map (h, w), -1 = none, and draws the borders between labels."""
    colours = np.random.default_rng(0).integers(40, 256, (labels.max(initial=0) + 1, 3))
    tint = np.where(labels[..., None] >= 0, colours[labels], image)
    mixed = (0.6 * image + 0.4 * tint).astype(np.uint8)
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    mixed[border] = (30, 30, 30)
    return mixed
