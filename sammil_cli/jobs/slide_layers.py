"""What is laid over a picture of a slide: its regions, and the lesions that somebody drew."""

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely import Polygon

from sammil_cli.regions.region_map import OVERVIEW_PX, RegionMap
from sammil_cli.slides.pixels import Box
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import drawn_areas, told, what_is_left


def region_labels(
    regions: RegionMap, origin_px: tuple[int, int], factor: float, size_px: tuple[int, int]
) -> NDArray[np.int32]:
    """The smallest region at each pixel of a picture (h, w), -1 = none.

    Args:
        origin_px: level-0 position of the picture's top left corner.
        factor: level-0 pixels per pixel of the picture. size_px: width, height of the picture.
    """
    canvas = regions.canvas
    step = canvas.step_to(OVERVIEW_PX)
    scale = canvas.downsample * step / factor
    shift = [(canvas.origin_px[axis] - origin_px[axis]) / factor for axis in (0, 1)]
    labels = cv2.warpAffine(
        regions.labels(step=step).astype(np.float32),
        np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]),
        size_px,
        flags=cv2.INTER_NEAREST,
        borderValue=-1,
    )
    return np.asarray(labels, np.int32)


def lesion_polygons(lesions: DrawingPath, bounds_px: Box) -> tuple[list[Polygon], list[str]]:
    """Known lesions, level-0 pixels of the whole file, and what had to be repaired or passed over.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read.
    """
    areas, counts = drawn_areas(lesions, bounds_px=bounds_px)
    return [polygon for whole in what_is_left(areas, lesions) for polygon in whole.geoms], told(counts)
