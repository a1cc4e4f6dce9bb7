"""PNG and JPEG pictures as slides of one level; their dpi is no scanner's: µm per pixel come from slides.csv."""

import struct
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from sammil_cli.errors import SlideError
from sammil_cli.slides.conversion import pyramid_command
from sammil_cli.slides.pixels import GLASS, RGB
from sammil_cli.slides.slide import damaged, paint_background

PRIORITY = 2
SUFFIXES = (".png", ".jpg", ".jpeg")

_COLOURS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_ORIENTATION = 0x0112  # EXIF's: 1 = as stored
_LARGEST_PX = 100_000_000  # a picture is decoded whole: 0.4 GB by Pillow, 0.3 GB kept


class ImageReader:
    """See `slides.slide.Reader`. The picture is decoded at the first read and kept."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            self._file = Image.open(path)
        self.kind = (self._file.format or "image").lower()
        self.size_px = self._file.size
        self.downsamples = (1.0,)
        self.tiles_px = (self.size_px,)
        self.mpp = None
        self.mpp_source = ""
        self.objective = None
        self.bounds_px = (0, 0, *self.size_px)
        self.remarks = _turned(self._file)
        self.mode = self._file.mode
        self._lock = threading.Lock()
        self._pixels: RGB | None = None

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """See `slides.slide.Reader.read`; the only `level` is 0."""
        pixels = self._decoded()
        (x, y), (width, height) = xy, size_px
        image = np.full((height, width, 3), GLASS, np.uint8)
        seen = pixels[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        left, top = max(0, -x), max(0, -y)
        image[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        return image

    def close(self) -> None:
        """See `slides.slide.Reader.close`."""
        self._file.close()

    def _decoded(self) -> RGB:
        with self._lock:
            if self._pixels is None:
                try:
                    transparent = self.mode in ("LA", "PA", "RGBA") or "transparency" in self._file.info
                    wanted = "RGBA" if transparent else "RGB"
                    converted = np.asarray(self._file if self.mode == wanted else self._file.convert(wanted))
                except (OSError, SyntaxError, ValueError, EOFError) as error:
                    raise damaged("E_READ", f"the picture cannot be decoded: {error}") from error
                self._pixels = paint_background(converted) if transparent else converted
            return self._pixels


def open_slide(path: Path) -> ImageReader:
    """Opens a picture.

    Raises:
        SlideError: `E_OPEN`, no PNG or JPEG; `E_FORMAT`, too large to be decoded whole, or not 8-bit.
    """
    try:
        reader = ImageReader(path)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise damaged("E_OPEN", f"no PNG or JPEG that can be read: {error}") from error
    if reader.size_px[0] * reader.size_px[1] > _LARGEST_PX:
        reader.close()
        raise _too_large(path)
    if reader.kind not in ("png", "jpeg", "mpo"):
        reader.close()
        fix = "rename it to .tif" if reader.kind == "tiff" else "save it as PNG, or as TIFF"
        raise SlideError("E_FORMAT", f"{reader.kind.upper()} under the name of a PNG or JPEG", remedy=fix)
    if reader.mode not in _COLOURS:
        reader.close()
        raise SlideError(
            "E_FORMAT",
            f"not a brightfield RGB picture: it has 16-bit grey values (mode {reader.mode})",
            remedy="take it out of the slide folder; if it is brightfield, export it as 8-bit RGB",
        )
    return reader


def _turned(file: Image.Image) -> tuple[str, ...]:
    """A flag on a picture that viewers turn or mirror; here pixels lie as they are stored, where coordinates count."""
    exif = Image.Exif()
    try:
        exif.load(file.info.get("exif", b""))  # not `getexif`, which may decode the picture
        orientation = exif.get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error):
        return ()  # what cannot be read turns nothing
    return () if orientation in (0, 1) else ("orientation: viewers turn it (EXIF); it is taken as it is stored",)


def _too_large(path: Path) -> SlideError:
    return SlideError(
        "E_FORMAT",
        f"a picture of more than {_LARGEST_PX / 1e6:.0f} megapixels, which would have to be decoded whole",
        remedy=f"store it in tiles: {pyramid_command(path)}",
    )
