"""Patches over tiles that the file does not hold: fine where that was glass, refused where it was tissue."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import PINK, array_slide, blank, leave_out_tiles, write_pyramid

from sammil_cli.patches.images import read_patch
from sammil_cli.patches.lost import UnstoredError, check_stored
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.files import open_slide

SIZE_PX = (512, 384)  # tiles of 64 px, 8 x 6
PATCHES = [(0, 0), (96, 64), (128, 0), (160, 64), (64, 128), (224, 64), (456, 320)]
GRID = PatchGrid(
    slide_id="s",
    xy=np.array(PATCHES, np.int32),
    patch_px=64,
    patch_mpp=1.0,
    patch_px_level0=64,
    slide_mpp=1.0,
    slide_size_px=SIZE_PX,
    bounds_px=(0, 0, *SIZE_PX),
)


def tile_at(x: int, y: int) -> int:
    return y // 64 * 8 + x // 64


def refused(folder: Path, patch: tuple[int, int], tiles: list[int], cells: NDArray[np.uint8] | None) -> bool:
    """Whether a patch is refused on a slide with tissue from x = 20 to 200 and y = 20 to 300."""
    rgb = blank(*SIZE_PX)
    rgb[20:300, 20:200] = PINK
    path = write_pyramid(folder / "a.tif", rgb)
    for level in (0, 1, 2) if cells is None else (0,):  # without a map nothing knows what was there
        leave_out_tiles(path, level, tiles if level == 0 else range(24 // 4**level * 2))
    index = PATCHES.index(patch)
    with open_slide(path) as slide:
        image = read_patch(slide, GRID, index)
        try:
            check_stored(slide, GRID, index, image, cells)
        except UnstoredError as error:
            found = error
        else:
            return False
    assert (found.code, found.set_aside) == ("E_READ", True)
    assert f"x={patch[0]}, y={patch[1]}" in found.message
    assert "unreadable_share" in found.remedy
    return True


# The map of glass in cells of 32 px: what is no tissue.
GLASS_CELLS = np.full((12, 16), 255, np.uint8)
GLASS_CELLS[1:9, 1:6] = 0


@pytest.mark.parametrize("cells", [None, GLASS_CELLS], ids=["without a map", "with the map"])
@pytest.mark.parametrize(
    ("patch", "tiles", "lost"),
    [
        ((128, 0), [], False),
        ((96, 64), [tile_at(448, 0)], False),  # elsewhere
        ((128, 0), [tile_at(128, 0)], True),  # nothing of it is stored
        ((96, 64), [tile_at(128, 64)], True),  # its right half is not, which was tissue
        ((64, 128), [tile_at(64, 128)], True),
        ((224, 64), [tile_at(256, 64)], False),  # glass on glass
        ((456, 320), [tile_at(448, 320)], True),  # nothing is stored; that it reaches over the edge does not hide it
    ],
)
def test_what_was_tissue_is_lost_and_what_was_glass_is_not(
    tmp_path: Path, patch: tuple[int, int], tiles: list[int], lost: bool, cells: NDArray[np.uint8] | None
) -> None:
    assert refused(tmp_path, patch, tiles, cells) is lost


def test_tissue_that_only_the_thumbnail_shows_is_lost(tmp_path: Path) -> None:
    # Of the patch at 224, 64 the right half is not stored, and its left half is glass.
    tiles = [tile_at(256, 64)]
    assert not refused(tmp_path / "a", (224, 64), tiles, GLASS_CELLS)
    shown = GLASS_CELLS.copy()
    shown[2:4, 8:10] = 51  # a fifth glass: four fifths of half of the patch
    assert refused(tmp_path / "b", (224, 64), tiles, shown)
    shown[2:4, 8:10] = 215  # a tenth of the patch, or less: the seam of a cell
    assert not refused(tmp_path / "c", (224, 64), tiles, shown)


def test_what_lies_beyond_the_slide_is_not_lost(tmp_path: Path) -> None:
    assert not refused(tmp_path, (456, 320), [tile_at(0, 0)], GLASS_CELLS)


@pytest.mark.parametrize(("width", "lost"), [(1, False), (5, False), (20, True)])
def test_a_seam_between_fields_is_no_tile(width: int, lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = blank(*SIZE_PX)
    rgb[:] = PINK
    gap = np.zeros((64, 64), np.bool_)
    gap[:, 24 : 24 + width] = True
    slide, index = array_slide(rgb), PATCHES.index((96, 64))
    patch = read_patch(slide, GRID, index)
    patch[gap] = 255
    monkeypatch.setattr("sammil_cli.patches.lost.unstored", lambda *_: gap)
    if lost:
        with pytest.raises(UnstoredError):
            check_stored(slide, GRID, index, patch, None)
    else:
        check_stored(slide, GRID, index, patch, None)
