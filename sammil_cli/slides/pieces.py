"""Pictures that are stored in pieces, tiles or strips: a box is laid together of those that it touches."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from sammil_cli.slides.pixels import GLASS, RGB

_CACHE_BYTES = 64 << 20


class PieceCache:
    """The pieces that were decoded last, up to 64 MiB; several threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: OrderedDict[Hashable, RGB] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, decode: Callable[[], RGB]) -> RGB:
        """A piece, decoded now where it is not kept."""
        with self._lock:
            if key in self._pieces:
                self._pieces.move_to_end(key)
                return self._pieces[key]
        piece = decode()
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = piece
                self._bytes += piece.nbytes
            while self._bytes > _CACHE_BYTES and len(self._pieces) > 1:
                self._bytes -= self._pieces.popitem(last=False)[1].nbytes
        return piece

    def clear(self) -> None:
        """Forgets all pieces."""
        with self._lock:
            self._pieces.clear()
            self._bytes = 0


def touched(
    corner: tuple[int, int], size_px: tuple[int, int], piece_px: tuple[int, int], page_px: tuple[int, int]
) -> tuple[range, range]:
    """Rows and columns of a page's pieces that a box touches."""
    stretches = (
        range(max(0, start // piece), max(0, -(-min(start + size, full) // piece)))
        for start, size, piece, full in zip(corner, size_px, piece_px, page_px, strict=True)
    )
    columns, rows = stretches
    return rows, columns


def lay_together(
    corner: tuple[int, int],
    size_px: tuple[int, int],
    piece_px: tuple[int, int],
    page_px: tuple[int, int],
    piece: Callable[[int, int], RGB],
) -> RGB:
    """The pixels of a box of a page, white beyond the page.

    Args:
        corner: its left and top in pixels of the page.
        page_px: width and height of the page; pieces at its right and lower edge may reach beyond it.
        piece: gives the pixels of a piece by its column and row.
    """
    (left, top), (width, height) = corner, piece_px
    right, bottom = left + size_px[0], top + size_px[1]
    inside = left >= 0 and top >= 0 and right <= page_px[0] and bottom <= page_px[1]
    image = np.empty((size_px[1], size_px[0], 3), np.uint8)
    if not inside:
        image[:] = GLASS
    rows, columns = touched(corner, size_px, piece_px, page_px)
    for row in rows:
        for column in columns:
            x, y = column * width, row * height
            pixels = piece(column, row)
            x0, x1 = max(left, x), min(right, x + pixels.shape[1], page_px[0])
            y0, y1 = max(top, y), min(bottom, y + pixels.shape[0], page_px[1])
            if x0 < x1 and y0 < y1:
                image[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0 - y : y1 - y, x0 - x : x1 - x]
    return image
