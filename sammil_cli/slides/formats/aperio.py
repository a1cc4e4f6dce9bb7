"""Aperio's slides in JPEG tiles: OpenSlide says what they are, and their tiles are decoded here, which is faster.

That is done where the pages of the file have the sizes of OpenSlide's levels, and a probe of each shows the same
pixels. A box with a tile that the file does not hold, or that may be damaged, is read, or refused, by OpenSlide.
"""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.formats.openslide import NOT_KNOWN, OpenSlideReader
from sammil_cli.slides.jpeg_tiles import JpegTiles, TileDoubtError, jpeg_tiles
from sammil_cli.slides.pieces import PieceCache, lay_together, touched
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import UnknownContentError
from sammil_cli.slides.tiff_layout import DAMAGE, read_layout

PRIORITY = -1  # before OpenSlide
SUFFIXES = (".svs", ".tif", ".tiff")

_PROBED = 8  # of the fullest tiles one is looked at, the first that is not in doubt
_MOST_APART = 10  # grey values, in the mean: between whole pixels of a coarse level OpenSlide interpolates


class _Page:
    """A page in JPEG tiles, read through the descriptor of its file."""

    def __init__(self, page: tifffile.TiffPage, descriptor: int) -> None:
        self.size_px = (page.imagewidth, page.imagelength)
        self.tile_px = (page.tilewidth, page.tilelength)
        self._across = -(-self.size_px[0] // self.tile_px[0])
        down = -(-self.size_px[1] // self.tile_px[1])
        self._descriptor = descriptor
        self._offsets, self._counts = (
            np.asarray(places, np.int64)[: down * self._across] for places in (page.dataoffsets, page.databytecounts)
        )
        self.held = ((self._offsets > 0) & (self._counts > 0)).reshape(down, self._across)
        self._tiles, self.probed, self.probe = self._probed(page)

    def _probed(self, page: tifffile.TiffPage) -> tuple[JpegTiles, tuple[int, int], RGB]:
        """How tiles are decoded; place and pixels of one that has much to show. Raises what is in `DAMAGE`."""
        doubt: Exception = TileDoubtError("they are no plain JPEG")
        for index in np.argsort(-self._counts, kind="stable")[:_PROBED].tolist():
            row, column = divmod(index, self._across)
            try:
                data = self._data(index)
                if (tiles := jpeg_tiles(page, data)) is not None:
                    return tiles, (column, row), tiles.decode(data)
            except DAMAGE as error:
                doubt = error
        raise doubt

    def tile(self, column: int, row: int) -> RGB:
        """The pixels of a tile; raises what is in `DAMAGE`."""
        return self._tiles.decode(self._data(row * self._across + column))

    def _data(self, index: int) -> bytes:
        return os.pread(self._descriptor, int(self._counts[index]), int(self._offsets[index]))


class AperioReader:
    """See `slides.slide.Reader`."""

    def __init__(self, path: Path, pages: Sequence[tifffile.TiffPage]) -> None:
        slide = OpenSlideReader(path)
        self._slide, self._cache, self._stream = slide, PieceCache(), path.open("rb")
        self.kind, self.objective, self.remarks = slide.kind, slide.objective, slide.remarks
        self.mpp, self.mpp_source = slide.mpp, slide.mpp_source
        self.size_px, self.bounds_px = slide.size_px, slide.bounds_px
        self.downsamples, self.tiles_px = slide.downsamples, slide.tiles_px
        try:
            by_size = {(page.imagewidth, page.imagelength): page for page in pages}
            if len(slide.downsamples) != len(slide.pages_px) or len(set(slide.pages_px)) != len(slide.pages_px):
                raise TileDoubtError("which page is which level, its size does not say")
            self._pages = [_Page(by_size[size], self._stream.fileno()) for size in slide.pages_px]
            self._check()
            for finer, page in pairwise(self._pages):  # what scanners write below a tile that is missing is no picture
                page.held &= finer.held.all()
        except BaseException:
            self.close()
            raise

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`."""
        try:
            if self._holds(xy, level, size_px):
                return self._read(xy, level, size_px)
        except DAMAGE:  # OpenSlide says what is wrong, or that nothing is
            pass
        return self._slide.read(xy, level, size_px)

    def unstored(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.bool_] | None:
        """See `slides.unstored.SparseReader`."""
        return None if self._holds(xy, level, size_px) else self._slide.unstored(xy, level, size_px)

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._slide.close()
        self._stream.close()
        self.forget()

    def forget(self) -> None:
        """Frees the tiles that are kept for reads of their neighbours."""
        self._cache.clear()

    def _check(self) -> None:
        """Holds the pages against OpenSlide's levels.

        Raises:
            TileDoubtError: they differ.
        """
        for level, page in enumerate(self._pages):
            (column, row), (width, height) = page.probed, page.tile_px
            corner, downsample = (column * width, row * height), self.downsamples[level]
            xy = (round(corner[0] * downsample), round(corner[1] * downsample))
            size = (min(width, page.size_px[0] - corner[0]), min(height, page.size_px[1] - corner[1]))
            ours, theirs = page.probe[: size[1], : size[0]], self._slide.read(xy, level, size)
            apart = np.abs(ours.astype(np.int16) - theirs)
            alike = apart.mean() <= _MOST_APART if level else not apart.any()
            if page.tile_px != self.tiles_px[level] or not alike:
                raise TileDoubtError(f"level {level} is not what OpenSlide sees")

    def _read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        page = self._pages[level]

        def tile(column: int, row: int, reaches_on: bool) -> RGB:
            return self._cache.get((level, column, row), lambda: page.tile(column, row), reaches_on=reaches_on)

        return lay_together(self._corner(xy, level), size_px, page.tile_px, page.size_px, tile)

    def _holds(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> bool:
        """Whether the file holds all tiles that a box touches."""
        page = self._pages[level]
        rows, columns = touched(self._corner(xy, level), size_px, page.tile_px, page.size_px)
        return bool(page.held[rows.start : rows.stop, columns.start : columns.stop].all())

    def _corner(self, xy: tuple[int, int], level: int) -> tuple[int, int]:
        downsample = self.downsamples[level]
        return round(xy[0] / downsample), round(xy[1] / downsample)


def open_slide(path: Path) -> AperioReader | None:
    """Opens a slide; None leaves to the next format what is not Aperio's, or not read here as OpenSlide reads it.

    Raises:
        SlideError: `E_OPEN`, OpenSlide does not know the file.
    """
    try:
        vendor = openslide.OpenSlide.detect_format(path)
        if vendor is None:
            raise UnknownContentError(NOT_KNOWN)
        if vendor != "aperio":
            return None
        pages = [page for page in read_layout(path).pages if page.compression == tifffile.COMPRESSION.JPEG]
        return AperioReader(path, pages) if pages else None
    except UnknownContentError:
        raise
    except (SlideError, openslide.OpenSlideError, *DAMAGE):  # OpenSlide says what is wrong, or that nothing is
        return None
