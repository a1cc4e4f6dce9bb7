"""Slides through OpenSlide: Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, DICOM, tiled TIFF, …

OpenSlide is loaded before torch: a libopenslide that torch pulls in from the system would silently change formats.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide

from sammil_cli.errors import SlideError
from sammil_cli.slides.slide import RGB, Box, paint_background

SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".vms",
    ".vmu",
    ".scn",
    ".mrxs",
    ".svslide",
    ".bif",
    ".dcm",
    ".czi",
)
LIBRARY_VERSION = openslide.__library_version__


class OpenSlideReader:
    """See `slides.slide.Reader`."""

    def __init__(self, path: Path) -> None:
        self._slide = openslide.OpenSlide(path)
        properties = self._slide.properties
        self.size_px: tuple[int, int] = self._slide.dimensions
        self.downsamples: tuple[float, ...] = self._slide.level_downsamples
        self.mpp = _mpp(properties)
        self.mpp_source = openslide.PROPERTY_NAME_MPP_X
        self.bounds_px = _bounds(properties, self.size_px)

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`."""
        try:
            return paint_background(np.asarray(self._slide.read_region(xy, level, size_px)))
        except openslide.OpenSlideError as error:
            raise SlideError(
                "E_READ",
                f"level {level} cannot be decoded near x={xy[0]}, y={xy[1]}: {error}",
                remedy="copy or download the file again; it is damaged",
            ) from error

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._slide.close()


def open_slide(path: Path) -> OpenSlideReader:
    """Opens a slide.

    Raises:
        SlideError: `E_OPEN`, OpenSlide does not know the file or it is damaged.
    """
    try:
        return OpenSlideReader(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SlideError(
            "E_OPEN",
            "the content is of no format that OpenSlide knows",
            remedy="convert it to a pyramidal tiled TIFF, or take it out of the slide folder",
        ) from error
    except openslide.OpenSlideError as error:
        raise SlideError("E_OPEN", f"the file is damaged: {error}", remedy="copy or download the file again") from error


def _mpp(properties: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        mpp_x = float(properties[openslide.PROPERTY_NAME_MPP_X])
        mpp_y = float(properties[openslide.PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    return (mpp_x, mpp_y)


def _bounds(properties: Mapping[str, str], size_px: tuple[int, int]) -> Box:
    names = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")
    try:
        x, y, width, height = (int(properties[f"openslide.{name}"]) for name in names)
    except (KeyError, ValueError):
        return (0, 0, *size_px)
    return (x, y, width, height)
