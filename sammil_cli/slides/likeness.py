"""Whether a page of a slide file shows what a level of it shows, at which downsample: by a few windows of pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB

Size = tuple[int, int]  # or x and y
# Pixels of a page: its number, x and y of the corner and width and height in its own pixels.
ReadPage = Callable[[int, Size, Size], RGB]

_CELL_PX = 4  # pixels are compared as means of cells: levels differ in sharpness, and by half a pixel
_WINDOW_PX, _LARGEST_READ_PX = 64, 1024
_GRID, _ENOUGH_WINDOWS = 8, 6
_CONTRAST = 4.0  # grey values; glass and padding have less


@dataclass(frozen=True)
class _Window:
    """A place of the page that shows something: its corner, and the means of its cells (rows, columns, 3)."""

    x: int
    y: int
    cells: NDArray[np.float32]


@dataclass(frozen=True)
class Likeness:
    """A page beside a level that is known: level 0's size, the page's number and size, the level's and downsample."""

    read: ReadPage
    finest: Size
    page: tuple[int, Size]
    level: tuple[int, float]

    def scores(self, downsamples: Sequence[float]) -> dict[float, float]:
        """The share of the page's variance that the level explains, 1 or less, for each downsample that it may have.

        Empty where the page shows nothing but glass, or cannot be decoded. Pixels beyond the slide count as padding,
        which has one colour.
        """
        reach = int(_LARGEST_READ_PX * self.level[1] / max(downsamples)) // _CELL_PX * _CELL_PX
        windows = self._windows(min(_WINDOW_PX, max(4 * _CELL_PX, reach)))
        found = ((downsample, self._explained(windows, downsample)) for downsample in downsamples)
        return {downsample: score for downsample, score in found if score is not None}

    def _windows(self, side: int) -> list[_Window]:
        number, full = self.page
        width, height = (min(side, length // _CELL_PX * _CELL_PX) for length in full)
        xs = np.linspace(0, full[0] - width, _GRID).astype(int).tolist()
        ys = np.linspace(0, full[1] - height, _GRID).astype(int).tolist()
        places = sorted({(x, y) for x in xs for y in ys})
        found: list[_Window] = []
        for index in np.random.default_rng(0).permutation(len(places)):
            x, y = places[index]
            cells = self._cells(number, (x, y), (width, height), (width // _CELL_PX, height // _CELL_PX))
            if cells is not None and cells.std(axis=(0, 1)).max() >= _CONTRAST:
                found.append(_Window(x, y, cells))
            if len(found) == _ENOUGH_WINDOWS:
                break
        return found

    def _explained(self, windows: Sequence[_Window], downsample: float) -> float | None:
        number, finer = self.level
        scale = downsample / finer
        error = variance = 0.0
        for window in windows:
            x, y, cells = window.x, window.y, window.cells
            # Cells that lie on the slide; those that its edge cuts are left out, those beyond it are padding.
            right = max(0.0, (self.finest[0] / downsample - x) / _CELL_PX)
            bottom = max(0.0, (self.finest[1] / downsample - y) / _CELL_PX)
            across, down = min(int(right), cells.shape[1]), min(int(bottom), cells.shape[0])
            if across and down:
                size = (max(1, round(across * _CELL_PX * scale)), max(1, round(down * _CELL_PX * scale)))
                seen = self._cells(number, (round(x * scale), round(y * scale)), size, (across, down))
                if seen is None:
                    continue
                error += float(np.square(cells[:down, :across] - seen).sum())
            beyond = np.ones(cells.shape[:2], bool)
            beyond[: math.ceil(bottom), : math.ceil(right)] = False
            if beyond.any():
                error += float(np.square(cells[beyond] - cells[beyond].mean(axis=0)).sum())
            variance += float(np.square(cells - cells.mean(axis=(0, 1))).sum())
        return 1 - error / variance if variance else None

    def _cells(self, number: int, xy: Size, size: Size, cells: Size) -> NDArray[np.float32] | None:
        if min(cells) < 1:
            return None
        try:
            image = self.read(number, xy, size)
        except SlideError:  # damaged there: whoever reads that place will hear of it
            return None
        return np.asarray(cv2.resize(image, cells, interpolation=cv2.INTER_AREA), np.float32)
