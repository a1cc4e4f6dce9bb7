"""Tissue as the published protocol finds and writes it (CLAM, docs/methods.md §10.1), in our own words.

A level is read through OpenSlide in one piece, its saturation blurred by a median of 7 pixels and thresholded at 8,
closed with a square of 4, outlined by OpenCV with two ranks of nesting, filtered by area (pieces of 100 patches of 512
px, up to eight holes of 16), drawn, and written: a picture of the outlines as JPEG, and the outlines themselves.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

PATCH_PX, PIECE, HOLE, HOLES = 512, 100, 16, 8


def segment_as_published(path: Path, downsample: float, out: Path) -> NDArray[np.uint8]:
    """Writes picture and outlines of a slide into `out`; returns the mask that the outlines are of."""
    with openslide.OpenSlide(path) as slide:
        level = slide.get_best_level_for_downsample(downsample)
        scale = slide.level_downsamples[level]
        picture = np.array(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[:, :, 1]
    _, mask = cv2.threshold(cv2.medianBlur(saturation, 7), 8, 255, cv2.THRESH_BINARY)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8))
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    patch = (PATCH_PX / scale) ** 2
    kept: list[dict[str, Any]] = []
    for index in np.flatnonzero(tree[0][:, 3] == -1):
        holes = [outlines[hole] for hole in np.flatnonzero(tree[0][:, 3] == index)]
        area = cv2.contourArea(outlines[index]) - sum(map(cv2.contourArea, holes))
        if area > PIECE * patch:
            large = sorted(holes, key=cv2.contourArea, reverse=True)[:HOLES]
            kept.append({"outline": outlines[index], "holes": [h for h in large if cv2.contourArea(h) > HOLE * patch]})
    for piece in kept:
        cv2.drawContours(picture, [piece["outline"]], -1, (0, 255, 0), 8)
        cv2.drawContours(picture, piece["holes"], -1, (0, 0, 255), 8)
    cv2.imwrite(str(out / f"{path.stem}.jpg"), picture)
    np.savez(out / f"{path.stem}.npz", *(ring for piece in kept for ring in (piece["outline"], *piece["holes"])))
    return np.asarray(mask, np.uint8)
