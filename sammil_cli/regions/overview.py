"""A picture of a whole canvas, put together from tiles while they are read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.tiles import Tile
from sammil_cli.slides.pixels import GLASS, RGB


class Overview:
    """The canvas shrunk by a whole number, by area; white where no tile was read. Each tile gives its core."""

    def __init__(self, size_px: tuple[int, int], step: int) -> None:
        self._step = step
        self._columns, self._rows = (np.arange(0, size, step) for size in size_px)
        self._across, self._down = (
            np.diff(np.append(starts, size)) for starts, size in zip((self._columns, self._rows), size_px, strict=True)
        )
        self._dtype = np.min_scalar_type(GLASS * step**2)
        self._sums = np.repeat(self._pixels() * np.array(GLASS, self._dtype), 3, axis=2)

    def add(self, tile: Tile, image: RGB) -> None:
        """Paints the core of a tile whose window shows `image`."""
        x, y, width, height = tile.core
        left, top = x - tile.window[0], y - tile.window[1]
        darker = GLASS - image[top : top + height, left : left + width]
        first, upper = x // self._step, y // self._step
        # Blocks begin where the canvas' do; the first one may have begun before the core.
        columns, rows = (
            np.maximum(starts[start // self._step : -(-(start + size) // self._step)] - start, 0)
            for starts, start, size in ((self._columns, x, width), (self._rows, y, height))
        )
        blocks = np.add.reduceat(np.add.reduceat(darker, rows, axis=0, dtype=self._dtype), columns, axis=1)
        self._sums[upper : upper + len(rows), first : first + len(columns)] -= blocks

    def picture(self) -> RGB:
        """The picture (h, w, 3)."""
        pixels = self._pixels()
        means = self._sums + pixels // 2
        means //= pixels
        return np.asarray(means, np.uint8)

    def _pixels(self) -> NDArray[np.unsignedinteger[Any]]:
        """(h, w, 1) canvas pixels of each block."""
        down, across = self._down.astype(self._dtype), self._across.astype(self._dtype)
        return np.asarray(down[:, None, None] * across[:, None])
