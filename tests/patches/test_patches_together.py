"""Neighbours are read in one go where that gives the pixels of single reads, byte for byte, and only there."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from slide_maker import write_pyramid

from sammil_cli.errors import SlideError
from sammil_cli.patches.images import batches, neighbours, read_patch
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import TOGETHER_PX, Slide
from sammil_cli.storage.paths import SlidePath

SIZE = (410, 300)  # width, height


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5))


def grid_of(xy: list[tuple[int, int]], side: int, patch_px: int) -> PatchGrid:
    return PatchGrid(
        slide_id="s",
        xy=np.array(xy, np.int32).reshape(-1, 2),
        patch_px=patch_px,
        patch_mpp=0.25 * side / patch_px,
        patch_px_level0=side,
        slide_mpp=0.25,
        slide_size_px=SIZE,
        bounds_px=(0, 0, *SIZE),
    )


def over_all(side: int, step: int, patch_px: int) -> PatchGrid:
    """From before the upper left corner to behind the lower right one, with a gap in each row."""
    columns = [x for x in range(-side // 2, SIZE[0], step) if not 100 <= x < 100 + step]
    return grid_of([(x, y) for y in range(-side // 3, SIZE[1], step) for x in columns], side, patch_px)


def counted(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of what the reader is asked for from now on."""
    asked, read = [], slide.reader.read

    def reading(xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
        asked.append(size_px)
        return read(xy, level, size_px)

    monkeypatch.setattr(slide.reader, "read", reading)
    return asked


def write(path: Path, pixels: NDArray[np.uint8]) -> SlidePath:
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
        return SlidePath(path)
    return SlidePath(write_pyramid(path, pixels, mpp=0.25, downsamples=(1, 2, 4), tile_px=32))


@pytest.mark.parametrize("name", ["tiles.tif", "picture.png"])
@pytest.mark.parametrize(
    ("side", "step", "patch_px"),
    [(64, 64, 64), (60, 60, 40), (96, 48, 64), (65, 65, 33), (130, 130, 32)],
    ids=["as it is", "shrunk", "overlapping", "uneven", "a coarser level"],
)
def test_batches_have_the_pixels_of_single_reads(
    tmp_path: Path, pixels: NDArray[np.uint8], name: str, side: int, step: int, patch_px: int
) -> None:
    grid = over_all(side, step, patch_px)
    with open_slide(write(tmp_path / name, pixels), 0.25) as slide:
        read = batches(slide, grid, lambda patch: patch.copy(), batch_size=16, threads=2)
        found = np.concatenate(list(read))
        np.testing.assert_array_equal(found, [read_patch(slide, grid, index) for index in range(len(grid.xy))])


def test_a_row_is_one_read_and_a_gap_begins_another(
    tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_of([(10, 20), (50, 20), (90, 20), (170, 20), (10, 60)], 40, 40)
    with open_slide(write(tmp_path / "s.tif", pixels), 0.25) as slide:
        asked = counted(slide, monkeypatch)
        list(batches(slide, grid, lambda patch: patch, batch_size=8, threads=1))
    assert sorted(asked) == [(40, 40), (40, 40), (120, 40)]


def test_runs_are_no_larger_than_what_is_read_at_once_and_leave_work_for_all_threads() -> None:
    grid = grid_of([(x, 0) for x in range(0, 4000, 1000)], 1000, 256)
    assert neighbours(grid, range(4), 8) == [range(4)]
    assert neighbours(grid, range(4), 3) == [range(3), range(3, 4)]
    large = round(TOGETHER_PX**0.5) - 1
    assert neighbours(grid_of([(0, 0), (large, 0)], large, 256), range(2), 8) == [range(1), range(1, 2)]
    assert neighbours(grid, range(0), 8) == []


def test_what_may_lie_between_pixels_is_read_one_by_one(
    tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(write(tmp_path / "s.tif", pixels), 0.25) as slide:
        asked = counted(slide, monkeypatch)
        assert slide.read_together([(1, 1), (65, 1)], (64, 64), (32, 32)) is None
        assert asked == []
        assert slide.read_together([(1, 1), (65, 1)], (64, 64), (40, 40)) is not None
        monkeypatch.setattr(slide.reader, "kind", "mirax")  # its tiles lie between pixels
        assert slide.read_together([(1, 1), (65, 1)], (64, 64), (40, 40)) is None


def test_damage_costs_the_patch_that_has_it_and_keeps_its_code(
    tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_of([(x, 0) for x in range(0, 400, 40)], 40, 40)
    with open_slide(write(tmp_path / "s.tif", pixels), 0.25) as slide:
        read = slide.reader.read

        def damaged(xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
            if xy[0] <= 130 < xy[0] + size_px[0]:
                raise SlideError("E_READ", "a tile cannot be decoded", remedy="copy it again")
            return read(xy, level, size_px)

        monkeypatch.setattr(slide.reader, "read", damaged)
        unreadable: dict[int, SlideError] = {}
        kept: dict[str, Any] = {"batch_size": 6, "threads": 2}
        found = list(batches(slide, grid, lambda patch: patch.copy(), unreadable=unreadable, **kept))
        assert list(unreadable) == [3]
        assert [len(batch) for batch in found] == [5, 4]
        readable = [index for index in range(10) if index != 3]
        np.testing.assert_array_equal(np.concatenate(found), [read_patch(slide, grid, index) for index in readable])
        with pytest.raises(SlideError, match="a tile cannot be decoded") as caught:
            list(batches(slide, grid, lambda patch: patch, **kept))
    assert caught.value.code == "E_READ"


def test_batches_lie_in_memory_as_their_patches_do(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    grid = grid_of([(0, 0), (40, 0), (80, 0)], 40, 40)
    with open_slide(write(tmp_path / "s.tif", pixels), 0.25) as slide:
        [batch] = batches(slide, grid, lambda patch: patch.transpose(2, 0, 1), batch_size=3, threads=1)
    assert batch.shape == (3, 3, 40, 40)
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous


def test_patches_that_are_prepared_differently_are_no_batch(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    grid = grid_of([(0, 0), (40, 0), (0, 80)], 40, 40)
    shapes = iter([(4,), (4,), (1,)])
    with (
        open_slide(write(tmp_path / "s.tif", pixels), 0.25) as slide,
        pytest.raises(ValueError, match="prepares patches of one slide as"),
    ):
        list(batches(slide, grid, lambda patch: np.zeros(next(shapes)), batch_size=3, threads=1))
