"""The pixels of one region: a box and run lengths inside it. Nothing here draws a whole canvas."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # x, y, width, height

_AT_ONCE_PX = 1 << 20
_LONGEST_RUN = int(np.iinfo(np.uint32).max)


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
        starts, ends = _stretches(runs)
        # Only a run that fills columns from the first row to the last goes on in the next one: then height == rows.
        first = (starts // rows - x) * height + starts % rows - y
        return cls(box=box, runs=_runs_of(first, first + ends - starts, width * height))

    @classmethod
    def union(cls, masks: Sequence["RegionMask"]) -> "RegionMask":
        """All pixels of at least one mask."""
        corners = np.array([mask.box for mask in masks])
        x, y = (int(v) for v in corners[:, :2].min(0))
        width, height = (int(v) for v in (corners[:, :2] + corners[:, 2:]).max(0) - (x, y))
        parts = [mask.moved(-x, -y)._laid_on(height) for mask in masks]
        starts, ends = (np.concatenate(side) for side in zip(*parts, strict=True))
        order = np.argsort(starts, kind="stable")
        runs = _runs_of(starts[order], np.maximum.accumulate(ends[order]), width * height)
        return cls(box=(x, y, width, height), runs=runs)

    @cached_property
    def area_px(self) -> int:
        """How many pixels are set."""
        return int(self.runs[1::2].sum(dtype=np.int64))

    def array(self) -> NDArray[np.bool_]:
        """The mask (h, w) inside its box."""
        return decode(self.runs, (self.box[3], self.box[2]))

    def within(self, window: Box) -> NDArray[np.bool_]:
        """The mask (h, w) that a window x, y, width, height shows of it; the window may lie anywhere.

        Decodes the window's columns of the box and no others.
        """
        x, y, width, height = window
        shown = np.zeros((height, width), bool)
        if part := shared(self.box, window):
            left, top, wide, high = part
            columns = self._columns(left - self.box[0], wide)[top - self.box[1] :][:high]
            shown[top - y : top - y + high, left - x : left - x + wide] = columns
        return shown

    def cut(self, window: Box) -> "RegionMask | None":
        """What lies in a window; None where nothing does."""
        part = shared(self.box, window)
        if part is None or part == self.box:
            return part and self
        shown = self.within(part)
        return RegionMask.of(shown, part[:2]) if shown.any() else None

    def at(self, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(rows, columns) the pixels where these canvas columns and rows cross, all of them inside the box."""
        x, y, _, height = self.box
        edges = np.cumsum(self.runs, dtype=np.int64)
        shown = np.empty((len(columns), len(rows)), bool)
        at_once = max(1, _AT_ONCE_PX // max(1, len(rows)))
        for first in range(0, len(columns), at_once):
            places = (columns[first : first + at_once, None] - x) * height + (rows - y)
            shown[first : first + at_once] = np.searchsorted(edges, places, side="right") % 2
        return shown.T

    def moved(self, x: int, y: int) -> "RegionMask":
        """The same pixels, `x` to the right and `y` down."""
        return replace(self, box=(self.box[0] + x, self.box[1] + y, self.box[2], self.box[3]))

    def canvas_runs(self, size_px: tuple[int, int]) -> NDArray[np.uint32]:
        """The run lengths of a canvas of `size_px` (width, height) that shows this region and nothing else."""
        return _runs_of(*self._laid_on(size_px[1]), size_px[0] * size_px[1])

    def _laid_on(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where set runs begin and end on a canvas with `rows` rows, counted column by column."""
        x, y, _, height = self.box
        starts, ends = _stretches(self.runs)
        if height < rows:  # a run over several columns is cut where a column ends
            starts, ends = _cut_at_columns(starts, ends, height)
        first = (starts // height + x) * rows + starts % height + y
        return first, first + ends - starts

    def _columns(self, first: int, count: int) -> NDArray[np.bool_]:
        """(h, count) the columns of the box from `first` on."""
        height = self.box[3]
        edges = np.cumsum(self.runs, dtype=np.int64)
        begin, end = first * height, (first + count) * height
        run, last = np.searchsorted(edges, begin, side="right"), np.searchsorted(edges, end, side="left")
        lengths = np.diff(np.concatenate([[begin], edges[run:last], [end]]))
        values = np.arange(run, run + len(lengths)) % 2 == 1
        return np.repeat(values, lengths).reshape((height, count), order="F")


def shared(a: Box, b: Box) -> Box | None:
    """The box that two boxes share; None where they share no pixel."""
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def middles(start: int, length: int, step: int) -> NDArray[np.int64]:
    """The middle pixel of every `step` pixels from `start` on, or the last one where the middle is beyond the end."""
    return np.minimum(np.arange(start + step // 2, start + length + step // 2, step), start + length - 1)


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


def _stretches(runs: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the set runs begin and end; empty ones, which split a run that is too long to count, are left out."""
    edges = np.cumsum(runs, dtype=np.int64)
    starts, ends = edges[0::2][: len(runs) // 2], edges[1::2]
    return (starts, ends) if (runs[1::2] > 0).all() else (starts[ends > starts], ends[ends > starts])


def _cut_at_columns(
    starts: NDArray[np.int64], ends: NDArray[np.int64], height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits runs [start, end) so that each lies in one column of `height` pixels."""
    first, last = starts // height, (ends - 1) // height
    pieces = last - first + 1
    run = np.repeat(np.arange(len(starts)), pieces)
    column = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[run]
    return np.maximum(starts[run], column * height), np.minimum(ends[run], (column + 1) * height)


def _runs_of(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
    """Run lengths, background first, of `size` pixels of which rising stretches are set; those that meet are joined.

    A run of 2³² pixels or more, which only a canvas beyond 65 535² has, is split by an empty run of the other kind.
    """
    apart = starts[1:] > ends[:-1]
    starts, ends = starts[np.append(True, apart)[: len(starts)]], ends[np.append(apart, True)[: len(ends)]]
    runs = np.diff(np.concatenate([[0], np.stack([starts, ends], 1).ravel(), [size]]))
    runs = runs if runs[-1] else runs[:-1]
    for index in np.flatnonzero(runs > _LONGEST_RUN)[::-1]:
        pieces, rest = divmod(int(runs[index]), _LONGEST_RUN)
        runs = np.concatenate([runs[:index], [_LONGEST_RUN, 0] * pieces, [rest], runs[index + 1 :]])
    return runs.astype(np.uint32)
