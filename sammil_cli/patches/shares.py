"""Means of a map of cells over many squares at once, by an integral image."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]


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

    def over(self, top: Positions, left: Positions, side: tuple[float, float]) -> NDArray[np.float64]:
        """Sums over the squares of all rows `top` (r,) and columns `left` (c,), in cells -> (r, c).

        Args:
            side: height and width of the squares, in cells. What lies beyond the map counts as 0.
        """
        bands = read_rows(self.sums, top + side[0]) - read_rows(self.sums, top)
        return np.asarray((read_rows(bands.T, left + side[1]) - read_rows(bands.T, left)).T, np.float64)


def read_rows(sums: NDArray[np.float64], at: Positions) -> NDArray[np.float64]:
    """Rows of `sums` at fractional positions."""
    at = np.clip(at, 0, len(sums) - 1)
    low = np.minimum(at.astype(np.int64), max(len(sums) - 2, 0))
    part = (at - low)[:, None]
    if not part.any():
        return np.asarray(sums[low], np.float64)
    return np.asarray(sums[low] * (1 - part) + sums[np.minimum(low + 1, len(sums) - 1)] * part, np.float64)
