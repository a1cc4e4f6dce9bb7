"""How bright and how deeply stained a slide's tissue is, from the outlined thumbnail that `segment` writes."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sammil_cli.errors import SammilError
from sammil_cli.storage.paths import TissuePath
from sammil_cli.tissue.mask import read_tissue

_MOST_PX = 4096  # of a side: `segment` writes at most 1280
_SMEARED_PX = 2  # beside the outline, by JPEG


def read_look(folder: Path, slide_id: str) -> NDArray[np.float64] | None:
    """The mean brightness (0 to 1) and the mean optical density (-log10 of it) of the tissue, (2,), over its channels.

    The outline and what lies beside it do not count. None where `segment` left nothing that says it, or it is damaged.

    Args:
        folder: of the tissue's files.
    """
    picture, tissue = folder / f"{slide_id}.jpg", folder / f"{slide_id}.geojson"
    if not picture.is_file() or not tissue.is_file():
        return None
    try:
        mask = read_tissue(TissuePath(tissue))
        with Image.open(picture, formats=["JPEG"]) as opened:
            if max(opened.size) > _MOST_PX:
                return None
            rgb = np.asarray(opened.convert("RGB"))
    except (SammilError, OSError):
        return None
    height, width = rgb.shape[:2]
    line = max(1, round(max(height, width) / 500)) + 2 * _SMEARED_PX
    inside = mask.raster((0, 0), mask.slide_size_px[0] / width, (height, width)).astype(np.uint8)
    inner = cv2.erode(inside, np.ones((2 * (line // 2) + 1,) * 2, np.uint8)).astype(bool)
    pixels = rgb[inner if inner.any() else inside.astype(bool)].astype(np.float64)
    if not len(pixels):
        return None
    brightness = float(pixels.mean()) / 255
    density = -float(np.log10(np.maximum(pixels, 1) / 255).mean())
    return np.array([brightness, density]) if math.isfinite(density) else None
