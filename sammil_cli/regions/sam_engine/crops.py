"""Where SAM looks: crops of a picture, and the point prompts in each of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from segment_anything.utils.amg import build_point_grid, generate_crop_boxes

from sammil_cli.slides.pixels import RGB

_OVERLAP = 512 / 1500  # of the picture's shorter side, as published


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of a picture that SAM sees by itself.

    `box`: x0, y0, x1, y1 in the picture's pixels; `points` (p, 2): prompts x, y in the crop's pixels.
    """

    box: tuple[int, int, int, int]
    points: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    def cut(self, image: RGB) -> RGB:
        """What it shows of the picture."""
        x0, y0, x1, y1 = self.box
        return image[y0:y1, x0:x1]


def lay_crops(
    shape: tuple[int, int],
    *,
    points_per_side: int,
    layers: int,
    points_downscale: int,
    tissue: NDArray[np.bool_] | None = None,
) -> list[Crop]:
    """The whole picture, then each layer's crops, with their grids of points, as the official generator lays them.

    Args:
        shape: rows and columns of the picture.
        layers: layer i adds 4 ** i crops.
        points_downscale: layer i has points_per_side / points_downscale ** i points along a side.
        tissue: (h, w); where it is given, points beside it are left out, and crops that have none left.
    """
    boxes, numbers = generate_crop_boxes(shape, layers, _OVERLAP)
    crops = []
    for (x0, y0, x1, y1), layer in zip(boxes, numbers, strict=True):
        grid = build_point_grid(max(1, int(points_per_side / points_downscale**layer)))
        points = grid * np.array([x1 - x0, y1 - y0])
        if tissue is not None:
            columns, rows = np.floor(points + np.array([x0, y0])).astype(np.int64).T
            points = points[tissue[rows, columns]]
        if len(points):
            crops.append(Crop(box=(x0, y0, x1, y1), points=points))
    return crops
