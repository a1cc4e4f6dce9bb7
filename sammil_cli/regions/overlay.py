"""The picture that shows a slide's regions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import OVERVIEW_PX, RegionMap
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.picture_file import write_picture


def write_overlay(path: Path, image: RGB, regions: RegionMap) -> None:
    """Writes the canvas with each region tinted and outlined, as PNG. A region keeps its colour.

    Args:
        image: (h, w, 3) the canvas, shrunk by `Canvas.step_to(OVERVIEW_PX)`.
    """
    write_picture(path, draw_regions(image, regions.labels(step=regions.canvas.step_to(OVERVIEW_PX))))


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
