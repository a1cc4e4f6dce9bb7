"""TIFFs of all kinds through the `tiff` format: the right pixels, only those that are needed, from several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from openslide import OpenSlideError
from slide_maker import blank, overwrite_tiles, write_pyramid

from sammil_cli.errors import SlideError
from sammil_cli.slides import tiff_layout
from sammil_cli.slides.files import open_reader, open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import TiffReader
from sammil_cli.slides.formats.tiff import open_slide as open_tiff

RGB = np.random.default_rng(3).integers(0, 256, (150, 210, 3), dtype=np.uint8)
GREY = RGB[..., 0]
APERIO = "Aperio Image Library v12\r\n512x512|AppMag = 20|MPP = 0.5"


def write(path: Path, data: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, data, metadata=None, **{"photometric": "rgb", **options})
    return path


def read_all(path: Path) -> NDArray[np.uint8]:
    reader = open_tiff(path)
    try:
        return reader.read((0, 0), 0, reader.size_px)
    finally:
        reader.close()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (64, 48)},
        {"tile": (64, 48), "compression": "zlib", "predictor": True},
        {"tile": (64, 48), "compression": "lzw"},
        {"tile": (64, 48), "planarconfig": "separate"},
        {"rowsperstrip": 7},
        {"rowsperstrip": 150},
        {"rowsperstrip": 7, "compression": "lzw"},
        {"rowsperstrip": 33, "planarconfig": "separate"},
        {"bigtiff": True, "tile": (16, 16)},
        {"byteorder": ">", "tile": (64, 64)},
    ],
    ids=str,
)
def test_however_a_tiff_is_stored_its_pixels_are_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    data = np.moveaxis(RGB, 2, 0) if options.get("planarconfig") == "separate" else RGB
    path = write(tmp_path / "a.tif", np.ascontiguousarray(data), **options)
    np.testing.assert_array_equal(read_all(path), RGB)
    reader = open_tiff(path)
    np.testing.assert_array_equal(reader.read((37, 91), 0, (70, 20)), RGB[91:111, 37:107])
    framed = reader.read((-5, 140), 0, (20, 20))
    np.testing.assert_array_equal(framed[:10, 5:], RGB[140:, :15])
    assert (framed[10:] == 255).all()
    assert (framed[:, :5] == 255).all()
    reader.close()


def test_jpeg_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    rgb = blank(64, 64)
    rgb[:] = (200, 60, 120)
    for colours, stored in {"ycbcr": tifffile.PHOTOMETRIC.YCBCR, "rgb": tifffile.PHOTOMETRIC.RGB}.items():
        options = {"compression": "jpeg", "compressionargs": {"outcolorspace": colours}}
        path = write(tmp_path / f"{colours}.tif", rgb, tile=(32, 32), **options)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages[0].photometric == stored
        np.testing.assert_allclose(read_all(path)[5, 5], (200, 60, 120), atol=4)


def test_grey_and_transparent_pixels_become_rgb(tmp_path: Path) -> None:
    black = read_all(write(tmp_path / "black.tif", GREY, photometric="minisblack", tile=(32, 32)))
    np.testing.assert_array_equal(black, np.repeat(GREY[..., None], 3, axis=2))
    white = read_all(write(tmp_path / "white.tif", GREY, photometric="miniswhite", tile=(32, 32)))
    np.testing.assert_array_equal(white, 255 - black)
    rgba = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    rgba[:10, :, 3] = 0
    clear = read_all(write(tmp_path / "rgba.tif", rgba, tile=(32, 32), extrasamples=["unassalpha"]))
    assert (clear[:10] == 255).all()
    np.testing.assert_array_equal(clear[10:], RGB[10:])


def write_ome(path: Path, mpp: float = 0.25) -> Path:
    """Three levels; the smaller ones are sub-pages of the first, as bioformats writes them."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64)}
        metadata = {"axes": "YXS", "PhysicalSizeX": 1000 * mpp, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": mpp}
        tiff.write(np.kron(RGB, np.ones((4, 4, 1), np.uint8)), subifds=2, metadata=metadata, **options)
        for repeat in (2, 1):
            tiff.write(np.kron(RGB, np.ones((repeat, repeat, 1), np.uint8)), subfiletype=1, **options)
    return path


def test_the_pyramid_of_an_ome_tiff_is_seen(tmp_path: Path) -> None:
    with open_slide(write_ome(tmp_path / "a.ome.tif")) as slide:
        assert isinstance(slide.reader, TiffReader)
        assert slide.slide_id == "a.ome"
        assert (slide.reader.kind, slide.size_px, slide.reader.downsamples) == ("ome-tiff", (840, 600), (1, 2, 4))
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.25), "OME PhysicalSizeX")
        np.testing.assert_array_equal(slide.thumbnail(1.0), RGB)
        np.testing.assert_array_equal(slide.reader.read((400, 200), 2, (5, 4)), RGB[50:54, 100:105])


def test_pages_that_are_no_smaller_copies_are_no_levels(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for image in (RGB[::2, ::2], RGB, RGB[:100, :60], RGB[::4, ::4]):  # half, whole, a label, a quarter
            tiff.write(np.ascontiguousarray(image), photometric="rgb", metadata=None)
    reader = open_tiff(tmp_path / "a.tif")
    assert reader.size_px == (210, 150)
    assert reader.downsamples == (1, 2, 4)
    np.testing.assert_array_equal(reader.read((0, 0), 1, (105, 75)), RGB[::2, ::2])
    reader.close()


def channels(path: Path) -> Path:
    tifffile.imwrite(path, np.stack([GREY, GREY, GREY]), photometric="minisblack", metadata=None)
    return path


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (channels, "3 grey channels"),
        (lambda path: write(path, GREY.astype(np.uint16), photometric="minisblack"), "16-bit"),
        (lambda path: write(path, RGB.astype(np.uint16)), "16-bit"),
        (lambda path: write(path, RGB.astype(np.float32)), "32-bit"),
        (
            lambda path: write(path, np.dstack([RGB, RGB]), photometric="minisblack", planarconfig="contig"),
            "6 grey channels",
        ),
    ],
)
def test_fluorescence_is_told_from_brightfield(tmp_path: Path, make: Callable[[Path], Path], what: str) -> None:
    with pytest.raises(SlideError, match=f"not a brightfield RGB slide: it has {what}") as caught:
        open_reader(make(tmp_path / "a.tif"))
    assert (caught.value.code, caught.value.set_aside) == ("E_FORMAT", True)


def test_pieces_too_large_to_decode_are_refused_with_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_layout, "_LARGEST_PIECE_PX", 10_000)
    write(tmp_path / "raw.tif", RGB, rowsperstrip=150)  # single rows can be read
    np.testing.assert_array_equal(read_all(tmp_path / "raw.tif"), RGB)
    with pytest.raises(SlideError, match="pieces of 210 x 150") as caught:
        open_tiff(write(tmp_path / "a b.tif", RGB, rowsperstrip=150, compression="lzw"))
    assert caught.value.code == "E_FORMAT"
    assert f"vips tiffsave '{tmp_path}/a b.tif' '{tmp_path}/a b_pyramid.tif' --tile --pyramid" in caught.value.remedy


def test_only_what_a_box_needs_is_decoded(tmp_path: Path) -> None:
    reader = open_tiff(write_pyramid(tmp_path / "a.tif", RGB, downsamples=(1,)))  # tiles of 64
    read: list[tuple[int, int]] = []
    stored = reader._bytes
    reader._bytes = lambda offset, count: read.append((offset, count)) or stored(offset, count)  # type: ignore[method-assign]
    reader.read((60, 10), 0, (10, 10))
    assert len(read) == 2
    reader.read((0, 0), 0, (128, 64))
    assert len(read) == 2  # both are kept
    reader.close()


def test_threads_read_what_one_reads(tmp_path: Path) -> None:
    reader = open_tiff(write(tmp_path / "a.tif", RGB, tile=(16, 16), compression="zlib"))
    reader_boxes = [(x, y) for x in range(-8, 200, 13) for y in range(-8, 140, 17)]
    expected = np.pad(RGB, ((20, 60), (20, 60), (0, 0)), constant_values=255)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda xy: reader.read(xy, 0, (40, 30)), reader_boxes))
    for (x, y), image in zip(reader_boxes, found, strict=True):
        np.testing.assert_array_equal(image, expected[y + 20 : y + 50, x + 20 : x + 60])
    reader.close()


def write_jpeg_pyramid(path: Path, description: str | None = None) -> Path:
    """Smooth, so that a level tells little from a finer one."""
    ramp = np.linspace(40, 220, 512).astype(np.uint8)
    rgb = np.stack([np.tile(ramp, (512, 1)), np.tile(ramp[:, None], (1, 512)), np.full((512, 512), 90, np.uint8)], 2)
    with tifffile.TiffWriter(path) as tiff:
        for side in (512, 256, 128):
            image = np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            options: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "tile": (128, 128)}
            tiff.write(image, subfiletype=int(side < 512), metadata=None, description=description, **options)
    return path


@pytest.mark.parametrize("description", [None, APERIO])
def test_a_damaged_level_is_replaced_by_the_next_finer_one(tmp_path: Path, description: str | None) -> None:
    path = write_jpeg_pyramid(tmp_path / "a.tif", description)
    with open_slide(path, 0.5) as slide:
        assert slide.reader.kind == ("tiff" if description is None else "aperio")
        whole = slide.read_at((0, 0), (512, 512), (128, 128))
        assert slide.remarks == []
    overwrite_tiles(path, 2, slice(1))
    with open_slide(path, 0.5) as slide:
        for _ in range(2):
            np.testing.assert_allclose(slide.read_at((0, 0), (512, 512), (128, 128)), whole, atol=6)
        assert slide.remarks == ["damaged: level 2 in places; level 1 was read there instead"]
    overwrite_tiles(path, 1, slice(1))
    with open_slide(path, 0.5) as slide:
        np.testing.assert_allclose(slide.read_at((0, 0), (512, 512), (128, 128)), whole, atol=6)
        assert len(slide.remarks) == 2
        undamaged = slide.read_at((300, 300), (64, 64), (64, 64))
    overwrite_tiles(path, 0, slice(1))
    with open_slide(path, 0.5) as slide:
        with pytest.raises(SlideError, match="level 0 cannot be decoded") as caught:
            slide.read_at((0, 0), (512, 512), (128, 128))
        assert caught.value.code == "E_READ"
        np.testing.assert_array_equal(slide.read_at((300, 300), (64, 64), (64, 64)), undamaged)  # the reader goes on


def test_a_read_that_meets_the_error_of_another_one_is_done_again(tmp_path: Path) -> None:
    path = write_jpeg_pyramid(tmp_path / "a.tif", APERIO)
    overwrite_tiles(path, 0, slice(1))
    reader = OpenSlideReader(path)
    expected = reader.read((300, 300), 0, (64, 64))
    handle = reader._slide
    for _ in range(2):  # OpenSlide's handle gives errors only, from the first one on
        with pytest.raises(OpenSlideError):
            handle.read_region((0, 0), 0, (64, 64))
    with pytest.raises(OpenSlideError):
        handle.read_region((300, 300), 0, (64, 64))
    np.testing.assert_array_equal(reader.read((300, 300), 0, (64, 64)), expected)
    assert reader._slide is not handle
    reader.close()


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95, 0.999])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    whole = write_jpeg_pyramid(tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / "a.tif", 0.5)
    assert caught.value.code == "E_OPEN"


def test_random_damage_never_ends_in_anything_but_a_slides_error(tmp_path: Path) -> None:
    whole = write_ome(tmp_path / "whole.tif").read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "a.tif"
    codes = set()
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, 4000, 30):  # the head, where the tags are
            content[place] = int(rng.integers(0, 256))
        path.write_bytes(content)
        try:
            reader = open_tiff(path)
        except SlideError as error:
            codes.add(error.code)
            continue
        try:
            reader.read((0, 0), 0, (300, 300))
        except SlideError as error:
            codes.add(error.code)
        finally:
            reader.close()
    assert codes <= {"E_OPEN", "E_FORMAT", "E_READ"}
    assert codes
