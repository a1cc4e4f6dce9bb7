"""Regions on disk: HDF5 with run lengths, and the picture that shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import OVERVIEW_PX, Canvas, RegionMap
from sammil_cli.slides.slide import RGB
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5

_LABEL_MAP_PX = 4096
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
