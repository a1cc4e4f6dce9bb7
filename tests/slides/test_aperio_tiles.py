"""Aperio's JPEG tiles are decoded by sammil exactly as by OpenSlide; where that is in doubt, OpenSlide reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from slide_maker import leave_out_tiles

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import formats_of, open_reader, open_slide
from sammil_cli.slides.formats.aperio import AperioReader
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.jpeg_tiles import JpegTiles
from sammil_cli.storage.paths import SlidePath

# 500 x 360 px in tiles of 64: 8 x 6 on level 0, 4 x 3 on level 1.
RGB = cv2.resize(np.random.default_rng(3).integers(40, 240, (72, 100, 3), dtype=np.uint8), (500, 360))
SIDE = 64
APERIO = "Aperio Image Library v11.2.1 \r\n500x360 [0,0 500x360] (64x64) JPEG/RGB Q=70|AppMag = 40|MPP = 0.2521"
YCBCR: dict[str, dict[str, Any]] = {
    "4:4:4": {"photometric": "ycbcr", "subsampling": (1, 1)},
    "4:2:2": {"photometric": "ycbcr", "subsampling": (2, 1)},
    "4:2:0": {"photometric": "ycbcr", "subsampling": (2, 2)},
}


def write_aperio(path: Path, *, bigtiff: bool = False, **options: Any) -> SlidePath:
    """Two levels, and between them and after them a thumbnail, a label and a macro picture, as Aperio has them."""
    options = {"photometric": "ycbcr", "subsampling": (2, 1), "compression": "jpeg", **options}
    extra: dict[str, Any] = {"photometric": "rgb", "metadata": None, "rowsperstrip": 16}
    half = cv2.resize(RGB, (250, 180), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as tiff:
        tiff.write(RGB, tile=(SIDE, SIDE), metadata=None, description=APERIO, **options)
        tiff.write(half, description="Aperio Image Library v11.2.1 \n500x360 -> 250x180 - ", **extra)
        tiff.write(half, tile=(SIDE, SIDE), metadata=None, description=APERIO, **options)
        for name in ("label", "macro"):
            tiff.write(half[:90], description=f"Aperio Image Library v11.2.1 \n{name} 250x90", subfiletype=1, **extra)
    return SlidePath(path)


def write_rgb_jpeg(path: Path) -> SlidePath:
    """RGB in JPEG without any marker that says so, as the scanners write it: only the page's tag does."""
    padded = np.pad(RGB, ((0, 24), (0, 12), (0, 0)), mode="edge")

    def tiles() -> Iterator[bytes]:
        for row in range(6):
            for column in range(8):
                tile = padded[row * SIDE :, column * SIDE :][:SIDE, :SIDE]
                jpeg = imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), 70, colorspace="RGB", outcolorspace="RGB")
                marked = jpeg.index(b"\xff\xee")  # APP14
                yield jpeg[:marked] + jpeg[marked + 2 + int.from_bytes(jpeg[marked + 2 : marked + 4], "big") :]

    options: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "tile": (SIDE, SIDE)}
    tifffile.imwrite(path, tiles(), shape=RGB.shape, dtype="uint8", metadata=None, description=APERIO, **options)
    return SlidePath(path)


def both(path: SlidePath) -> tuple[AperioReader, OpenSlideReader]:
    ours = open_reader(path)
    assert isinstance(ours, AperioReader)
    return ours, OpenSlideReader(path)


def tile_places(path: Path, page: int = 0) -> list[tuple[int, int]]:
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        return list(zip(found.dataoffsets, found.databytecounts, strict=True))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


@pytest.mark.parametrize("kind", [*YCBCR, "RGB", "BigTIFF"])
def test_pixels_are_those_of_openslide(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.svs"
    slide = (
        write_rgb_jpeg(path) if kind == "RGB" else write_aperio(path, bigtiff=kind == "BigTIFF", **YCBCR.get(kind, {}))
    )
    ours, theirs = both(slide)
    facts = ("kind", "size_px", "downsamples", "tiles_px", "mpp", "mpp_source", "objective", "bounds_px", "remarks")
    assert [getattr(ours, fact) for fact in facts] == [getattr(theirs, fact) for fact in facts]
    assert (ours.kind, ours.mpp, ours.objective) == ("aperio", (0.2521, 0.2521), 40)
    rng = np.random.default_rng(0)
    for level in range(len(ours.downsamples)):
        for _ in range(20):
            scale = int(ours.downsamples[level])
            x, y, width, height = (int(value) for value in (*rng.integers(-40, 480, 2), *rng.integers(1, 200, 2)))
            box = ((x // scale * scale, y // scale * scale), level, (width, height))  # whole pixels of the level
            np.testing.assert_array_equal(ours.read(*box), theirs.read(*box), str(box))
            assert ours.unstored(*box) is None
    ours.close()
    theirs.close()


def test_results_say_which_format_read_the_slide(tmp_path: Path) -> None:
    path = write_aperio(tmp_path / "a.svs")
    with open_slide(path) as slide:
        assert slide.read_by == "aperio"
    plain = write_aperio(tmp_path / "b.svs", compression=None, photometric="rgb", subsampling=None)
    with open_slide(plain) as slide:
        assert (slide.read_by, slide.reader.kind) == ("openslide", "aperio")
    assert [name.rpartition(".")[2] for name in formats_of(path)] == ["aperio", "openslide", "tiff"]
    assert "sammil_cli.slides.formats.aperio" not in formats_of(Path("a.mrxs"))


@pytest.mark.parametrize("page", [0, 2])
def test_tiles_that_the_file_does_not_hold_are_openslides(tmp_path: Path, page: int) -> None:
    path = write_aperio(tmp_path / "a.svs")
    leave_out_tiles(path, page, [1, 6])
    ours, theirs = both(path)
    for level in (0, 1):
        for box in (((0, 0), level, (200, 150)), ((64, 20), level, (40, 40)), ((0, 200), level, (64, 30))):
            np.testing.assert_array_equal(ours.read(*box), theirs.read(*box))
            missing = theirs.unstored(*box)
            np.testing.assert_array_equal(
                np.zeros(box[2][::-1], bool) if (found := ours.unstored(*box)) is None else found,
                np.zeros(box[2][::-1], bool) if missing is None else missing,
            )
    ours.close()
    theirs.close()


def outcome(reader: AperioReader | OpenSlideReader, tile: int) -> NDArray[np.uint8] | str:
    xy = (tile % 8 * SIDE, tile // 8 * SIDE)
    try:
        return reader.read(xy, 0, (min(SIDE, 500 - xy[0]), min(SIDE, 360 - xy[1])))
    except SlideError as error:
        return f"{error.code} {error.message}"


@pytest.mark.parametrize("colours", YCBCR)
def test_a_damaged_tile_is_refused_as_by_openslide_or_reads_the_same(tmp_path: Path, colours: str) -> None:
    path = write_aperio(tmp_path / "a.svs", **YCBCR[colours])
    places, rng = tile_places(path), np.random.default_rng(1)
    for tile, (offset, count) in enumerate(places):
        at = int(rng.integers(623, count - 2)) if count > 640 else 625  # of the scan's data, which begin there
        if tile % 4 == 0:
            overwrite(path, offset + at, rng.bytes(min(16, count - 2 - at)))
        elif tile % 4 == 1:
            overwrite(path, offset + at, rng.bytes(count - at))
        elif tile % 4 == 2:  # the last bits are lost: of the last block only
            lost = 1 + tile // 4 % 4
            overwrite(path, offset + count - 2 - lost, b"\xff\xd9" + bytes(lost))
        elif tile % 8 == 3:
            overwrite(path, offset + int(rng.integers(0, 623)), rng.bytes(1))
    ours, theirs = both(path)
    refused = 0
    for tile in range(len(places)):
        found, expected = outcome(ours, tile), outcome(theirs, tile)
        if isinstance(expected, str):
            refused += expected.startswith("E_READ")
            assert found == expected, tile
        else:
            np.testing.assert_array_equal(found, expected, str(tile))
    assert refused >= 12
    ours.close()
    theirs.close()


@pytest.mark.parametrize("colours", YCBCR)
def test_data_that_lack_their_very_last_bits_are_seen(tmp_path: Path, colours: str) -> None:
    path = write_aperio(tmp_path / "a.svs", **YCBCR[colours])
    ours, theirs = both(path)
    for tile, (offset, count) in enumerate(tile_places(path)[:12]):
        overwrite(path, offset + count - 3, b"\xff\xd9\0")  # one byte less; the last bits of it may be padding
        found, expected = outcome(ours, tile), outcome(theirs, tile)
        assert isinstance(found, str) == isinstance(expected, str)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("what", ["pixels", "sizes"])
def test_a_slide_that_differs_from_what_openslide_sees_is_openslides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = write_aperio(tmp_path / "a.svs")
    decode = JpegTiles.decode
    if what == "pixels":  # of level 0, by one grey value in one place

        def decode_otherwise(self: JpegTiles, data: bytes) -> NDArray[np.uint8]:
            tile = decode(self, data).copy()
            tile[5, 5, 1] ^= 1
            return tile

        monkeypatch.setattr(JpegTiles, "decode", decode_otherwise)
    else:  # two levels of one size: which is which, nothing says
        with tifffile.TiffWriter(path) as tiff:
            for _ in range(2):
                tiff.write(RGB, tile=(SIDE, SIDE), metadata=None, description=APERIO, compression="jpeg")
    reader = open_reader(path)
    assert isinstance(reader, OpenSlideReader)
    reader.close()
