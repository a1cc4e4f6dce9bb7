"""Sparse files: tiles that were never stored come from a finer level where that holds them, else it is said where."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from slide_maker import array_slide, blank, leave_out_tiles, write_pyramid

from sammil_cli.slides.files import open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import TiffReader
from sammil_cli.slides.slide import Slide
from sammil_cli.slides.unstored import unstored

# 384 x 256 px: tiles of 64 px lie 6 x 4 on level 0, 3 x 2 on level 1, 2 x 1 on level 2.
RGB = cv2.resize(np.random.default_rng(5).integers(0, 200, (64, 96, 3), dtype=np.uint8), (384, 256))
HALF, QUARTER = (cv2.resize(RGB, (384 // d, 256 // d), interpolation=cv2.INTER_AREA) for d in (2, 4))
APERIO = "Aperio Image Library v11.2.1 \r\n384x256 [0,0 384x256] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"


def sparse(path: Path, left_out: dict[int, list[int]]) -> Slide:
    write_pyramid(path, RGB, mpp=0.5)
    for level, tiles in left_out.items():
        leave_out_tiles(path, level, tiles)
    return open_slide(path)


def missing(slide: Slide, level: int) -> NDArray[np.bool_]:
    """Where the whole of a level is not stored."""
    scale, (width, height) = 2**level, (384, 256)
    slide.read_at((0, 0), (width, height), (width // scale, height // scale))
    found = unstored(slide, (0, 0), (width, height), (width // scale, height // scale))
    return np.zeros((height // scale, width // scale), np.bool_) if found is None else found


def boxes(shape: tuple[int, int], *corners: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    for x, y, width, height in corners:
        mask[y : y + height, x : x + width] = True
    return mask


def test_a_file_that_holds_all_tiles_lacks_nothing(tmp_path: Path) -> None:
    with sparse(tmp_path / "a.tif", {}) as slide:
        assert [missing(slide, level).any() for level in range(3)] == [False] * 3
    assert unstored(array_slide(blank(64, 64)), (0, 0), (64, 64), (64, 64)) is None


def test_a_tile_of_level_0_that_is_not_stored_is_white_and_named(tmp_path: Path) -> None:
    with sparse(tmp_path / "a.tif", {0: [1, 15]}) as slide:  # columns 1 and 3, rows 0 and 2
        where = boxes((256, 384), (64, 0, 64, 64), (192, 128, 64, 64))
        read = slide.read_at((0, 0), slide.size_px, slide.size_px)
        assert (read[where] == 255).all()
        np.testing.assert_array_equal(read[~where], RGB[~where])
        np.testing.assert_array_equal(missing(slide, 0), where)
        part = unstored(slide, (180, 100), (64, 48), (64, 48))
        np.testing.assert_array_equal(part, where[100:148, 180:244])
        assert unstored(slide, (0, 64), (64, 64), (64, 64)) is None
        # Read at half of the resolution, the patch comes from a level that has it all.
        assert not missing(slide, 1).any()
        np.testing.assert_array_equal(slide.read_at((0, 0), slide.size_px, (192, 128)), HALF)


def test_a_tile_of_a_coarse_level_is_made_of_a_finer_one(tmp_path: Path) -> None:
    with sparse(tmp_path / "a.tif", {1: [4], 2: [0, 1]}) as slide:
        assert not missing(slide, 1).any()
        assert not missing(slide, 2).any()
        reader = slide.reader
        assert isinstance(reader, TiffReader)
        for level, whole in ((1, HALF), (2, QUARTER)):
            read = reader.read((0, 0), level, (whole.shape[1], whole.shape[0]))
            assert np.abs(read.astype(int) - whole).max() <= 1  # of the level before, which is rounded, too


def test_only_what_no_finer_level_holds_is_missing(tmp_path: Path) -> None:
    with sparse(tmp_path / "a.tif", {0: [0, 1, 6, 14], 1: [0, 1], 2: [0]}) as slide:
        of_0 = boxes((256, 384), (0, 0, 128, 64), (0, 64, 64, 64), (128, 128, 64, 64))
        np.testing.assert_array_equal(missing(slide, 0), of_0)
        # Tile 0 of level 1 covers four of level 0, three of which are missing; tile 14 is below what level 1 lacks.
        np.testing.assert_array_equal(missing(slide, 1), boxes((128, 192), (0, 0, 64, 32), (0, 32, 32, 32)))
        np.testing.assert_array_equal(missing(slide, 2), boxes((64, 96), (0, 0, 32, 16), (0, 16, 16, 16)))
        assert not missing(slide, 2)[:, 64:].any()
        read = slide.read_at((0, 0), slide.size_px, (96, 64))
        assert (read[:16, :32] == 255).all()
        assert np.abs(read[16:30, 18:].astype(int) - QUARTER[16:30, 18:]).max() <= 1


def test_beyond_the_slide_nothing_is_missing(tmp_path: Path) -> None:
    with sparse(tmp_path / "a.tif", {0: [23]}) as slide:  # the last one
        slide.read_at((340, 220), (96, 96), (96, 96))
        found = unstored(slide, (340, 220), (96, 96), (96, 96))
        np.testing.assert_array_equal(found, boxes((96, 96), (0, 0, 44, 36)))


@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 16},
        {"rowsperstrip": 16, "compression": "zlib"},
        {"tile": (64, 64), "planarconfig": "separate"},
        {"tile": (64, 64), "bigtiff": True, "compression": "lzw"},
    ],
    ids=str,
)
def test_strips_and_planes_may_be_missing_too(tmp_path: Path, options: dict[str, Any]) -> None:
    planar = options.get("planarconfig") == "separate"
    path, data = tmp_path / "a.tif", np.ascontiguousarray(np.moveaxis(RGB, 2, 0)) if planar else RGB
    tifffile.imwrite(
        path, data, photometric="rgb", metadata=None, resolution=(20_000,) * 2, resolutionunit=3, **options
    )
    leave_out_tiles(path, 0, [24 + 8] if planar else [8])  # of planes the second's
    where = boxes((256, 384), (0, 128, 384, 16) if "rowsperstrip" in options else (128, 64, 64, 64))
    with open_slide(path) as slide:
        read = slide.read_at((0, 0), slide.size_px, slide.size_px)
        assert (read[where] == 255).all()
        np.testing.assert_array_equal(read[~where], RGB[~where])
        np.testing.assert_array_equal(missing(slide, 0), where)


def test_openslide_says_it_by_transparent_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as tiff:
        for level in (RGB, QUARTER):
            tiff.write(level, photometric="rgb", tile=(64, 64), compression="jpeg", metadata=None, description=APERIO)
    leave_out_tiles(path, 0, [1, 15])
    leave_out_tiles(path, 1, [0])
    where = boxes((256, 384), (64, 0, 64, 64), (192, 128, 64, 64))
    with openslide.OpenSlide(path) as other:
        np.testing.assert_array_equal(np.asarray(other.read_region((0, 0), 0, (384, 256)))[..., 3] == 0, where)
    with open_slide(path) as slide:
        assert isinstance(slide.reader, OpenSlideReader)
        slide.read_at((256, 0), (64, 64), (64, 64))
        assert unstored(slide, (256, 0), (64, 64), (64, 64)) is None  # nothing transparent was met: not read again
        np.testing.assert_array_equal(missing(slide, 0), where)
        # Of a coarse level that lacks a tile OpenSlide takes the finer one, as we do.
        np.testing.assert_array_equal(missing(slide, 2), where[2::4, 2::4])
        slide.read_at((340, 220), (96, 96), (96, 96))
        assert unstored(slide, (340, 220), (96, 96), (96, 96)) is None  # transparent, but beyond the slide
