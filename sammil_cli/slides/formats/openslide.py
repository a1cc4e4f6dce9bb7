"""Slides through OpenSlide: Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, Zeiss, DICOM, tiled TIFF, …

OpenSlide is loaded before torch: a libopenslide that torch pulls in from the system would silently change formats.
"""

import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides import focal_planes, levels
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.resolution import TIFF_TAGS, Mpp, from_tiff_tags, in_aperio, magnification, no_number, number
from sammil_cli.slides.slide import UnknownContentError, check_size, damaged, paint_background

PRIORITY = 0
SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".dcm", ".czi")

NOT_KNOWN = "the content is of no format that OpenSlide knows"

_SAMPLED = 8  # one in eight rows and columns is looked at for pixels that are not stored: tiles are larger

# Where the resolution stands when OpenSlide does not say it, in x and y.
_VENDOR_TAGS = (
    ("aperio.MPP", "aperio.MPP"),
    ("mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X", "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_Y"),
)


class OpenSlideReader:
    """See `slides.slide.Reader`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._slide = openslide.OpenSlide(path)
        self._transparent = False  # whether any read met pixels that the file does not hold
        properties = self._slide.properties
        self.kind = properties.get(openslide.PROPERTY_NAME_VENDOR, "openslide")
        self.size_px: tuple[int, int] = self._slide.dimensions
        check_size(self.size_px)
        self.mpp, self.mpp_source = _mpp(properties, self.kind)
        self.objective = _objective(properties)
        self.bounds_px = _bounds(properties, self.size_px)
        pages = _pages(self._slide, self.kind)
        self._stated = self._slide.level_downsamples  # a handle that met an error gives nothing any more
        found = levels.settle(pages, self._read)
        self._numbers, self.downsamples = found.numbers, found.downsamples
        self.pages_px = [page.size_px for page in pages]  # of all of OpenSlide's levels
        planes = focal_planes.remarks(path, self.kind, properties, self._slide.level_dimensions)
        self.remarks = (*found.remarks, *planes)
        self.tiles_px = tuple(pages[own].tile_px or (256, 256) for own in self._numbers)

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`."""
        rgba = self._region(*self._place(xy, level), size_px)
        self._transparent |= not rgba[::_SAMPLED, ::_SAMPLED, 3].all()
        return paint_background(rgba)

    def unstored(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> NDArray[np.bool_] | None:
        """See `slides.unstored.SparseReader`: OpenSlide leaves transparent what no tile covers."""
        return self._region(*self._place(xy, level), size_px)[..., 3] == 0 if self._transparent else None

    def _place(self, xy: tuple[int, int], level: int) -> tuple[tuple[int, int], int]:
        """A box's corner as OpenSlide takes it, and its number of the level, whatever it takes for the downsample."""
        own, downsample = self._numbers[level], self.downsamples[level]
        if downsample == self._stated[own]:
            return xy, own
        return self._stated_corner(own, (round(xy[0] / downsample), round(xy[1] / downsample))), own

    def _stated_corner(self, own: int, corner: tuple[int, int]) -> tuple[int, int]:
        """A corner in a level's pixels, in level-0 pixels as OpenSlide sees them."""
        return round(corner[0] * self._stated[own]), round(corner[1] * self._stated[own])

    def _read(self, own: int, corner: tuple[int, int], size_px: tuple[int, int]) -> RGB:
        """Pixels of one of OpenSlide's levels; the corner is in its pixels."""
        return paint_background(self._region(self._stated_corner(own, corner), own, size_px))

    def _region(self, xy: tuple[int, int], own: int, size_px: tuple[int, int]) -> NDArray[np.uint8]:
        slide = self._slide
        try:
            return np.asarray(slide.read_region(xy, own, size_px))
        except openslide.OpenSlideError:
            slide = self._reopen(slide)
        try:  # the error may have been that of another thread's read
            return np.asarray(slide.read_region(xy, own, size_px))
        except openslide.OpenSlideError as error:
            self._reopen(slide)
            message = f"level {own} cannot be decoded near x={xy[0]}, y={xy[1]}: {error}"
            raise damaged("E_READ", message) from error

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._slide.close()

    def _reopen(self, failed: openslide.OpenSlide) -> openslide.OpenSlide:
        """After an error OpenSlide's handle gives errors only; other threads may still be about to find that out."""
        with self._lock:
            if self._slide is failed:
                self._slide = openslide.OpenSlide(self._path)
            return self._slide


def open_slide(path: Path) -> OpenSlideReader | None:
    """Opens a slide; None leaves a TIFF of no vendor, of which OpenSlide may see a part only, to the next format.

    Raises:
        SlideError: `E_OPEN`, OpenSlide does not know the file, or it is damaged.
    """
    if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
        raise SlideError(
            "E_OPEN",
            f"its data folder {path.stem}/ is not beside it; the .mrxs file is only the slide's head",
            remedy=f"copy the folder {path.stem} (Slidedat.ini, Data0000.dat, …) to {path.parent}",
        )
    try:
        if openslide.OpenSlide.detect_format(path) == "generic-tiff":
            return None
        return OpenSlideReader(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise UnknownContentError(NOT_KNOWN) from error
    except openslide.OpenSlideError as error:
        raise SlideError(
            "E_OPEN",
            f"OpenSlide cannot open it: {error}",
            remedy="copy or download the file again; if other programs open it, convert it to a pyramidal tiled TIFF",
        ) from error


def _mpp(properties: Mapping[str, str], kind: str) -> tuple[Mpp | None, str]:
    """µm per level-0 pixel and the name of the property that says so, or None and why."""
    aperio = in_aperio(properties.get("tiff.ImageDescription", ""), "MPP") if kind == "aperio" else ""
    if aperio and number(aperio) is None:  # of several OpenSlide takes the last
        return None, no_number("aperio.MPP", aperio)
    names = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    for name_x, name_y in (names, *_VENDOR_TAGS):
        x, y = _number(properties, name_x), _number(properties, name_y)
        if x is not None and y is not None:
            return (x, y), "DICOM PixelSpacing" if kind == "dicom" else name_x
    x, y = _number(properties, "tiff.XResolution"), _number(properties, "tiff.YResolution")
    if x is None or y is None:
        return None, ""
    found = from_tiff_tags(x, y, properties.get("tiff.ResolutionUnit", ""))
    return (None, "") if found is None else (found, TIFF_TAGS)


def _objective(properties: Mapping[str, str]) -> float | None:
    names = (openslide.PROPERTY_NAME_OBJECTIVE_POWER, "aperio.AppMag")  # OpenSlide passes over 20x
    return next(filter(None, (magnification(properties.get(name, "")) for name in names)), None)


def _number(properties: Mapping[str, str], name: str) -> float | None:
    return number(properties.get(name, ""))


def _pages(slide: openslide.OpenSlide, kind: str) -> list[levels.Page]:
    """The levels as OpenSlide has them. Where it knows no downsample it takes the mean ratio of the sides.

    Of Aperio's files it takes every page in tiles for a level; of other vendors' it knows which are.
    """
    pages = []
    for own, (size, stated) in enumerate(zip(slide.level_dimensions, slide.level_downsamples, strict=True)):
        guessed = math.isclose(stated, levels.ratio(slide.dimensions, size), rel_tol=1e-6)
        tile = _tile(slide.properties, own)
        pages.append(
            levels.Page(
                size_px=size, tile_px=tile, stated=stated, known=not guessed, sure=kind != "aperio", marked=True
            )
        )
    return pages


def _tile(properties: Mapping[str, str], level: int) -> tuple[int, int] | None:
    """Width and height of a level's tiles; None where it has none."""
    sides = (_number(properties, f"openslide.level[{level}].tile-{side}") for side in ("width", "height"))
    width, height = (int(side) if side else 0 for side in sides)
    return (width, height) if width > 0 and height > 0 else None


def _bounds(properties: Mapping[str, str], size_px: tuple[int, int]) -> Box:
    names = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")
    try:
        x, y, width, height = (int(properties[f"openslide.{name}"]) for name in names)
    except (KeyError, ValueError):
        return (0, 0, *size_px)
    return (x, y, width, height)
