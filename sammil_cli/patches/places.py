"""The places of a grid, and which share of each is tissue or artefact: arithmetic on outlines and maps, in strips."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli.errors import SlideError
from sammil_cli.tissue.mask import TissueMask

_LINES = 16  # lines per patch side along which tissue is measured
_VALUES_AT_ONCE = 2_000_000  # bounds memory: about 100 bytes each

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]  # where stretches begin and end


@dataclass(frozen=True, kw_only=True)
class Places:
    """A grid of squares from (left, top) on, the corner of the scanned area; level-0 pixels.

    The step is rounded to whole pixels once, so that places do not drift apart. Corners always lie in the scanned area.
    """

    left: int
    top: int
    side: int
    step: int
    rows: int
    columns: int

    @classmethod
    def on(cls, tissue: TissueMask, side: int, overlap: float, edge: str) -> "Places":
        """The places of a slide; neighbours share `overlap` of their side.

        Args:
            edge: `drop`, only whole squares inside the scanned area and the slide; `pad`, as many as cover
                all of it: the last row and column may reach over its right and lower edge.
        """
        left, top, width, height = tissue.bounds_px
        step = max(1, round(side * (1 - overlap)))
        width, height = min(width, tissue.slide_size_px[0] - left), min(height, tissue.slide_size_px[1] - top)
        rows, columns = (max(0, (length - side) // step + 1) for length in (height, width))
        if edge == "pad":
            rows, columns = (max(1, -(-(length - side) // step) + 1) for length in (height, width))
        return cls(left=left, top=top, side=side, step=step, rows=rows, columns=columns)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what the places cover; no place has no width or no height."""
        width, height = ((count - 1) * self.step + self.side if count else 0 for count in (self.columns, self.rows))
        return (self.left, self.top, self.left + width, self.top + height)

    def xy(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int32]:
        """Corners (n, 2) of places."""
        return np.stack([self.left + column * self.step, self.top + row * self.step], axis=1).astype(np.int32)

    def near(self, tissue: TissueMask) -> "tuple[range, range]":
        """Rows and columns of the places that can touch the tissue."""
        x0, y0, x1, y1 = tissue.polygons.bounds
        found = []
        for low, high, start, count in ((y0, y1, self.top, self.rows), (x0, x1, self.left, self.columns)):
            first = max(0, int((low - start - self.side) // self.step))
            last = min(count, int((high - start) // self.step) + 1)
            found.append(range(first, max(first, last)))
        return found[0], found[1]


def strips(places: Places, rows: range, columns: range) -> Iterator[range]:
    """Cuts rows into strips of bounded memory."""
    lines_per_row = max(1.0, _LINES * places.step / places.side)
    step = max(1, int(_VALUES_AT_ONCE / (2 * max(1, len(columns)) * lines_per_row)))
    for start in range(rows.start, rows.stop, step):
        yield range(start, min(start + step, rows.stop))


@dataclass(frozen=True)
class Outlines:
    """The edges of polygons, level-0 pixels: those that go up have tissue to their right, those down to their left."""

    start: NDArray[np.float64]  # (n, 2)
    end: NDArray[np.float64]  # (n, 2)

    @classmethod
    def of(cls, polygons: MultiPolygon) -> "Outlines":
        """The edges of polygons that do not overlap."""
        rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygons)))
        points, ring = shapely.get_coordinates(rings, return_index=True)
        joined = (ring[:-1] == ring[1:]) & (points[:-1, 1] != points[1:, 1])
        return cls(points[:-1][joined], points[1:][joined])

    def shares(self, places: Places, rows: range, columns: range) -> NDArray[np.float64]:
        """The share inside of each place, (len(rows), len(columns)).

        Sixteen lines per patch side are cut with the edges; along a line lengths are exact. The length inside and left
        of a position x is the sum of ±(x - c) over the cuts c left of it, so only sums per position are needed.
        """
        spacing = places.side / _LINES
        origin = (places.left + columns.start * places.step, places.top + rows.start * places.step)
        top = np.arange(len(rows), dtype=np.float64) * (places.step / spacing)
        left = np.arange(len(columns)) * places.step
        lines = int(np.ceil(top[-1])) + _LINES
        (x0, y0), (x1, y1) = (self.start - origin).T, (self.end - origin).T
        first, last = (
            np.clip(np.ceil(y / spacing - 0.5), 0, lines).astype(np.int64)
            for y in (np.minimum(y0, y1), np.maximum(y0, y1))
        )
        count = last - first
        edge = np.repeat(np.arange(len(count)), count)
        line = np.arange(len(edge)) + np.repeat(first - np.cumsum(count) + count, count)
        slope = (x1 - x0) / (y1 - y0)
        cut = (x0 - slope * y0)[edge] + slope[edge] * ((line + 0.5) * spacing)
        sign = np.where(y1 < y0, 1.0, -1.0)[edge]
        ends = np.union1d(left, left + places.side)
        # Lines that always count together are added up at once: all sixteen of a patch where patches do not overlap.
        whole, rest = divmod(_LINES * places.step, places.side)
        group = 1 if rest else math.gcd(whole, _LINES)
        slot = line // group * (len(ends) + 1) + np.searchsorted(ends, cut)
        shape = (-(-lines // group), len(ends) + 1)
        entered = _running(slot, sign, shape)
        entered_at = _running(slot, sign * cut, shape)
        length = ends * entered - entered_at
        inside = length[:, np.searchsorted(ends, left + places.side)] - length[:, np.searchsorted(ends, left)]
        below = np.zeros((len(inside) + 1, len(columns)), np.float64)
        np.cumsum(inside, axis=0, out=below[1:])
        sums = _rows_at(below, (top + _LINES) / group) - _rows_at(below, top / group)
        # Rounded, so that a patch full of tissue has 1 and no noise of the sums decides at a threshold.
        return np.asarray(np.clip(np.round(sums / (_LINES * places.side), 6), 0, 1), np.float64)


def _running(slot: NDArray[np.int64], weights: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Sums of weights by line and slot, added up along each line; what lies right of all positions is left out."""
    sums = np.bincount(slot, weights, minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(np.cumsum(sums[:, :-1], axis=1), np.float64)


@dataclass(frozen=True)
class Integral:
    """Sums over the top left part of a map of cells, read at any position by linear interpolation.

    That is exact by area, whatever part of a cell a square covers: within a cell the map is constant.
    """

    sums: NDArray[np.float64]  # (rows + 1, columns + 1)

    @classmethod
    def of(cls, cells: NDArray[Any]) -> "Integral":
        """The integral of a map (rows, columns) of uint8 or bool, or of floats."""
        if cells.size == 0:
            return cls(np.zeros((cells.shape[0] + 1, cells.shape[1] + 1)))
        values = cells.view(np.uint8) if cells.dtype == np.bool_ else cells
        return cls(np.asarray(cv2.integral(values, sdepth=cv2.CV_64F), np.float64))

    def over(self, rows: Ends, columns: Ends) -> NDArray[np.float64]:
        """Sums over the boxes of all rows (r,) and columns (c,) -> (r, c). What lies beyond the map counts as 0.

        Args:
            rows, columns: where boxes begin and end, in cells.
        """
        bands = _rows_at(self.sums, rows[1]) - _rows_at(self.sums, rows[0])
        return np.asarray((_rows_at(bands.T, columns[1]) - _rows_at(bands.T, columns[0])).T, np.float64)


def _rows_at(sums: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `sums` at fractional positions."""
    at = np.clip(at, 0, len(sums) - 1)
    low = np.minimum(at.astype(np.int64), max(len(sums) - 2, 0))
    part = (at - low)[:, None]
    if not part.any():
        return np.asarray(sums[low], np.float64)
    return np.asarray(sums[low] * (1 - part) + sums[np.minimum(low + 1, len(sums) - 1)] * part, np.float64)


def side_of(tissue: TissueMask, patch_px: int, mpp: float) -> int:
    """The side of a patch in level-0 pixels.

    Raises:
        SlideError: `E_COARSE`, the slide is coarser than `mpp` by more than 1 %: pixels are never made up.
    """
    if tissue.slide_mpp > mpp * 1.01:
        raise SlideError(
            "E_COARSE",
            f"the slide has {tissue.slide_mpp:g} µm per pixel, coarser than patch_mpp {mpp:g}",
            remedy="use a patch_mpp that all slides reach, or scan it again",
        )
    return max(1, round(patch_px * mpp / tissue.slide_mpp))
