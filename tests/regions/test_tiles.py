"""Tiles cover a canvas with the overlap asked for, and their cores cover it once."""

from itertools import pairwise

import numpy as np
import pytest

from sammil_cli.regions.tiles import lay_tiles


def test_three_tiles_in_a_row() -> None:
    # 2400 px with tiles of 1000: two steps of 700, so that neighbours share 300 px; the cores end in the middle.
    tiles = lay_tiles((2400, 800), 1000, 0.25)
    assert [tile.window for tile in tiles] == [(0, 0, 1000, 800), (700, 0, 1000, 800), (1400, 0, 1000, 800)]
    assert [tile.core for tile in tiles] == [(0, 0, 850, 800), (850, 0, 700, 800), (1550, 0, 850, 800)]


def test_tiles_go_row_by_row() -> None:
    corners = [tile.window[:2] for tile in lay_tiles((150, 150), 100, 0.25)]
    assert corners == [(0, 0), (50, 0), (0, 50), (50, 50)]


@pytest.mark.parametrize("size", [(1, 1), (512, 300), (512, 512)])
def test_a_canvas_that_fits_is_one_tile(size: tuple[int, int]) -> None:
    (tile,) = lay_tiles(size, 512, 0.25)
    assert tile.window == tile.core == (0, 0, *size)


@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 1 / 3, 0.5])
def test_tiles_of_any_canvas(overlap: float) -> None:
    rng = np.random.default_rng(8)
    for _ in range(150):
        side = int(rng.integers(16, 90))
        width, height = rng.integers(1, 400, 2).tolist()
        tiles = lay_tiles((width, height), side, overlap)
        assert tiles == lay_tiles((width, height), side, overlap)
        counted = np.zeros((height, width), int)
        for tile in tiles:
            x, y, wide, high = tile.window
            assert (wide, high) == (min(side, width), min(side, height))
            assert x >= 0
            assert y >= 0
            assert x + wide <= width
            assert y + high <= height
            left, top, core_wide, core_high = tile.core
            assert min(core_wide, core_high) > 0
            assert x <= left
            assert y <= top
            assert left + core_wide <= x + wide
            assert top + core_high <= y + high
            counted[top : top + core_high, left : left + core_wide] += 1
        assert (counted == 1).all()
        starts = sorted({tile.window[0] for tile in tiles})
        shared = [a + side - b for a, b in pairwise(starts)]
        assert all(px >= overlap * side for px in shared)
        # None could be left out: with one tile less, the rest could not share so much.
        assert len(starts) == 1 or (len(starts) - 2) * int(side * (1 - overlap)) + side < width
