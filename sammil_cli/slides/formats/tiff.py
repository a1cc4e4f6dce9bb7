"""TIFF without OpenSlide: plain, BigTIFF, OME-TIFF with its sub-pages, tiled or in strips, one level or many.

Only the tiles or strips that a box needs are read.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides import levels
from sammil_cli.slides.pieces import PieceCache, lay_together
from sammil_cli.slides.pixels import GLASS, RGB
from sammil_cli.slides.shrink import shrink_blockwise
from sammil_cli.slides.slide import UnknownContentError, damaged
from sammil_cli.slides.tiff_colours import decoder, rgb_maker
from sammil_cli.slides.tiff_layout import DAMAGE, TiffLayout, is_raw, piece_px, read_layout

PRIORITY = 1
SUFFIXES = (".tif", ".tiff", ".svs", ".btf", ".tf2", ".tf8", ".qptiff")

_RAW_STRIP_BYTES = 1 << 20
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF


_Corners = tuple[int, int, int, int]  # left, top, right and bottom in pixels of a level


class _Level:
    """A page in pieces: tiles, strips, or, of strips stored raw, stretches of rows."""

    def __init__(self, page: tifffile.TiffPage) -> None:
        self.size_px = (page.imagewidth, page.imagelength)
        self.planes = 1 if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else page.samplesperpixel
        self._page, self._raw = page, is_raw(page)
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._decode, self._colours = decoder(page), rgb_maker(page)
        self._tables = page.jpegtables
        self._row_bytes = page.imagewidth * page.samplesperpixel
        self._strip_rows = min(page.rowsperstrip, page.imagelength) if self._raw else 0
        self.piece_px = piece_px(page)
        if self._raw:
            self.piece_px = (page.imagewidth, min(self._strip_rows, max(1, _RAW_STRIP_BYTES // self._row_bytes)))
        self.across = -(-self.size_px[0] // self.piece_px[0])
        self.down = -(-self.size_px[1] // self.piece_px[1])
        self.stored = self._stored()
        self.sparse = not self.stored.all()

    def piece(self, column: int, row: int, read: Callable[[int, int], bytes]) -> RGB:
        """A decoded piece as RGB; `read` gives a stretch of the file's bytes."""
        if self._raw:
            return self._colours(self._rows(row, read))
        number = row * self.across + column
        planes = [self._plane(plane * self.across * self.down + number, read) for plane in range(self.planes)]
        return self._colours(np.concatenate(planes, axis=2))

    def touched(self, box: _Corners) -> tuple[slice, slice]:
        """Rows and columns of the pieces that a box touches."""
        (left, top, right, bottom), (width, height) = box, self.piece_px
        rows = slice(max(0, top // height), max(0, -(-bottom // height)))
        return rows, slice(max(0, left // width), max(0, -(-right // width)))

    def _stored(self) -> NDArray[np.bool_]:
        """(down, across) the pieces that the file holds: in a sparse one some have no place, or no bytes, in it."""
        held = np.asarray(self._offsets) > 0
        if self._raw:  # the bytes of a strip follow from its rows; a stretch ends in its strip or in the next one
            first = np.arange(self.down) * self.piece_px[1]
            last = np.minimum(first + self.piece_px[1], self.size_px[1]) - 1
            return np.asarray(held[first // self._strip_rows] & held[last // self._strip_rows])[:, None]
        pieces = self.planes * self.down * self.across
        held = held[:pieces] & (np.asarray(self._counts)[:pieces] > 0)
        return np.asarray(held.reshape(self.planes, self.down, self.across).all(axis=0))

    def _plane(self, index: int, read: Callable[[int, int], bytes]) -> NDArray[np.uint8]:
        data = read(self._offsets[index], self._counts[index])
        piece, _, _ = self._decode(data, index, jpegtables=self._tables)
        if piece is None:
            raise ValueError("it holds no pixels")
        return np.asarray(piece[0])

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


class TiffReader:
    """See `slides.slide.Reader`."""

    def __init__(self, path: Path, layout: TiffLayout) -> None:
        pages = [_Level(page) for page in layout.pages]
        self.kind, self.objective = layout.kind, layout.objective
        self.mpp, self.mpp_source = layout.mpp, layout.mpp_source
        self.scene, self.size_px = layout.scene, pages[0].size_px
        self.bounds_px = (0, 0, *self.size_px)
        self._lock = threading.Lock()
        self._cache = PieceCache()
        self._stream = path.open("rb")
        self._levels = pages
        self.downsamples: tuple[float, ...] = ()  # not known yet: no level stands in for another
        found = levels.settle(layout.facts, self._read)
        self._levels = [pages[number] for number in found.numbers]
        self._cache.clear()  # its keys are numbers of levels
        self.downsamples = found.downsamples
        self.tiles_px = tuple(level.piece_px for level in self._levels)
        self.remarks = (*layout.remarks, *found.remarks)

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`."""
        downsample = self.downsamples[level]
        return self._read(level, (round(xy[0] / downsample), round(xy[1] / downsample)), size_px)

    def _read(self, level: int, corner: tuple[int, int], size_px: tuple[int, int]) -> RGB:
        """Pixels of a box whose corner is in the level's pixels."""
        pieces = self._levels[level]

        def piece(column: int, row: int, reaches_on: bool) -> RGB:
            return self._cache.get((level, column, row), lambda: self._piece(level, column, row), reaches_on=reaches_on)

        return lay_together(corner, size_px, pieces.piece_px, pieces.size_px, piece)

    def unstored(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.bool_] | None:
        """See `slides.unstored.SparseReader`."""
        pieces, downsample = self._levels[level], self.downsamples[level]
        if not pieces.sparse:
            return None
        left, top = round(xy[0] / downsample), round(xy[1] / downsample)
        right, bottom = min(left + size_px[0], pieces.size_px[0]), min(top + size_px[1], pieces.size_px[1])
        missing = np.zeros((size_px[1], size_px[0]), np.bool_)
        width, height = pieces.piece_px
        for row, column in self._gaps(level, (left, top, right, bottom)):
            x0, x1 = max(left, column * width), min(right, (column + 1) * width)
            y0, y1 = max(top, row * height), min(bottom, (row + 1) * height)
            missing[y0 - top : y1 - top, x0 - left : x1 - left] = self._never_stored(level, (x0, y0, x1, y1))
        return missing if missing.any() else None

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._stream.close()
        self.forget()

    def forget(self) -> None:
        """Frees the tiles that are kept for reads of their neighbours."""
        self._cache.clear()

    def _piece(self, level: int, column: int, row: int) -> RGB:
        try:
            pieces = self._levels[level]
            stored = pieces.stored[row, column]
            return pieces.piece(column, row, self._bytes) if stored else self._substitute(level, column, row)
        except DAMAGE as error:
            message = f"level {level} cannot be decoded in tile {column}, {row}: {error}"
            raise damaged("E_READ", message) from error

    def _substitute(self, level: int, column: int, row: int) -> RGB:
        """A piece that the file does not hold: what finer levels hold of it, else white."""
        pieces = self._levels[level]
        width, height = pieces.piece_px
        x, y = column * width, row * height
        right, bottom = min(x + width, pieces.size_px[0]), min(y + height, pieces.size_px[1])
        piece = np.full((height, width, 3), GLASS, np.uint8)
        if self.downsamples and self._held_finer(level, (x, y, right, bottom)):
            (left, top), finer, size_px = self._finer(level, (x, y, right, bottom))
            step = self.downsamples[finer]

            def block(x: int, y: int, width: int, height: int) -> RGB:
                return self.read((left + round(x * step), top + round(y * step)), finer, (width, height))

            shape = (right - x, bottom - y)
            piece[: shape[1], : shape[0]] = shrink_blockwise(block, size_px, shape, self.tiles_px[finer])
        return piece

    def _never_stored(self, level: int, box: _Corners) -> NDArray[np.bool_] | bool:
        """Where no level down to the finest holds a box of pieces that this one does not hold."""
        if not self._held_finer(level, box):
            return True
        missing = self.unstored(*self._finer(level, box))
        size = (box[2] - box[0], box[3] - box[1])
        return missing is not None and np.asarray(
            cv2.resize(missing.view(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.bool_
        )

    def _gaps(self, level: int, box: _Corners) -> Iterator[tuple[int, int]]:
        """Row and column of the pieces in a box that the file does not hold."""
        rows, columns = self._levels[level].touched(box)
        for row, column in np.argwhere(~self._levels[level].stored[rows, columns]).tolist():
            yield rows.start + row, columns.start + column

    def _held_finer(self, level: int, box: _Corners) -> bool:
        """Whether a finer level holds a piece in a box of this one."""
        for finer, pieces in enumerate(self._levels[:level]):
            ratio = self.downsamples[level] / self.downsamples[finer]
            left, top, right, bottom = (side * ratio for side in box)
            if pieces.stored[pieces.touched((round(left), round(top), round(right), round(bottom)))].any():
                return True
        return False

    def _finer(self, level: int, box: _Corners) -> tuple[tuple[int, int], int, tuple[int, int]]:
        """A box as `read` takes it from the next finer level."""
        scale = self.downsamples[level]
        ratio = scale / self.downsamples[level - 1]
        size = (max(1, round((box[2] - box[0]) * ratio)), max(1, round((box[3] - box[1]) * ratio)))
        return (round(box[0] * scale), round(box[1] * scale)), level - 1, size

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
