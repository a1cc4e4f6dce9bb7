"""Patches on a canvas: what each covers, whatever the grid, and no pixel of two labels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.regions.placed_patches import PlacedPatches, place_patches
from sammil_cli.regions.region_map import Canvas


def grid(columns: int, rows: int, step: int, corner: tuple[int, int] = (0, 0)) -> NDArray[np.int32]:
    row, column = np.divmod(np.arange(columns * rows), columns)
    return (np.stack([column, row], 1) * step + corner).astype(np.int32)


def placed(xy: NDArray[np.int32], side: int, step: int) -> tuple[Canvas, PlacedPatches]:
    return place_patches(np.zeros((len(xy), 2), np.float32), xy, side, step, 0.5)


def test_on_one_grid_patches_are_whole_pixels_and_tile_what_they_cover() -> None:
    canvas, patches = placed(grid(3, 2, 224, (1000, 77)), 224, 224)
    assert (canvas.origin_px, canvas.downsample, canvas.size_px, canvas.mpp) == ((1000, 77), 56.0, (12, 8), 28.0)
    expected = np.arange(6).reshape(2, 3).repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(patches.paint(np.arange(6), (8, 12)), expected)


def test_where_sections_have_grids_of_their_own_no_pixel_is_touched_by_patches_of_two_labels() -> None:
    xy = np.concatenate([grid(3, 3, 100), grid(3, 3, 100, (300, 37))])
    canvas, patches = placed(xy, 100, 100)
    labels = np.arange(18)
    width, height = canvas.size_px
    painted = patches.paint(labels, (height, width))
    assert sorted(set(np.unique(painted)) - {-1}) == labels.tolist()  # none is lost
    for patch, (x, y) in enumerate(patches.corner):
        across = slice(int(np.floor(x)), int(np.ceil(x + patches.side)))
        down = slice(int(np.floor(y)), int(np.ceil(y + patches.side)))
        assert set(np.unique(painted[down, across])) <= {patch, -1}
    whole = patches.paint(np.zeros(18, int), (height, width))  # one region has no gaps between its patches
    assert (whole == 0).sum() == (patches.cover(labels, (height, width))[1] >= 0).sum()


def test_a_patch_that_overlaps_its_neighbours_stands_for_its_middle_and_one_alone_for_more() -> None:
    canvas, patches = placed(grid(4, 3, 128), 256, 128)
    assert (canvas.origin_px, canvas.size_px, patches.side) == ((64, 64), (16, 12), 4.0)
    canvas, patches = placed(grid(4, 3, 512), 256, 512)
    assert (canvas.origin_px, canvas.size_px, canvas.downsample) == ((-128, -128), (16, 12), 128.0)


def test_a_large_slide_has_fewer_pixels_to_a_patch_and_no_canvas_is_endless() -> None:
    xy = np.array([[0, 0], [224 * 1500, 224]], np.int32)
    canvas, patches = placed(xy, 224, 224)
    assert (canvas.size_px, patches.side) == ((3002, 4), 2.0)
    with pytest.raises(SlideError, match="2 patches of 8 level-0 px lie over 2000000008 x 2000000008 px") as told:
        placed(np.array([[0, 0], [2_000_000_000, 2_000_000_000]], np.int32), 8, 8)
    assert told.value.code == "E_INPUT"
