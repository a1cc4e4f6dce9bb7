"""Maps of regions drawn by hand or by chance."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask

ORIGIN, DOWNSAMPLE = (100, 40), 8.0


def map_of(*masks: NDArray[np.bool_]) -> RegionMap:
    height, width = masks[0].shape
    canvas = Canvas(origin_px=ORIGIN, downsample=DOWNSAMPLE, size_px=(width, height), mpp=4.0)
    proposals = [
        Proposal(mask=RegionMask.of(m), predicted_iou=1 - i / 100, stability=0.5 + i / 100) for i, m in enumerate(masks)
    ]
    return build("s-1", canvas, proposals)


def painted(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Boxes x, y, width, height on a canvas of 40 x 24; a later box takes away what is there."""
    mask = np.zeros((24, 40), bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] ^= True
    return mask


def wobbling(count: int, side: int) -> list[RegionMask]:
    """Regions as SAM draws them: wobbling outlines, from specks to a third of the canvas, some with a hole."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    waves = np.arange(1, 16)
    found = []
    for radius in np.minimum(rng.lognormal(np.log(30), 0.8, count), side / 6):
        shape = 1 + (rng.normal(0, 0.25 / waves)[:, None] * np.cos(np.outer(waves, angles))).sum(0)
        outline = np.clip(shape, 0.1, 2)[:, None] * radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        canvas = np.zeros((side, side), np.uint8)
        centre = rng.uniform(radius, side - radius, 2)
        cv2.fillPoly(canvas, [np.rint(outline + centre).astype(np.int32)], 1)
        if rng.random() < 0.3:
            cv2.circle(canvas, centre.astype(int).tolist(), max(1, int(radius / 4)), 0, -1)
        if canvas.any():
            found.append(RegionMask.of(canvas > 0))
    return found


def map_on(canvas: Canvas, masks: list[RegionMask]) -> RegionMap:
    return build("s-1", canvas, [Proposal(mask=mask) for mask in masks])


def ellipses(count: int, width: int, height: int) -> list[NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(count):
        canvas = np.zeros((height, width), np.uint8)
        centre = tuple(int(v) for v in rng.integers((0, 0), (width, height)))
        axes = tuple(int(v) for v in rng.integers(10, 160, 2))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(canvas > 0)
    return masks
