"""The tissue mask on disk: GeoJSON for QuPath, and the picture that shows it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from shapely import MultiPolygon

from sammil_cli.errors import InputError
from sammil_cli.slides.slide import RGB
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.geojson import read_geojson, write_geojson
from sammil_cli.tissue.mask import TissueMask

_OUTLINE = (30, 150, 60)
_OVERLAY_PX = 1280  # enough to judge by; for more there is QuPath


def write_tissue(path: Path, mask: TissueMask, provenance: Mapping[str, Any]) -> None:
    """Writes the polygons, each with its area in µm², as `Tissue` annotations."""
    facts = {"slide_mpp": mask.slide_mpp, "slide_size_px": mask.slide_size_px, "bounds_px": mask.bounds_px}
    shapes = [(p, {"area_um2": round(p.area * mask.slide_mpp**2, 1)}) for p in mask.polygons.geoms]
    offset = mask.bounds_px[:2]
    write_geojson(path, shapes, class_name="Tissue", offset_px=offset, provenance={**provenance, **facts})


def read_tissue(path: Path) -> TissueMask:
    """Reads what `write_tissue` wrote.

    Raises:
        InputError: no GeoJSON, or not of sammil.
    """
    shapes, facts = read_geojson(path)
    try:
        mpp, size, bounds = facts["slide_mpp"], facts["slide_size_px"], facts["bounds_px"]
    except KeyError as error:
        raise InputError(f"{path} was not written by sammil segment ({error} missing)", remedy="run segment") from None
    polygons = [part for drawn in shapes for part in shapely.get_parts(drawn.geometry)]
    return TissueMask(
        slide_id=path.stem,
        polygons=MultiPolygon(polygons),
        slide_mpp=float(mpp),
        slide_size_px=(size[0], size[1]),
        bounds_px=(bounds[0], bounds[1], bounds[2], bounds[3]),
    )


def draw_outlines(rgb: RGB, mask: TissueMask, width: int) -> RGB:
    """A copy of a picture of the whole slide (h, w, 3) with the tissue outlined, lines `width` pixels wide."""
    picture = np.ascontiguousarray(rgb.copy())
    scale = rgb.shape[1] / mask.slide_size_px[0], rgb.shape[0] / mask.slide_size_px[1]
    for polygon in mask.polygons.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            points = np.round(shapely.get_coordinates(ring) * scale).astype(np.int32)
            cv2.polylines(picture, [points], True, _OUTLINE, width, cv2.LINE_AA)
    return picture


def write_overlay(path: Path, thumbnail: RGB, mask: TissueMask) -> None:
    """Writes the thumbnail (h, w, 3) of the whole slide with the tissue outlined, as JPEG of at most 1280 px."""
    factor = math.ceil(max(thumbnail.shape[:2]) / _OVERLAY_PX)
    if factor > 1:  # whole blocks: averaging them is ten times as fast as any other ratio
        size = (max(1, thumbnail.shape[1] // factor), max(1, thumbnail.shape[0] // factor))
        blocks = thumbnail[: size[1] * factor, : size[0] * factor]
        thumbnail = np.asarray(cv2.resize(blocks, size, interpolation=cv2.INTER_AREA), np.uint8)
    picture = draw_outlines(thumbnail, mask, max(1, round(max(thumbnail.shape[:2]) / 500)))
    with atomic_path(path) as temporary:  # OpenCV writes BGR
        cv2.imwrite(str(temporary), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
