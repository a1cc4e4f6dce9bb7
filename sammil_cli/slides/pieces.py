"""Pictures that are stored in pieces, tiles or strips: a box is laid together of those that it touches."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

from sammil_cli.slides.pixels import GLASS, RGB

_CACHE_BYTES = 64 << 20


class PieceCache:
    """The pieces that were decoded last, up to 64 MiB; several threads may use it at once.

    Boxes are mostly read row by row, from above. So a piece that reaches on below a box, or to its right, is kept
    longest: the box's neighbours want it. All others go first. With that, 64 MiB are enough for slides twice as wide.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted, self._others = OrderedDict[Hashable, RGB](), OrderedDict[Hashable, RGB]()  # the oldest come first
        self._bytes = 0

    def get(self, key: Hashable, decode: Callable[[], RGB], *, reaches_on: bool) -> RGB:
        """A piece, decoded now where it is not kept."""
        with self._lock:
            piece = self._taken(key)
            if piece is not None:
                self._put(key, piece, reaches_on)
                return piece
        piece = decode()
        with self._lock:
            self._taken(key)  # another thread may have decoded it, too
            self._put(key, piece, reaches_on)
            while self._bytes > _CACHE_BYTES and len(self._wanted) + len(self._others) > 1:
                _, oldest = (self._others or self._wanted).popitem(last=False)
                self._bytes -= oldest.nbytes
        return piece

    def clear(self) -> None:
        """Forgets all pieces."""
        with self._lock:
            self._wanted.clear()
            self._others.clear()
            self._bytes = 0

    def _taken(self, key: Hashable) -> RGB | None:
        """A piece, no longer kept; None where it was not."""
        piece = self._wanted.pop(key, None)
        piece = self._others.pop(key, None) if piece is None else piece
        self._bytes -= 0 if piece is None else piece.nbytes
        return piece

    def _put(self, key: Hashable, piece: RGB, reaches_on: bool) -> None:
        (self._wanted if reaches_on else self._others)[key] = piece
        self._bytes += piece.nbytes


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
    piece: Callable[[int, int, bool], RGB],
) -> RGB:
    """The pixels of a box of a page, white beyond the page.

    Args:
        corner: its left and top in pixels of the page.
        page_px: width and height of the page; pieces at its right and lower edge may reach beyond it.
        piece: gives the pixels of a piece by its column and row, and whether it reaches on below the box or to its
            right.
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
            pixels = piece(column, row, x + width > right or y + height > bottom)
            x0, x1 = max(left, x), min(right, x + pixels.shape[1], page_px[0])
            y0, y1 = max(top, y), min(bottom, y + pixels.shape[0], page_px[1])
            if x0 < x1 and y0 < y1:
                image[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0 - y : y1 - y, x0 - x : x1 - x]
    return image
