"""A sheet that pictures are laid on and words are written on, counted in pixels from its top left corner.

Pillow writes; a sheet takes a tenth of the time that matplotlib's axes take.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sammil_cli.report.scales import Values
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.picture_file import encode_picture
from sammil_cli.storage.shown_text import shortened, shown

Colour = tuple[int, int, int]
INK: Colour = (33, 37, 45)
QUIET: Colour = (95, 102, 114)
ALARM: Colour = (176, 32, 24)
WHITE: Colour = (255, 255, 255)
Weight = Literal["", "-Bold"]

_STAMP_OPACITY = 0.6
_RIM = 5
_ACROSS = 0.78  # of the sheet's diagonal that a stamp takes


class Sheet:
    """A white picture of `width` x `height` pixels. Words come last, over all pictures."""

    def __init__(self, width: int, height: int) -> None:
        self.image: RGB = np.full((height, width, 3), 255, np.uint8)
        self._words: list[tuple[tuple[float, float], str, dict[str, object]]] = []
        self._stamp = ""

    def put(self, picture: RGB, left: int, top: int) -> RGB:
        """Lays a picture down; returns its place on the sheet, to be drawn on."""
        rows, columns = picture.shape[:2]
        place = self.image[top : top + rows, left : left + columns]
        place[:] = picture[: place.shape[0], : place.shape[1]]
        return place

    def write(
        self,
        text: str,
        at: tuple[float, float],
        size: int,
        *,
        colour: Colour = INK,
        weight: Weight = "",
        anchor: str = "la",
        halo: int = 0,
    ) -> float:
        """Writes a line of text, and says where it ends.

        Args:
            at: x and y of its `anchor`, as Pillow has them: `la` = left and top, `ma` = middle and top, …
            halo: pixels of white around it, where it is written over a picture.
        """
        font = _font(size, weight)
        how = {"font": font, "fill": colour, "anchor": anchor}
        if halo:
            how |= {"stroke_width": halo, "stroke_fill": WHITE}
        self._words.append((at, shown(text), how))
        return at[0] + font.getlength(shown(text))

    def stamp(self, text: str) -> None:
        """Writes words across the whole sheet, through which everything can still be seen."""
        self._stamp = text

    def to_png(self) -> bytes:
        """The sheet as PNG; the same sheet gives the same bytes."""
        if self._stamp:
            self._put_stamp()
        picture = Image.fromarray(self.image)
        pen = ImageDraw.Draw(picture)
        for at, text, how in self._words:
            pen.text(at, text, **how)  # type: ignore[arg-type]
        return encode_picture(".png", np.asarray(picture))

    def _put_stamp(self) -> None:
        rows, columns = self.image.shape[:2]
        long = float(np.hypot(rows, columns)) * _ACROSS
        text = shown(self._stamp)
        font = _font(int(min(100 * long / _font(100, "-Bold").getlength(text), rows / 4)), "-Bold")
        ink = Image.new("L", (int(font.getlength(text)) + 24, int(1.4 * font.size)))
        pen, middle = ImageDraw.Draw(ink), (12, ink.height / 2)
        pen.text(middle, text, font=font, fill=255, anchor="lm", stroke_width=_RIM, stroke_fill=255)
        pen.text(middle, text, font=font, fill=0, anchor="lm")  # hollow: colours below stay what they are
        turned = ink.rotate(float(np.degrees(np.arctan2(rows, columns))), Image.Resampling.BILINEAR, expand=True)
        whole = Image.new("L", (columns, rows))
        whole.paste(turned, ((columns - turned.width) // 2, (rows - turned.height) // 2))
        share = np.asarray(whole)[..., None] * np.float32(_STAMP_OPACITY / 255)
        self.image[:] = (1 - share) * self.image + share * np.array(ALARM, np.float32)


def fitted(text: str, size: int, room: float, weight: Weight = "") -> str:
    """Text in at most `room` pixels: of a longer one its beginning and its end."""
    text, font = shown(text), _font(size, weight)
    low, high = 1, len(text)
    while low < high:  # the most characters that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(shortened(text, middle)) <= room else (low, middle - 1)
    return shortened(text, low)


def width_of(text: str, size: int, weight: Weight = "") -> float:
    """How many pixels a line of text takes."""
    return float(_font(size, weight).getlength(shown(text)))


def cased_line(image: RGB, points: Values, *, closed: bool = True, width: int = 2, colour: Colour = INK) -> None:
    """Draws a line through points (k, 2) with a white rim, which shows on any ground and to any reader."""
    line = [np.round(16 * (points + 0.5)).astype(np.int32)]
    for ink, wide in ((WHITE, width + 2), (colour, width)):
        cv2.polylines(image, line, closed, ink, wide, cv2.LINE_AA, 4)


def fit(image: RGB, size: tuple[int, int]) -> RGB:
    """A picture at a width and height: averaged where it shrinks, with smooth or, for small ones, plain pixels."""
    if image.shape[1::-1] == size:
        return image
    shrinks = image.shape[1] >= size[0]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


@cache
def _font(size: int, weight: Weight) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib; that is not loaded for it."""
    spec = find_spec("matplotlib")
    places = (spec.submodule_search_locations or []) if spec else []
    return ImageFont.truetype(str(Path(next(iter(places)), "mpl-data/fonts/ttf", f"DejaVuSans{weight}.ttf")), size)
