"""Patch images come in the grid's order, whatever the threads do, and errors end the reading."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import write_pyramid

from sammil_cli.errors import SlideError
from sammil_cli.patches.grid import PatchGrid
from sammil_cli.patches.images import batches, read_patch
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide

RGB = np.random.default_rng(7).integers(0, 256, (96, 160, 3), dtype=np.uint8)


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    with open_slide(write_pyramid(tmp_path / "noise.tif", RGB, mpp=0.5, downsamples=(1, 2), tile_px=32)) as opened:
        yield opened


def grid_of(xy: list[tuple[int, int]], *, side: int = 32, patch_px: int = 32) -> PatchGrid:
    return PatchGrid(
        slide_id="noise",
        xy=np.array(xy, np.int32).reshape(-1, 2),
        patch_px=patch_px,
        patch_mpp=0.5 * side / patch_px,
        patch_px_level0=side,
        slide_mpp=0.5,
        slide_size_px=(160, 96),
        bounds_px=(0, 0, 160, 96),
    )


GRID = grid_of([(x, y) for y in (0, 32, 64) for x in (0, 32, 64, 96, 128)])  # 15 patches


def test_a_patch_is_the_part_of_the_slide_at_its_corner(slide: Slide) -> None:
    np.testing.assert_array_equal(read_patch(slide, GRID, 8), RGB[32:64, 96:128])


def test_a_patch_of_coarser_resolution_is_shrunk_to_its_side(slide: Slide) -> None:
    patch = read_patch(slide, grid_of([(64, 32)], side=64, patch_px=16), 0)
    expected = RGB[32:96, 64:128].reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert patch.shape == (16, 16, 3)
    np.testing.assert_allclose(patch, expected, atol=1.5)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 15, 64])
def test_batches_hold_what_serial_reading_gives_in_its_order(slide: Slide, batch_size: int) -> None:
    def prepare(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(int(patch[0, 0, 0]) / 40_000)  # threads end in another order than they begin
        return patch.astype(np.float32) / 2

    found = list(batches(slide, GRID, prepare, batch_size=batch_size, threads=4))
    sizes = [len(batch) for batch in found]
    assert sizes == [batch_size] * (15 // batch_size) + ([15 % batch_size] if 15 % batch_size else [])
    expected = np.stack([read_patch(slide, GRID, index).astype(np.float32) / 2 for index in range(15)])
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_an_empty_grid_gives_no_batches(slide: Slide) -> None:
    assert list(batches(slide, grid_of([]), lambda patch: patch, batch_size=4, threads=2)) == []


@pytest.mark.timeout(20)
def test_an_error_in_one_patch_ends_the_reading_after_the_batches_before_it(slide: Slide) -> None:
    def prepare(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if np.array_equal(patch, RGB[32:64, 96:128]):  # patch 8
            raise ValueError("this patch cannot be prepared")
        return patch

    before = threading.active_count()
    reading = batches(slide, GRID, prepare, batch_size=3, threads=3)
    assert len([next(reading), next(reading)]) == 2
    with pytest.raises(ValueError, match="this patch cannot be prepared"):
        next(reading)
    assert list(reading) == []
    assert threading.active_count() == before


def test_patches_that_cannot_be_decoded_are_left_out_and_counted_where_that_is_wanted(slide: Slide) -> None:
    damaged = (3, 4, 5, 14)  # a whole batch of three among them

    def prepare(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        time.sleep(int(patch[0, 0, 0]) / 40_000)
        if any(np.array_equal(patch, read_patch(slide, GRID, index)) for index in damaged):
            raise SlideError("E_READ", "it cannot be decoded", remedy="copy it again")
        return patch

    unreadable: dict[int, SlideError] = {}
    found = list(batches(slide, GRID, prepare, batch_size=3, threads=3, unreadable=unreadable))
    assert list(unreadable) == list(damaged)
    assert all(len(batch) for batch in found)
    readable = [index for index in range(15) if index not in damaged]
    np.testing.assert_array_equal(np.concatenate(found), [read_patch(slide, GRID, index) for index in readable])
    with pytest.raises(SlideError, match="cannot be decoded"):
        list(batches(slide, GRID, prepare, batch_size=3, threads=3))


@pytest.mark.parametrize("error", [SlideError("E_COARSE", "too coarse", remedy="ask for less"), ValueError("a bug")])
def test_only_damage_is_left_out_and_other_errors_end_the_reading(slide: Slide, error: Exception) -> None:
    def prepare(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        raise error

    unreadable: dict[int, SlideError] = {}
    with pytest.raises(type(error)) as caught:
        list(batches(slide, GRID, prepare, batch_size=4, threads=2, unreadable=unreadable))
    assert caught.value is error
    assert unreadable == {}


@pytest.mark.timeout(20)
def test_reading_stays_at_most_two_batches_ahead_and_stops_with_its_consumer(slide: Slide) -> None:
    prepared: list[int] = []

    def prepare(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        prepared.append(1)
        return patch

    before = threading.active_count()
    reading = batches(slide, GRID, prepare, batch_size=2, threads=2)
    next(reading)
    time.sleep(0.2)  # more would have been prepared by now
    reading.close()
    assert len(prepared) <= 2 + 2 * 2
    assert threading.active_count() == before
