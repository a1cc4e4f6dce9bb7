"""JPEG tiles of a TIFF, decoded to the pixels that OpenSlide gives, or not at all.

Where a tile's data are damaged, libjpeg warns and goes on. OpenSlide takes the warning for an error; imagecodecs does
not pass it on. So a tile is decoded as if it were one row of blocks higher than it is. Good data end just there: the
first block of that row is still decoded, from what is left, and is not grey. Data that ended before leave it grey, as
libjpeg leaves all blocks after the one in which it runs out of data (`insufficient_data` in its jdhuff.c). Of bits that
are no code libjpeg warns only near the end of the data; the commonest are a row of ones.
"""

from dataclasses import dataclass

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.slides.pixels import RGB

_START, _END, _FRAME, _SCAN = 0xD8, 0xD9, 0xC0, 0xDA  # markers, which follow 0xFF; of frames the baseline one
_PASSIVE = {0xC4, 0xDB, 0xFE, *range(0xE0, 0xF0)}  # tables, comments and the like: no restarts, no other frames
_GREY = 128  # to which a block without coefficients is decoded
_LONGEST_CODE = 16  # bits; none is all ones
_CAREFUL_BYTES = 512  # for each 8 x 8 pixels of a block: where fewer are left libjpeg warns of what is no code
_COLOURS = {int(tifffile.PHOTOMETRIC.RGB): "RGB", int(tifffile.PHOTOMETRIC.YCBCR): "YCBCR"}


class TileDoubtError(ValueError):
    """A tile that may be damaged, or is stored in a way that is not known from the others of its page."""


@dataclass(frozen=True)
class JpegTiles:
    """How the tiles of a page are decoded: all have the same head, which is that of a sample.

    `head` goes up to the data of the scan; `taller` is the same with one more row of blocks. A block (JPEG's MCU) is
    `block_px` wide and high and has `parts` of 8 x 8. `stacked`: pixels above one another share their colour, so that
    the row that is made up would change the tile's last one; whether data end too early is then seen in a decoding of
    its own, without colour.
    """

    colours: str
    tables: bytes | None
    size_px: tuple[int, int]
    head: bytes
    taller: bytes
    block_px: tuple[int, int]
    parts: int
    stacked: bool

    def decode(self, data: bytes) -> RGB:
        """The pixels of one tile (height, width, 3).

        Raises:
            TileDoubtError: they may not be what OpenSlide gives, or OpenSlide refuses them.
            Jpeg8Error: a RuntimeError; they cannot be decoded.
        """
        if not data.startswith(self.head) or not data.rstrip(b"\0").endswith(bytes((0xFF, _END))):
            raise TileDoubtError("its head or its end is none of a tile of this page")
        if _has_ones(data, max(len(self.head), len(data) - _CAREFUL_BYTES * self.parts)):
            raise TileDoubtError("its data may hold what is no code")
        height, taller = self.size_px[1], self.taller + data[len(self.head) :]
        image = self._decoded(taller, "GRAY" if self.stacked else "RGB")
        if (image[height:, : self.block_px[0]] == _GREY).all():
            raise TileDoubtError("its data end before its pixels do")
        return self._decoded(data, "RGB") if self.stacked else image[:height]

    def _decoded(self, data: bytes, colours: str) -> NDArray[np.uint8]:
        decoded = imagecodecs.jpeg8_decode(data, tables=self.tables, colorspace=self.colours, outcolorspace=colours)
        return np.asarray(decoded, np.uint8)


def jpeg_tiles(page: tifffile.TiffPage, sample: bytes) -> JpegTiles | None:
    """How the tiles of a page are decoded, by one of them; None where they are no plain JPEG in three colours.

    Raises:
        TileDoubtError: the sample, or the page's tables, cannot be parsed.
    """
    plain = page.is_tiled and page.compression == tifffile.COMPRESSION.JPEG and page.samplesperpixel == 3
    contiguous = page.planarconfig == tifffile.PLANARCONFIG.CONTIG and page.imagedepth == 1
    colours = _COLOURS.get(page.photometric)
    if colours is None or not plain or not contiguous:
        return None
    if page.jpegtables is not None and [marker for marker, _ in _segments(page.jpegtables)][-1:] != [_END]:
        return None
    segments = _segments(sample)
    frames, (last, end) = [at for marker, at in segments if marker == _FRAME], segments[-1]
    if last != _SCAN or len(frames) != 1:
        return None
    frame, head = sample[frames[0] :], sample[: end + 2 + int.from_bytes(sample[end + 2 : end + 4], "big")]
    height, width = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[7:9], "big")
    size = (page.tilewidth, page.tilelength)
    if (frame[4], frame[9], sample[end + 4], (width, height)) != (8, 3, 3, size):
        return None
    across, down = zip(*((frame[at] >> 4, frame[at] & 15) for at in (11, 14, 17)), strict=True)
    block = 8 * across[0], 8 * down[0]
    if (across[0], down[0]) != (max(across), max(down)) or 0 in block or height % block[1]:
        return None
    taller = (height + block[1]).to_bytes(2, "big")
    return JpegTiles(
        colours=colours,
        tables=page.jpegtables,
        size_px=size,
        head=head,
        taller=head[: frames[0] + 5] + taller + head[frames[0] + 7 :],
        block_px=block,
        parts=sum(wide * high for wide, high in zip(across, down, strict=True)),
        stacked=len(set(down)) > 1,
    )


def _segments(jpeg: bytes) -> list[tuple[int, int]]:
    """Marker and place of all that stands before the data of a scan, or before the end; the last is one of these.

    Raises:
        TileDoubtError: something else stands there.
    """
    found, at = [], 2
    if jpeg[:2] != bytes((0xFF, _START)):
        raise TileDoubtError("it does not begin as a JPEG does")
    while True:
        marker = jpeg[at + 1] if jpeg[at : at + 1] == b"\xff" and at + 4 < len(jpeg) + 3 else -1
        found.append((marker, at))
        if marker in (_SCAN, _END):
            return found
        if marker not in (_FRAME, *_PASSIVE):
            raise TileDoubtError("it is no plain baseline JPEG")
        at += 2 + max(2, int.from_bytes(jpeg[at + 2 : at + 4], "big"))


def _has_ones(data: bytes, start: int) -> bool:
    """Whether from `start` on as many ones stand in a row as the longest code has; large values may have them, too."""
    at = data.find(b"\xff\x00", start)
    while at >= 0:
        before, after = data[at - 1], (*data[at + 2 : at + 3], 0)[0]
        leading, trailing = 8 - (0xFF - after).bit_length(), (~before & (before + 1)).bit_length() - 1
        if trailing + 8 + leading >= _LONGEST_CODE:
            return True
        at = data.find(b"\xff\x00", at + 2)
    return False
