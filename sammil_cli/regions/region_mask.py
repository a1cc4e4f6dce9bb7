"""The pixels of one region: a box and run lengths inside it. Nothing here draws a whole canvas."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True, kw_only=True)
class RegionMask:
    """A region's pixels: the smallest box around them, and run lengths inside that box (as `encode`)."""

    box: Box
    runs: NDArray[np.uint32]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> "RegionMask":
        """From a mask (h, w) with at least one True pixel, whose first pixel lies at `corner` x, y."""
        x, y, width, height = bounding_box(mask)
        return cls(box=(corner[0] + x, corner[1] + y, width, height), runs=encode(mask[y : y + height, x : x + width]))

    @classmethod
    def of_canvas_runs(cls, runs: NDArray[np.uint32], box: Box, rows: int) -> "RegionMask":
        """From the run lengths of a whole canvas with `rows` rows, where the region's box is known."""
        x, y, width, height = box
        ends = np.cumsum(runs, dtype=np.int64)
        starts, ends = ends[0::2][: len(runs) // 2], ends[1::2]
        # Only a run that fills columns from the first row to the last goes on in the next one: then height == rows.
        first = (starts // rows - x) * height + starts % rows - y
        last = first + (ends - starts)
        edges = np.stack([first, last], 1).ravel()
        inside = np.diff(np.concatenate([[0], edges, [width * height]]))
        return cls(box=box, runs=_joined(inside))

    @cached_property
    def area_px(self) -> int:
        """How many pixels are set."""
        return int(self.runs[1::2].sum(dtype=np.int64))

    def array(self) -> NDArray[np.bool_]:
        """The mask (h, w) inside its box."""
        return decode(self.runs, (self.box[3], self.box[2]))

    def within(self, window: Box) -> NDArray[np.bool_]:
        """The mask (h, w) that a window x, y, width, height shows of it; the window may lie anywhere."""
        x, y, width, height = window
        left, top = max(self.box[0], x), max(self.box[1], y)
        right = min(self.box[0] + self.box[2], x + width)
        bottom = min(self.box[1] + self.box[3], y + height)
        shown = np.zeros((height, width), bool)
        if right > left and bottom > top:
            part = self.array()[top - self.box[1] : bottom - self.box[1], left - self.box[0] : right - self.box[0]]
            shown[top - y : bottom - y, left - x : right - x] = part
        return shown

    def moved(self, x: int, y: int) -> "RegionMask":
        """The same pixels, `x` to the right and `y` down."""
        return replace(self, box=(self.box[0] + x, self.box[1] + y, self.box[2], self.box[3]))

    def canvas_runs(self, size_px: tuple[int, int]) -> NDArray[np.uint32]:
        """The run lengths of a canvas of `size_px` (width, height) that shows this region and nothing else."""
        columns, rows = size_px
        x, y, _, height = self.box
        edges = np.cumsum(self.runs, dtype=np.int64)
        starts, ends = edges[0::2][: len(self.runs) // 2], edges[1::2]
        if height < rows:  # a run over several columns is cut where a column ends
            starts, ends = _cut_at_columns(starts, ends, height)
        first = (starts // height + x) * rows + starts % height + y
        last = first + (ends - starts)
        runs = np.diff(np.concatenate([[0], np.stack([first, last], 1).ravel(), [columns * rows]]))
        return _joined(runs)


def encode(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Mask (h, w) -> COCO run lengths: column by column, background first (0 when the first pixel is set)."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    edges = np.concatenate([[0], changes, [mask.size]])
    runs = np.diff(edges)
    return np.asarray(runs if runs[-1] else runs[:-1], np.uint32)


def decode(runs: NDArray[np.uint32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """COCO run lengths -> mask of `shape` (rows, columns)."""
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape, order="F")


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """x, y, width, height of the True pixels of a non-empty mask."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    x, y = int(columns[0]), int(rows[0])
    return (x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)


def _cut_at_columns(
    starts: NDArray[np.int64], ends: NDArray[np.int64], height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits runs [start, end) so that each lies in one column of `height` pixels."""
    first, last = starts // height, (ends - 1) // height
    pieces = last - first + 1
    run = np.repeat(np.arange(len(starts)), pieces)
    column = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[run]
    return np.maximum(starts[run], column * height), np.minimum(ends[run], (column + 1) * height)


def _joined(runs: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Run lengths, background first, without the empty runs that may stand after the first one."""
    empty = np.flatnonzero(runs[1:] == 0) + 1
    if len(empty) == 0:
        return runs.astype(np.uint32)
    value = np.arange(len(runs)) % 2
    kept = np.flatnonzero((runs > 0) | (np.arange(len(runs)) == 0))
    value, runs = value[kept], runs[kept]
    new = np.concatenate([[True], value[1:] != value[:-1]])
    return np.add.reduceat(runs, np.flatnonzero(new)).astype(np.uint32)
