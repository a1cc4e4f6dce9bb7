"""A slide: an open image pyramid with a known resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import GLASS, RGB, Box
from sammil_cli.slides.shrink import shrink_blockwise

_TOLERANCE = 0.01  # levels say 3.9998 where 4 is meant
_MOST_AT_ONCE_PX = 16_000_000  # larger reads go block by block
TOGETHER_PX = 4_000_000  # neighbours that are read in one go
_BETWEEN_PIXELS = ("mirax", "ventana")  # formats with tiles that OpenSlide lays between pixels and interpolates
_LONGEST_SIDE_PX = 10_000_000  # a metre of glass at 0.1 µm per pixel


class UnknownContentError(SlideError):
    """`E_OPEN`: a format finds nothing of its own in a file; another format may know more."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "E_OPEN", message, remedy="convert it to a pyramidal tiled TIFF, or take it out of the slide folder"
        )


def damaged(code: str, message: str) -> SlideError:
    """The error of a file that a new copy mends: `E_OPEN`, it cannot be opened; `E_READ`, pixels cannot be decoded."""
    again = "copy or download the file again"
    return SlideError(code, message, remedy=again if code == "E_OPEN" else f"{again}; it is damaged")


class Reader(Protocol):
    """What a file in `slides/formats/` gives: pixels and what the file says about itself.

    Where a file may hold several scenes, the reader also has `scene`, the number of the one that it reads (None where
    the file has no other), and its format `open_scene(path, scene)`. One that keeps decoded tiles for reads of their
    neighbours has `forget()`, which frees them.
    """

    kind: str  # the format's name: aperio, mirax, dicom, ome-tiff, png, …
    size_px: tuple[int, int]  # level-0 width, height
    downsamples: Sequence[float]  # level-0 pixels per pixel of each level
    tiles_px: Sequence[tuple[int, int]]  # of each level: width and height of what is decoded at once
    mpp: tuple[float, float] | None  # µm per level-0 pixel in x and y, None where the file does not say
    mpp_source: str  # the property it came from
    objective: float | None  # power of the lens, None where the file does not say
    bounds_px: Box  # the scanned area in level-0 pixels; the whole slide where the file does not say
    remarks: Sequence[str]  # what the user should know: levels that are left out or corrected, …

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """Pixels of a box: `xy` in level-0 pixels, `size_px` in the level's; outside of the scan it is white.

        Several threads may call it at once.

        Raises:
            SlideError: `E_READ`, the pixels cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Frees the file."""
        ...


def check_size(size_px: tuple[int, int]) -> None:
    """Refuses a width and height that no slide has, before any picture of that size is thought of.

    Raises:
        SlideError: `E_OPEN`.
    """
    if not all(0 < side <= _LONGEST_SIDE_PX for side in size_px):
        width, height = size_px
        raise damaged("E_OPEN", f"the file is damaged: it says that it is {width} x {height} pixels large")


@dataclass(frozen=True, kw_only=True)
class Slide:
    """An open slide. Coordinates are level-0 pixels of the whole file, origin top left, x before y.

    `mpp` is µm per level-0 pixel and `mpp_source` says where that number came from. `remarks` begins with those of the
    reader and grows with what is found while reading: short sentences for the slide's row of the process list. `scene`
    is the number of the picture where the file holds several.
    """

    slide_id: str
    path: Path
    reader: Reader
    mpp: float
    mpp_source: str
    remarks: list[str] = field(init=False)
    scene: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "remarks", list(self.reader.remarks))

    @property
    def size_px(self) -> tuple[int, int]:
        """Level-0 width and height."""
        return self.reader.size_px

    @property
    def bounds_px(self) -> Box:
        """The scanned area inside the file, level-0 pixels; the whole file where no such area is left."""
        (x, y, width, height), (file_width, file_height) = self.reader.bounds_px, self.size_px
        left, top = max(0, x), max(0, y)
        right, bottom = min(x + width, file_width), min(y + height, file_height)
        if right <= left or bottom <= top:
            return (0, 0, file_width, file_height)
        return (left, top, right - left, bottom - top)

    @property
    def read_by(self) -> str:
        """The slide format that reads its pixels, by its name in `slides/formats/`: `openslide`, `aperio`, `tiff`, …"""
        return type(self.reader).__module__.rpartition(".")[2]

    def read_at(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]) -> RGB:
        """Reads the box at `xy` of `side_px0` (width, height) level-0 pixels as an image of `out_px` (width, height).

        The best level is read and shrunk by area averaging, block by block where it is large. Outside of the scanned
        area it is white. A damaged level is replaced by the next finer one, with a remark.

        Raises:
            SlideError: `E_COARSE`, level 0 is coarser than asked by more than 1 %: pixels are never made up;
                `E_READ`, the pixels cannot be decoded.
        """
        for side, out in zip(side_px0, out_px, strict=True):
            if side < out * (1 - _TOLERANCE) - 0.5:  # sides are whole pixels
                raise SlideError(
                    "E_COARSE",
                    f"level 0 has {side} pixels ({self.mpp:g} µm each) where {out} are asked for",
                    remedy="ask for a coarser resolution; pixels are never made up",
                )
        plan = plan_read(self.reader.downsamples, min(side_px0[0] / out_px[0], side_px0[1] / out_px[1]))
        return self._read_shrunk(xy, side_px0, out_px, plan.level)

    def read_together(
        self, corners: Sequence[tuple[int, int]], side_px0: tuple[int, int], out_px: tuple[int, int]
    ) -> list[RGB] | None:
        """Reads boxes of one size in one go: of each what `read_at` gives, byte for byte, as views of one picture.

        None where that is not certain, and `read_at` has to be asked for each: boxes that are read from another level
        than 0, whose corners may lie between two of its pixels; of a format whose tiles do; large ones; any that cannot
        be decoded.
        """
        shrinking = side_px0[0] >= out_px[0] and side_px0[1] >= out_px[1]
        target = min(side_px0[0] / out_px[0], side_px0[1] / out_px[1])
        left, top = (min(starts) for starts in zip(*corners, strict=True))
        right, bottom = (max(starts) + side for starts, side in zip(zip(*corners, strict=True), side_px0, strict=True))
        size = (right - left, bottom - top)
        certain = shrinking and self.reader.kind not in _BETWEEN_PIXELS
        if not certain or plan_read(self.reader.downsamples, target).level or size[0] * size[1] > TOGETHER_PX:
            return None
        try:
            whole = self._read_level((left, top), 0, size)
        except SlideError:
            return None
        boxes = ((x - left, y - top) for x, y in corners)
        return [_resized(whole[y : y + side_px0[1], x : x + side_px0[0]], out_px) for x, y in boxes]

    def thumbnail(self, mpp: float) -> RGB:
        """The whole slide at `mpp` µm per pixel (at level 0 where the slide itself is coarser)."""
        factor = max(1.0, mpp / self.mpp)
        width, height = (max(1, round(side / factor)) for side in self.size_px)
        return self.read_at((0, 0), self.size_px, (width, height))

    def close(self) -> None:
        """Frees the file."""
        self.reader.close()

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_shrunk(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int], level: int) -> RGB:
        downsample = self.reader.downsamples[level]
        level_px = (max(1, round(side_px0[0] / downsample)), max(1, round(side_px0[1] / downsample)))
        if level_px[0] * level_px[1] > _MOST_AT_ONCE_PX:
            forget = getattr(self.reader, "forget", lambda: None)  # what is read is large, and not asked for again

            def block(x: int, y: int, width: int, height: int) -> RGB:
                if x == 0:
                    forget()
                corner = (round(xy[0] + x * downsample), round(xy[1] + y * downsample))
                return self._read_level(corner, level, (width, height))

            shrunk = shrink_blockwise(block, level_px, out_px, self.reader.tiles_px[level])
            forget()
            return shrunk
        return _resized(self._read_level(xy, level, level_px), out_px)

    def _read_level(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        """Pixels of one level, white outside of the scanned area; of a finer level where this one is damaged."""
        downsample = self.reader.downsamples[level]
        inside = window(xy, size_px, downsample, self.bounds_px)
        if inside is None:
            return np.full((size_px[1], size_px[0], 3), GLASS, np.uint8)
        try:
            image = self.reader.read(xy, level, size_px)
        except SlideError as error:
            if level == 0 or error.code != "E_READ":
                raise
            remark = f"damaged: level {level} in places; level {level - 1} was read there instead"
            if remark not in self.remarks:
                self.remarks.append(remark)
            side = (round(size_px[0] * downsample), round(size_px[1] * downsample))
            return self._read_shrunk(xy, side, size_px, level - 1)
        if image.dtype != np.uint8 or image.shape != (size_px[1], size_px[0], 3):  # of a plug-in; NaN would become 0
            given = f"{image.dtype} {image.shape}"
            raise SlideError(
                "E_READ",
                f"the slide format {self.reader.kind!r} gives {given}, not 8-bit RGB of {size_px} px",
                remedy="tell whoever wrote that format: sammil_cli.testing.slide_formats has its tests",
            )
        rows, columns = inside
        if (rows.stop - rows.start, columns.stop - columns.start) == image.shape[:2]:
            return image
        framed = np.full_like(image, GLASS)
        framed[rows, columns] = image[rows, columns]
        return framed


def _resized(image: RGB, out_px: tuple[int, int]) -> RGB:
    """The image at a width and height: averaged over areas where it is larger, bicubic where it is smaller."""
    size = image.shape[1::-1]
    if size == out_px:
        return image
    method = cv2.INTER_AREA if size[0] >= out_px[0] and size[1] >= out_px[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, out_px, interpolation=method), np.uint8)


def window(
    xy: tuple[int, int], size_px: tuple[int, int], downsample: float, bounds_px: Box
) -> tuple[slice, slice] | None:
    """Rows and columns of a read that lie in the scanned area, to the outer pixel; None where nothing does."""
    stretches = []
    for start, size, low, length in zip(xy, size_px, bounds_px[:2], bounds_px[2:], strict=True):
        first = max(0, int((low - start) // downsample))
        last = min(size, int(-((start - low - length) // downsample)))
        if last <= first:
            return None
        stretches.append(slice(first, last))
    return stretches[1], stretches[0]


@dataclass(frozen=True, kw_only=True)
class ReadPlan:
    """What to read for a wanted resolution: `level`, shrunk by `shrink`.

    `shrink` >= 1, up to 1 % less by rounding of the level's downsample.
    """

    level: int
    shrink: float


def plan_read(downsamples: Sequence[float], target: float) -> ReadPlan:
    """The coarsest level that is at least as fine as `target`, so that pixels are never upsampled.

    Args:
        downsamples: level-0 pixels per pixel of each level, rising, the first 1.
        target: level-0 pixels per wanted pixel. Below 1 the read is level 0, and `shrink` < 1 tells the caller.
    """
    coarsest = max((d for d in downsamples if d <= target * (1 + _TOLERANCE)), default=downsamples[0])
    level = list(downsamples).index(coarsest)  # of planes of a stack, which are alike, the first
    return ReadPlan(level=level, shrink=target / downsamples[level])


def paint_background(rgba: NDArray[np.uint8], *, premultiplied: bool = False) -> RGB:
    """Lays an RGBA image (h, w, 4) on white glass; `premultiplied`: its colours already are (associated alpha)."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
    colours, clear = rgba[..., :3].astype(np.uint16), GLASS - alpha.astype(np.uint16)
    if premultiplied:
        return np.asarray(np.minimum(colours + clear, GLASS), np.uint8)
    return np.asarray((colours * alpha + GLASS * clear + 127) // 255, np.uint8)
