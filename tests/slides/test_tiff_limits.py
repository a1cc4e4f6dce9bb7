"""TIFFs that claim more than they hold, and readers that give something else than pixels: refused in bounded time."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_reader
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import SlidePath

pytestmark = pytest.mark.timeout(60)

TILE = np.full((256, 256, 3), 200, np.uint8).tobytes()


def write_tiff(path: Path, size_px: tuple[int, int], offsets: Sequence[int], *, tile: int = 256) -> SlidePath:
    """A BigTIFF in tiles without compression, whose tiles lie at `offsets` from the first byte after its head."""
    start = 16 + len(TILE)
    count = len(offsets)
    at = 16
    offsets_at, counts_at = start, start + 8 * count
    directory = counts_at + 8 * count
    tags = [
        (256, 4, 1, size_px[0]),
        (257, 4, 1, size_px[1]),
        (258, 3, 3, struct.unpack("<Q", struct.pack("<HHHH", 8, 8, 8, 0))[0]),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (277, 3, 1, 3),
        (322, 4, 1, tile),
        (323, 4, 1, tile),
        (324, 16, count, offsets_at),
        (325, 16, count, counts_at),
    ]
    with path.open("wb") as stream:
        stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory) + TILE)
        places = np.asarray(offsets, np.uint64)
        stream.write(np.where(places == 2**63, 0, places + at).astype("<u8").tobytes())
        stream.write(np.where(places == 2**63, 0, tile * tile * 3).astype("<u8").tobytes())
        stream.write(struct.pack("<Q", len(tags)))
        for code, kind, number, value in tags:
            stream.write(struct.pack("<HHQQ", code, kind, number, value))
        stream.write(struct.pack("<Q", 0))
    return SlidePath(path)


SPARSE = 2**63  # a tile that the file does not hold


@pytest.mark.parametrize(
    ("size_px", "offsets", "tile", "code", "message"),
    [
        ((256_000, 256_000), [0] * 1_000_000, 256, "E_OPEN", "of 1,000,000 tiles or strips only 1 have data of their"),
        ((400_000, 400_000), [0, *[SPARSE] * (1563 * 1563 - 1)], 256, "E_OPEN", "only 1 have data of their own"),
        ((400_000, 400_000), [0, 0], 16, "E_FORMAT", "stored in 625,000,000 tiles or strips"),
        ((400_000, 400_000), [0, 0], 256, "E_OPEN", "it has 2 tiles or strips"),
        ((400_000, 400_000), [0], 400_000, "E_FORMAT", "have to be decoded whole"),
        ((2**32 - 1, 2**32 - 1), [0], 256, "E_OPEN", "4294967295 x 4294967295"),
    ],
    ids=["one-datum", "one-tile", "small-tiles", "too-few", "one-piece", "no-slide"],
)
def test_a_small_file_that_claims_a_huge_slide_is_refused(
    tmp_path: Path, size_px: tuple[int, int], offsets: list[int], tile: int, code: str, message: str
) -> None:
    path = write_tiff(tmp_path / "a.tif", size_px, offsets, tile=tile)
    with pytest.raises(SlideError, match=message) as caught:
        open_reader(path)
    assert caught.value.code == code


def test_a_slide_of_200_000_pixels_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.tif"
    column = np.repeat(np.arange(782, dtype=np.uint8), 256)[:200_000]
    tifffile.imwrite(
        path, np.repeat(column[None, :, None], 3, axis=2), tile=(16, 256), photometric="rgb", compression="zlib"
    )
    reader = open_reader(SlidePath(path))
    assert reader.size_px == (200_000, 1)
    assert reader.read((199_990, 0), 0, (1, 1)).tolist() == [[[199_990 // 256 % 256] * 3]]
    reader.close()


def test_white_tiles_may_share_their_data_or_have_none(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", (256 * 20, 256 * 20), [0] * 200 + [SPARSE] * 200)
    reader = open_reader(path)
    assert reader.read((0, 0), 0, (2, 1)).tolist() == [[[200] * 3] * 2]
    assert reader.read((0, 256 * 19), 0, (1, 1)).tolist() == [[[255] * 3]]
    reader.close()


class FloatReader:
    """Of a plug-in: see `slides.slide.Reader`."""

    kind, size_px, downsamples, tiles_px = "floats", (64, 64), (1.0,), ((64, 64),)
    mpp, mpp_source, objective, bounds_px, remarks = (1.0, 1.0), "floats", None, (0, 0, 64, 64), ()

    def __init__(self, image: Any) -> None:
        self._image = image

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> Any:
        return self._image

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("image", "what"),
    [(np.full((64, 64, 3), np.nan, np.float32), "float32"), (np.zeros((64, 64, 4), np.uint8), r"\(64, 64, 4\)")],
    ids=["nan", "four"],
)
def test_a_format_that_gives_no_8_bit_rgb_is_named(image: Any, what: str) -> None:
    """NaN was cast to 0, with a warning of numpy: "invalid value encountered in cast"."""
    slide = Slide(slide_id="a", path=Path("a"), reader=FloatReader(image), mpp=1.0, mpp_source="floats")
    with pytest.raises(SlideError, match=f"the slide format 'floats' gives .*{what}") as caught:
        slide.read_at((0, 0), (64, 64), (32, 32))
    assert caught.value.code == "E_READ"
