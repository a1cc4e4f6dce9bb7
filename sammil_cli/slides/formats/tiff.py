"""TIFF without OpenSlide: plain, BigTIFF, OME-TIFF with its sub-pages, tiled or in strips, one level or many.

Only the tiles or strips that a box needs are read.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import GLASS, RGB
from sammil_cli.slides.slide import UnknownContentError, damaged, paint_background
from sammil_cli.slides.tiff_layout import DAMAGE, TiffLayout, is_raw, piece_px, read_layout

PRIORITY = 1
SUFFIXES = (".tif", ".tiff", ".svs", ".btf", ".tf2", ".tf8", ".qptiff")

_CACHE_BYTES = 64 << 20
_RAW_STRIP_BYTES = 1 << 20
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


class _Level:
    """A page in pieces: tiles, strips, or, of strips stored raw, stretches of rows."""

    def __init__(self, page: tifffile.TiffPage) -> None:
        self.size_px = (page.imagewidth, page.imagelength)
        self.planes = 1 if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else page.samplesperpixel
        self._page, self._raw = page, is_raw(page)
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._decode: Callable[..., tuple[NDArray[np.uint8] | None, object, object]] = page.decode
        self._tables = page.jpegtables
        self._row_bytes = page.imagewidth * page.samplesperpixel
        self._strip_rows = min(page.rowsperstrip, page.imagelength) if self._raw else 0
        self.piece_px = piece_px(page)
        if self._raw:
            self.piece_px = (page.imagewidth, min(self._strip_rows, max(1, _RAW_STRIP_BYTES // self._row_bytes)))
        self.across = -(-self.size_px[0] // self.piece_px[0])
        self.down = -(-self.size_px[1] // self.piece_px[1])

    def piece(self, column: int, row: int, read: Callable[[int, int], bytes]) -> RGB:
        """A decoded piece as RGB; `read` gives a stretch of the file's bytes."""
        if self._raw:
            return self._colours(self._rows(row, read))
        number = row * self.across + column
        planes = [self._plane(plane * self.across * self.down + number, read) for plane in range(self.planes)]
        if any(plane is None for plane in planes):  # a sparse file: nothing was scanned there
            return np.full((self.piece_px[1], self.piece_px[0], 3), GLASS, np.uint8)
        return self._colours(np.concatenate([plane for plane in planes if plane is not None], axis=2))

    def _plane(self, index: int, read: Callable[[int, int], bytes]) -> NDArray[np.uint8] | None:
        if not self._counts[index]:
            return None
        data = read(self._offsets[index], self._counts[index])
        piece, _, _ = self._decode(data, index, jpegtables=self._tables)
        return None if piece is None else piece[0]

    def _rows(self, row: int, read: Callable[[int, int], bytes]) -> NDArray[np.uint8]:
        rows, first = [], row * self.piece_px[1]
        last = min(first + self.piece_px[1], self.size_px[1])
        while first < last:  # a stretch may end in the next strip
            strip, inside = divmod(first, self._strip_rows)
            count = min(last - first, self._strip_rows - inside)
            offset = self._offsets[strip] + inside * self._row_bytes
            rows.append(np.frombuffer(read(offset, count * self._row_bytes), np.uint8))
            first += count
        return np.concatenate(rows).reshape(-1, self.size_px[0], self._page.samplesperpixel)

    def _colours(self, piece: NDArray[np.uint8]) -> RGB:
        if piece.shape[2] == 1:
            grey = 255 - piece if self._page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else piece
            return np.repeat(grey, 3, axis=2)
        if piece.shape[2] == 4 and self._page.extrasamples and self._page.extrasamples[0] in _ALPHA:
            return paint_background(piece)
        return np.ascontiguousarray(piece[..., :3])


class TiffReader:
    """See `slides.slide.Reader`."""

    def __init__(self, path: Path, layout: TiffLayout) -> None:
        self._levels = [_Level(page) for page in layout.pages]
        self.kind, self.objective = layout.kind, layout.objective
        self.mpp, self.mpp_source = layout.mpp, layout.mpp_source
        self.scene, self.remarks = layout.scene, layout.remarks
        self.size_px = self._levels[0].size_px
        self.downsamples = tuple(_downsample(self.size_px, level.size_px) for level in self._levels)
        self.tiles_px = tuple(level.piece_px for level in self._levels)
        self.bounds_px = (0, 0, *self.size_px)
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int, int], RGB] = OrderedDict()
        self._cached_bytes = 0
        self._stream = path.open("rb")

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`."""
        pieces, downsample = self._levels[level], self.downsamples[level]
        left, top = round(xy[0] / downsample), round(xy[1] / downsample)
        right, bottom = left + size_px[0], top + size_px[1]
        image = np.full((size_px[1], size_px[0], 3), GLASS, np.uint8)
        width, height = pieces.piece_px
        for row in range(max(0, top // height), min(pieces.down, -(-bottom // height))):
            for column in range(max(0, left // width), min(pieces.across, -(-right // width))):
                x, y = column * width, row * height
                piece = self._piece(level, column, row)
                x0, x1 = max(left, x), min(right, x + piece.shape[1], pieces.size_px[0])
                y0, y1 = max(top, y), min(bottom, y + piece.shape[0], pieces.size_px[1])
                if x0 < x1 and y0 < y1:
                    image[y0 - top : y1 - top, x0 - left : x1 - left] = piece[y0 - y : y1 - y, x0 - x : x1 - x]
        return image

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._stream.close()

    def _piece(self, level: int, column: int, row: int) -> RGB:
        key = (level, column, row)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        try:
            piece = self._levels[level].piece(column, row, self._bytes)
        except DAMAGE as error:
            message = f"level {level} cannot be decoded in tile {column}, {row}: {error}"
            raise damaged("E_READ", message) from error
        with self._lock:
            if key not in self._cache:
                self._cache[key] = piece
                self._cached_bytes += piece.nbytes
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return piece

    def _bytes(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._stream.seek(offset)
            data = self._stream.read(count)
        if len(data) < count:
            raise EOFError("the file ends before its pixels do")
        return data


def open_slide(path: Path) -> TiffReader:
    """Opens a slide; of several scenes the largest.

    Raises:
        SlideError: `E_OPEN`, no TIFF, or damaged; `E_FORMAT`, not a brightfield RGB slide.
    """
    return open_scene(path, None)


def open_scene(path: Path, scene: int | None) -> TiffReader:
    """Opens one of the scenes of a slide, by its number (`slides.scenes`).

    Raises:
        SlideError: as `open_slide`, and `E_SCENE`, no such scene.
    """
    with path.open("rb") as stream:
        if stream.read(4) not in _MAGIC:
            raise UnknownContentError("the content is no TIFF")
    layout = read_layout(path, scene)
    try:
        return TiffReader(path, layout)
    except DAMAGE as error:
        raise SlideError(
            "E_OPEN", f"the TIFF cannot be decoded: {error}", remedy="copy or download the file again, or convert it"
        ) from error


def _downsample(size_px: tuple[int, int], level_px: tuple[int, int]) -> float:
    """As OpenSlide has it: the mean of both axes, each a rounded ratio."""
    return (size_px[0] / level_px[0] + size_px[1] / level_px[1]) / 2
