"""Large reads go block by block: the same picture, little memory."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import ArrayReader, array_slide

from sammil_cli.slides import shrink, slide
from sammil_cli.slides.shrink import shrink_blockwise
from sammil_cli.slides.slide import Slide


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "out", "tile"),
    [
        ((900, 700), (30, 23), (64, 64)),  # 30 and 30.4 pixels per cell
        ((901, 699), (600, 466), (240, 240)),  # less than 2
        ((640, 480), (160, 120), (100, 30)),  # cells end where blocks do not
        ((50, 2000), (1, 3), (16, 16)),  # a cell taller than a block
        ((800, 600), (798, 599), (800, 1)),  # strips
        ((333, 222), (333, 222), (64, 64)),
    ],
)
def test_blocks_give_what_one_piece_gives(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], out: tuple[int, int], tile: tuple[int, int]
) -> None:
    monkeypatch.setattr(shrink, "_ROWS", 128)
    monkeypatch.setattr(shrink, "_BLOCK_PX", 128 * 200)
    image = noise(*size)
    seen = np.zeros(image.shape[:2], int)

    def read(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        seen[y : y + height, x : x + width] += 1
        return image[y : y + height, x : x + width]

    found = shrink_blockwise(read, size, out, tile)
    expected = cv2.resize(image, out, interpolation=cv2.INTER_AREA).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.01  # halves are rounded either way
    assert (seen == 1).all()  # no pixel is decoded twice


def test_a_large_read_is_the_same_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = array_slide(noise(1500, 1100), mpp=0.5)
    whole = (opened.thumbnail(3.7), opened.read_at((-20, 30), (1400, 1200), (700, 600)))
    monkeypatch.setattr(slide, "_MOST_AT_ONCE_PX", 50_000)
    monkeypatch.setattr(shrink, "_BLOCK_PX", 40_000)
    sizes: list[int] = []
    read = ArrayReader.read
    monkeypatch.setattr(
        ArrayReader,
        "read",
        lambda self, xy, level, size: sizes.append(size[0] * size[1]) or read(self, xy, level, size),
    )
    streamed = (opened.thumbnail(3.7), opened.read_at((-20, 30), (1400, 1200), (700, 600)))
    for one, other in zip(whole, streamed, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    assert len(sizes) > 40
    assert max(sizes) <= 80_000


def test_a_large_slide_is_never_read_in_one_piece() -> None:
    class TwoColours(ArrayReader):
        """8000 x 6000 pixels, made as they are asked for."""

        def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
            assert size_px[0] * size_px[1] <= 8_000_000
            image = np.full((size_px[1], size_px[0], 3), 200, np.uint8)
            image[:, max(0, 4000 - xy[0]) :] = 100
            return image

    reader = TwoColours(noise(4, 4))
    reader.size_px, reader.bounds_px, reader.tiles_px = (8000, 6000), (0, 0, 8000, 6000), ((1024, 1024),)
    opened = Slide(slide_id="s", path=Path("s.tif"), reader=reader, mpp=0.25, mpp_source="array")
    thumbnail = opened.thumbnail(20.0)
    assert thumbnail.shape == (75, 100, 3)
    assert (thumbnail[:, :50] == 200).all()
    assert (thumbnail[:, 50:] == 100).all()
