"""The picture that shows where tissue was found."""

import math
from pathlib import Path

import cv2
import numpy as np
import shapely

from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.shrink import shrink_whole
from sammil_cli.storage.picture_file import write_picture
from sammil_cli.tissue.mask import TissueMask

_OUTLINE = (30, 150, 60)
_OVERLAY_PX = 1280  # enough to judge by; for more there is QuPath


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
    thumbnail = shrink_whole(thumbnail, math.ceil(max(thumbnail.shape[:2]) / _OVERLAY_PX))
    write_picture(path, draw_outlines(thumbnail, mask, max(1, round(max(thumbnail.shape[:2]) / 500))))
