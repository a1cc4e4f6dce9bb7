"""Overlapping tiles that cover a canvas: pure arithmetic, no pixels."""

import math
from dataclasses import dataclass
from itertools import pairwise

from sammil_cli.regions.region_mask import Box

Stretch = tuple[int, int]  # start, length


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A part of a canvas, seen at once. Boxes x, y, width, height in canvas pixels.

    `window`: what is seen; `core`: the part that this tile shows better than its neighbours do. Cores end in the
    middle of what neighbours share, and cover the canvas once.
    """

    window: Box
    core: Box


def lay_tiles(size_px: tuple[int, int], side_px: int, overlap: float) -> list[Tile]:
    """The fewest tiles that cover a canvas, row by row, evenly spread.

    Args:
        size_px: width and height of the canvas.
        side_px: side of a tile; along an axis on which the canvas is shorter, tiles are as long as the canvas.
        overlap: 0 up to 1, share of a tile's side that its neighbour sees as well, at least.
    """
    across, down = (_lay(size, side_px, overlap) for size in size_px)
    return [
        Tile(window=(x, y, width, height), core=(left, top, wide, high))
        for (y, height), (top, high) in down
        for (x, width), (left, wide) in across
    ]


def _lay(size: int, side: int, overlap: float) -> list[tuple[Stretch, Stretch]]:
    """Windows and cores along one axis."""
    if size <= side:
        return [((0, size), (0, size))]
    step = max(1, math.floor(side * (1 - overlap)))
    count = math.ceil((size - side) / step) + 1
    starts = [index * (size - side) // (count - 1) for index in range(count)]
    # Neighbours see [next, start + side) both: the border of their cores is in its middle.
    borders = [0, *((a + side + b) // 2 for a, b in pairwise(starts)), size]
    cores = [(first, last - first) for first, last in pairwise(borders)]
    return [((start, side), core) for start, core in zip(starts, cores, strict=True)]
