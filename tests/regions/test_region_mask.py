"""Masks as run lengths in a box against plain arrays."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.regions.region_mask import Box, RegionMask, bounding_box, decode, encode, shared

Mask = NDArray[np.bool_]


def drawn(*rows: str) -> Mask:
    return np.array([[cell == "#" for cell in row] for row in rows])


def random_masks(seed: int, count: int) -> list[Mask]:
    """Small masks of all densities: specks, full columns, masks as tall or as wide as their canvas, single pixels."""
    rng = np.random.default_rng(seed)
    masks = []
    while len(masks) < count:
        shape = rng.integers(1, 14, 2)
        mask = rng.random(shape) < rng.choice([0.03, 0.5, 0.97, 1.0])
        if rng.random() < 0.5:  # a part of the canvas only
            top, left = (int(rng.integers(0, side)) for side in shape)
            mask[:top] = False
            mask[:, :left] = False
        if mask.any():
            masks.append(mask)
    return masks


def plain_window(mask: Mask, window: Box) -> Mask:
    """What a window shows of a canvas, pixel by pixel."""
    x, y, width, height = window
    rows, columns = mask.shape
    return np.array(
        [
            [0 <= x + i < columns and 0 <= y + j < rows and mask[y + j, x + i] for i in range(width)]
            for j in range(height)
        ],
        bool,
    )


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        # Column by column: 001 110 011 000
        ((".#..", ".##.", "#.#."), [2, 3, 2, 2, 3]),
        # 101 000: the first pixel is set, so the first run, background, is empty
        (("#.", "..", "#."), [0, 1, 1, 1, 3]),
        (("...", "..."), [6]),
        (("###", "###"), [0, 6]),
        ((".", "#"), [1, 1]),
        (("..#",), [2, 1]),
    ],
)
def test_run_lengths_go_column_by_column_with_background_first(rows: tuple[str, ...], runs: list[int]) -> None:
    mask = drawn(*rows)
    encoded = encode(mask)
    assert encoded.dtype == np.uint32
    assert encoded.tolist() == runs
    np.testing.assert_array_equal(decode(encoded, mask.shape), mask)


def test_random_masks_come_back_from_their_run_lengths() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 24, 2)) < rng.choice([0.02, 0.5, 0.98])
        runs = encode(mask)
        assert (runs[1:] > 0).all()
        assert runs.sum() == mask.size
        np.testing.assert_array_equal(decode(runs, mask.shape), mask)


def test_the_box_of_a_mask_is_x_y_width_height() -> None:
    assert bounding_box(drawn("......", "...#..", "..##..", ".....#")) == (2, 1, 4, 3)


def test_a_mask_keeps_its_pixels_its_box_and_its_area() -> None:
    for mask in random_masks(2, 200):
        region = RegionMask.of(mask, (5, -3))
        x, y, width, height = region.box
        assert (x - 5, y + 3, width, height) == bounding_box(mask)
        assert region.area_px == int(mask.sum())
        assert region.array().shape == (height, width)
        rows, columns = mask.shape
        np.testing.assert_array_equal(region.within((5, -3, columns, rows)), mask)


def test_a_window_may_lie_anywhere() -> None:
    rng = np.random.default_rng(3)
    for mask in random_masks(3, 200):
        region = RegionMask.of(mask)
        x, y = rng.integers(-16, 16, 2).tolist()
        width, height = rng.integers(1, 20, 2).tolist()
        window = (x, y, width, height)
        expected = plain_window(mask, window)
        np.testing.assert_array_equal(region.within(window), expected)
        part = region.cut(window)
        if expected.any():
            assert part is not None
            assert part.box == (x + bounding_box(expected)[0], y + bounding_box(expected)[1], *part.box[2:])
            assert part.area_px == expected.sum()
            np.testing.assert_array_equal(part.within(window), expected)
        else:
            assert part is None


def test_pixels_are_found_one_by_one() -> None:
    rng = np.random.default_rng(4)
    for mask in random_masks(4, 100):
        region = RegionMask.of(mask)
        x, y, width, height = region.box
        columns = np.sort(rng.integers(x, x + width, 5))
        rows = np.sort(rng.integers(y, y + height, 7))
        np.testing.assert_array_equal(region.at(columns, rows), mask[np.ix_(rows, columns)])


def test_a_moved_mask_is_the_same_elsewhere() -> None:
    mask = drawn("..#.", ".##.", "....")
    moved = RegionMask.of(mask).moved(10, -7)
    assert moved.box == (11, -7, 2, 2)
    np.testing.assert_array_equal(moved.array(), mask[:2, 1:3])


def test_canvas_runs_are_those_of_the_drawn_canvas_and_lead_back() -> None:
    rng = np.random.default_rng(5)
    for mask in random_masks(5, 300):
        rows, columns = mask.shape
        x, y = rng.integers(0, 4, 2).tolist()
        right, below = rng.integers(0, 3, 2).tolist()
        size = (x + columns + right, y + rows + below)
        canvas = np.zeros(size[::-1], bool)
        canvas[y : y + rows, x : x + columns] = mask
        region = RegionMask.of(mask, (x, y))
        runs = region.canvas_runs(size)
        assert runs.dtype == np.uint32
        np.testing.assert_array_equal(runs, encode(canvas))
        back = RegionMask.of_canvas_runs(runs, region.box, size[1])
        np.testing.assert_array_equal(back.runs, region.runs)


def test_a_union_holds_every_pixel_of_its_masks() -> None:
    rng = np.random.default_rng(6)
    masks = random_masks(6, 300)
    for first in range(0, 300, 3):
        canvas = np.zeros((24, 24), bool)
        regions = []
        for mask in masks[first : first + 3]:
            x, y = rng.integers(0, 10, 2).tolist()
            canvas[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
            regions.append(RegionMask.of(mask, (x, y)))
        union = RegionMask.union(regions)
        expected = RegionMask.of(canvas)
        assert union.box == expected.box
        np.testing.assert_array_equal(union.runs, expected.runs)


def test_a_canvas_with_more_pixels_than_a_run_can_count_is_written_all_the_same() -> None:
    size = (100_000, 100_000)
    region = RegionMask.of(drawn("#.", "##"), (70_000, 3))
    runs = region.canvas_runs(size)
    # 7 000 000 003 pixels before the first: one run of 2 ** 32 - 1, none of the region, and the rest.
    assert runs[:4].tolist() == [2**32 - 1, 0, 7_000_000_003 - (2**32 - 1), 2]
    assert int(runs.sum(dtype=np.int64)) == 10**10
    assert runs[1::2].sum() == 3
    back = RegionMask.of_canvas_runs(runs, region.box, size[1])
    np.testing.assert_array_equal(back.runs, region.runs)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 4, 4), (2, 1, 9, 9), (2, 1, 2, 3)),
        ((0, 0, 4, 4), (4, 0, 2, 2), None),  # they touch
        ((0, 0, 9, 9), (2, 3, 1, 1), (2, 3, 1, 1)),
        ((5, 5, 1, 1), (-3, -3, 2, 2), None),
    ],
)
def test_what_two_boxes_share(a: Box, b: Box, expected: Box | None) -> None:
    assert shared(a, b) == shared(b, a) == expected
