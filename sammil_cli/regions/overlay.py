"""The picture that shows a slide's regions."""

from pathlib import Path
from typing import Any

import cv2
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


def write_outlines(path: Path, image: RGB, regions: RegionMap) -> None:
    """Writes the canvas with the borders of its regions, as PNG; colours stay, and a small canvas is enlarged.

    Args:
        image: (h, w, 3) the canvas.
    """
    step = regions.canvas.step_to(OVERVIEW_PX)
    image, labels = image[::step, ::step], regions.labels()[::step, ::step]
    larger = max(1, OVERVIEW_PX // max(labels.shape))
    write_picture(path, draw_borders(_enlarged(image, larger), _enlarged(labels, larger), 1 + 2 * (larger // 5)))


def draw_regions(image: RGB, labels: NDArray[np.int32]) -> RGB:
    """Tints an image (h, w, 3) by a label map (h, w), -1 = none, and draws the borders between labels."""
    colours = np.random.default_rng(0).integers(40, 256, (labels.max(initial=0) + 1, 3))
    tint = np.where(labels[..., None] >= 0, colours[labels], image)
    return draw_borders((0.6 * image + 0.4 * tint).astype(np.uint8), labels)


def draw_borders(image: RGB, labels: NDArray[np.int32], width: int = 1) -> RGB:
    """An image (h, w, 3) with the borders, `width` pixels wide, between the labels of a map (h, w)."""
    drawn, border = image.copy(), np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    if width > 1:
        border = cv2.dilate(border.astype(np.uint8), np.ones((width, width), np.uint8)) > 0
    drawn[border] = (30, 30, 30)
    return drawn


def _enlarged(image: NDArray[Any], times: int) -> NDArray[Any]:
    return image.repeat(times, axis=0).repeat(times, axis=1)
