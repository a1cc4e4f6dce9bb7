"""Pieces of a picture that is read row by row are decoded once, also where a row is wider than what can be kept."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.slides import pieces
from sammil_cli.slides.pieces import PieceCache, lay_together

PIECE, ACROSS, DOWN = 8, 40, 12
PAGE = (PIECE * ACROSS, PIECE * DOWN)
PIXELS = np.random.default_rng(1).integers(0, 256, (*PAGE[::-1], 3), dtype=np.uint8)


class Page:
    """A picture in pieces, of which `kept` may be kept; counts how often each is decoded."""

    def __init__(self, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pieces, "_CACHE_BYTES", kept * PIECE * PIECE * 3)
        self.cache, self.decoded = PieceCache(), np.zeros((DOWN, ACROSS), int)

    def read(self, x: int, y: int, side: int) -> NDArray[np.uint8]:
        def piece(column: int, row: int, reaches_on: bool) -> NDArray[np.uint8]:
            return self.cache.get((column, row), lambda: self._decode(column, row), reaches_on=reaches_on)

        return lay_together((x, y), (side, side), (PIECE, PIECE), PAGE, piece)

    def _decode(self, column: int, row: int) -> NDArray[np.uint8]:
        self.decoded[row, column] += 1
        return PIXELS[row * PIECE : (row + 1) * PIECE, column * PIECE : (column + 1) * PIECE]


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_grid_is_read_with_room_for_little_more_than_a_row_of_pieces(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(ACROSS + 12, monkeypatch)
    for y in range(3, PAGE[1] - side, side):
        for x in range(5, PAGE[0] - side, side):
            np.testing.assert_array_equal(page.read(x, y, side), PIXELS[y : y + side, x : x + side])
    assert page.decoded.max() == 1


def test_no_more_is_kept_than_allowed_and_it_is_forgotten_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(3, monkeypatch)
    page.read(0, 0, 6 * PIECE)
    assert page.cache._bytes <= 3 * PIECE * PIECE * 3
    page.cache.clear()
    page.read(0, 0, PIECE)
    assert page.cache._bytes == PIECE * PIECE * 3
    page.read(0, 0, PIECE)
    assert page.cache._bytes == PIECE * PIECE * 3
    assert page.decoded[0, 0] == 2
