"""Regions on disk: HDF5 with run lengths, GeoJSON for QuPath, and the picture that shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Canvas, RegionMap
from sammil_cli.slides.slide import RGB
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.geojson import write_geojson
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5

_ARRAYS = ("runs", "offsets", "area_px", "box", "predicted_iou", "stability")
_SHAPES = {"runs": "k", "area_px": "m", "box": "m 4", "predicted_iou": "m", "stability": "m"}


def write_regions(path: Path, regions: RegionMap, provenance: Mapping[str, Any]) -> None:
    """Writes the arrays of `RegionMap`, areas in µm², the label map and the canvas."""
    canvas = regions.canvas
    arrays = {name: getattr(regions, name) for name in _ARRAYS}
    arrays |= {"area_um2": regions.area_um2, "label_map": regions.label_map}
    facts = {
        "slide_id": regions.slide_id,
        "canvas_origin_px": canvas.origin_px,
        "canvas_downsample": canvas.downsample,
        "canvas_size_px": canvas.size_px,
        "canvas_mpp": canvas.mpp,
    }
    write_hdf5(path, "regions", arrays, facts, provenance, compressed=("runs", "label_map"))


def read_regions(path: Path) -> RegionMap:
    """Reads what `write_regions` wrote; `InputError` where it is something else."""
    arrays, facts = read_hdf5(path, "regions", shapes=_SHAPES)
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
    """Writes one `Region` annotation per region, with id, areas and scores, in level-0 pixels."""
    shapes = []
    for region in range(len(regions)):
        numbers = {
            "region": region,
            "area_um2": round(float(regions.area_um2[region]), 1),
            "predicted_iou": round(float(regions.predicted_iou[region]), 4),
            "stability": round(float(regions.stability[region]), 4),
        }
        shapes.append((_outline(regions, region), numbers))
    write_geojson(path, shapes, class_name="Region", offset_px=offset_px, provenance=provenance)


def _outline(regions: RegionMap, region: int) -> shapely.Geometry:
    """The region's outline in level-0 pixels, along the centres of its border pixels, simplified to a pixel."""
    canvas = regions.canvas
    corner = regions.box[region][:2]
    mask = regions.mask(region).array().astype(np.uint8)
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces = [
        shapely.Polygon(
            _points(contour, corner),
            [_points(contours[c], corner) for c in _holes(tree[0], index) if len(contours[c]) > 2],
        )
        for index, contour in enumerate(contours)
        if tree[0][index][3] == -1 and len(contour) > 2
    ]
    shape = shapely.make_valid(shapely.simplify(shapely.MultiPolygon(pieces), 0.7))
    parts = [p for p in shapely.get_parts(shape) if isinstance(p, shapely.Polygon)]
    nested = [q for p in shapely.get_parts(shape) if isinstance(p, shapely.MultiPolygon) for q in p.geoms]
    whole = shapely.MultiPolygon([*parts, *nested])
    if whole.is_empty:  # a thread of pixels has no inside: its box
        x, y, width, height = (float(v) for v in regions.box[region])
        whole = shapely.MultiPolygon([shapely.box(x, y, x + width, y + height)])
    return shapely.transform(whole, lambda points: np.round(points * canvas.downsample + canvas.origin_px, 1))


def _points(contour: NDArray[Any], corner: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.asarray(contour[:, 0, :] + corner + 0.5, np.float64)


def _holes(tree: NDArray[np.int32], index: int) -> list[int]:
    holes, child = [], int(tree[index][2])
    while child != -1:
        holes.append(child)
        child = int(tree[child][0])
    return holes


def write_overlay(path: Path, image: RGB, regions: RegionMap) -> None:
    """Writes the canvas (h, w, 3) with each region tinted and outlined, as PNG. A region keeps its colour."""
    picture = draw_regions(image, regions.label_map)
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
