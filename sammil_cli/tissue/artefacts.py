"""What on a picture of a slide is nothing to learn from: glass, pen, black, blur. Colour rules and sums, no model."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import RGB, is_grey
from sammil_cli.slides.slide import Slide, plan_read
from sammil_cli.tissue.artefact_maps import ArtefactMaps, Map
from sammil_cli.tissue.pen import Mask, pen_mask

Cells = tuple[NDArray[Any], ...]  # blank, dark: Map; gradients and smoothed gradients: uint16 of the same shape

_CELL_UM = 32.0  # side of a cell of the maps
_DARK = 80  # all channels of black lie below it; dense nuclei and double layers of tissue keep a brighter blue
_BORDER = 60
_GLASS_SPREAD = 12  # grey values by which glass differs from its own colour
_NOISE = 0.192  # what a 3 x 3 mean leaves of the gradients of white noise: sqrt(6 / 81) / sqrt(2)
_NEARLY = 0.8  # of the brightness of glass: darker is tissue
_GLASS_PIXELS = 50_000  # pixels that are looked at for the colour of glass
_STRIP_PX = 1 << 20  # of a picture that is in memory: its gradients stay in the processor's cache, about
_BLOCK_PX = 2048  # side of the largest block that is read at once
_HALO_PX = 2  # what the gradients of a block need around it
_FLAT = 0.5  # mean gradient, grey values per pixel, below which there is nothing that could be sharp
_BLUR_CELLS = 3  # cells over which sharpness is judged: one alone holds too few pixels


def border_mask(rgb: RGB) -> Mask:
    """True on near-black areas that touch the picture's edge and on solid bars and marks, (h, w, 3) -> (h, w)."""
    black = np.asarray(cv2.inRange(rgb, (0, 0, 0), (_BORDER, _BORDER, _BORDER)), np.uint8)
    if not black.any():
        return np.zeros(black.shape, np.bool_)
    height, width = black.shape
    least = 1e-4 * width * height
    border = np.zeros(black.shape, np.uint8)
    # Nuclei are black by the hundred thousand: of those that touch no edge only large ones are looked at.
    for outline in cv2.findContours(black, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
        x, y, wide, high = cv2.boundingRect(outline)
        if wide * high <= least and 0 < x < width - wide and 0 < y < height - high:
            continue
        box = np.s_[y : y + high, x : x + wide]
        inside = cv2.drawContours(np.zeros((high, wide), np.uint8), [outline], 0, 1, cv2.FILLED, offset=(-x, -y))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.bitwise_and(black[box], inside), connectivity=4)
        left, top, across, down, area = stats.T
        at_edge = (left + x == 0) | (top + y == 0) | (left + across + x == width) | (top + down + y == height)
        found = at_edge | ((area > 0.7 * across * down) & (area > least))
        found[0] = False
        border[box] |= found[labels]
    if not border.any():
        return border.view(np.bool_)
    # Resampling and JPEG leave a dark seam.
    return np.asarray(cv2.dilate(border, np.ones((3, 3), np.uint8)), np.uint8).view(np.bool_)


def glass_colour(rgb: RGB) -> tuple[int, int, int]:
    """The colour of glass: the commonest bright grey of the picture (h, w, 3); near white without any.

    White itself is what was not scanned. On a grey picture, where no colour tells tissue from glass, it may be glass as
    well, and glass may be dim: bright is what is nearly as bright as the picture's brightest.
    """
    stride = max(1, int((rgb.shape[0] * rgb.shape[1] / _GLASS_PIXELS) ** 0.5))
    pixels = np.ascontiguousarray(rgb[::stride, ::stride])
    red, green, blue = cv2.split(pixels)
    darkest, brightest = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    least, most = (min(190, _NEARLY * np.percentile(darkest, 99)), 255) if is_grey(rgb) else (190, 253)
    bright = pixels[(darkest > least) & (darkest <= most) & (cv2.subtract(brightest, darkest) < 20)]
    if len(bright) < 0.002 * darkest.size:
        return (242, 242, 242)
    commonest = np.bincount(bright[:, 1], minlength=256).argmax()
    colour = np.median(bright[np.abs(bright[:, 1].astype(np.int16) - commonest) < 3], axis=0)
    return (int(colour[0]), int(colour[1]), int(colour[2]))


def measure_artefacts(slide: Slide, thumbnail: RGB, *, mpp: float | None, pen: Mask | None = None) -> ArtefactMaps:
    """Scores the whole slide, cell by cell.

    What blur can be seen depends on the resolution. Of sharp H&E it is 0.2 at 8 µm per pixel and 0.4-0.5 at 1, and
    it passes 0.7 where the slide is blurred by a Gaussian of 8 µm at 8 µm per pixel, and of 1 µm at 1. So the
    thumbnail shows tissue that is grossly out of focus or has come off; for the focus of nuclei give `mpp` of about 1.

    Args:
        thumbnail: (h, w, 3), the whole slide.
        mpp: µm per pixel at which blank, dark and blur are measured; the slide is then read in blocks. None = on the
            thumbnail, which costs no reading. Pen is looked for on the thumbnail.
        pen: `pen_mask` of the thumbnail where the caller has it; None = found here.

    Raises:
        SlideError: `E_READ`, the pixels cannot be decoded.
    """
    (width, height), (high, wide) = slide.size_px, thumbnail.shape[:2]
    shown = slide.mpp * width / wide
    cell = max(1, round(_CELL_UM / shown))
    cell_px0 = (cell * width / wide, cell * height / high)
    glass = glass_colour(thumbnail)
    ink = pen_mask(thumbnail, shown) if pen is None else pen
    blank, dark, sharp, smooth = _measure_strips(thumbnail, glass, cell)
    if mpp is not None and mpp < shown:
        shown = _measure_blocks(slide, glass, (blank, dark, sharp, smooth), cell_px0, mpp)
    return ArtefactMaps(
        blank=blank,
        pen=_average(ink.astype(np.uint8) * np.uint8(255), cell),
        dark=dark,
        blur=_blur(sharp, smooth, blank),
        cell_px0=cell_px0,
        mpp=shown,
    )


def _measure_strips(rgb: RGB, glass: tuple[int, int, int], cell: int) -> Cells:
    """As `_measure` of the whole picture, which would need seven times its memory."""
    height, width = rgb.shape[:2]
    step = max(1, _STRIP_PX // (width * cell)) * cell
    strips = []
    for top in range(0, height, step):
        first, last = max(0, top - _HALO_PX), min(height, top + step + _HALO_PX)
        inner = np.s_[top - first : min(height, top + step) - first, :]
        strips.append(_measure(rgb[first:last], glass, cell, inner))
    return tuple(np.concatenate(parts) for parts in zip(*strips, strict=True))


def _measure(rgb: RGB, glass: tuple[int, int, int], cell: int, inner: tuple[slice, slice]) -> Cells:
    """Per cell of `cell` x `cell` pixels: blank and dark, 0-255; gradients, and those after a 3 x 3 mean, times 9.

    Cells are counted in the `inner` part, which is surrounded by `_HALO_PX` pixels where the picture goes on.
    """
    blank = np.asarray(cv2.inRange(rgb, tuple(max(0, v - _GLASS_SPREAD) for v in glass), (255, 255, 255)), np.uint8)
    dark = np.asarray(cv2.inRange(rgb, (0, 0, 0), (_DARK, _DARK, _DARK)), np.uint8)
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    smooth = cv2.boxFilter(grey, cv2.CV_16S, (3, 3), normalize=False)
    visible = cv2.bitwise_not(blank)
    gradients = []
    for picture in (np.multiply(grey, 9, dtype=np.int16), smooth):
        steps = np.zeros(grey.shape, np.int16)
        if rgb.shape[1] > 1:
            cv2.absdiff(picture[:, 1:], picture[:, :-1], dst=steps[:, 1:])
        if len(rgb) > 1:
            steps[1:] += np.asarray(cv2.absdiff(picture[1:], picture[:-1]), np.int16)
        seen = cv2.copyTo(steps, visible)
        gradients.append(_average(np.asarray(seen).view(np.uint16)[inner], cell))
    return _average(blank[inner], cell), _average(dark[inner], cell), gradients[0], gradients[1]


def _measure_blocks(
    slide: Slide, glass: tuple[int, int, int], cells: Cells, cell_px0: tuple[float, float], mpp: float
) -> float:
    """Replaces what `_measure` found in `cells` by what it finds at about `mpp` µm per pixel; returns the exact mpp.

    The slide is read in blocks; where there is nothing but glass it is left out. A cell is measured on a whole number
    of pixels, so that blocks join without a seam.
    """
    rows, columns = cells[0].shape
    cell = max(1, min(round(cell_px0[0] * slide.mpp / mpp), int(min(cell_px0))))  # never finer than level 0
    across, down = cell_px0[0] / cell, cell_px0[1] / cell  # level-0 pixels per pixel
    plan = plan_read(slide.reader.downsamples, min(across, down))
    step = max(1, int(_BLOCK_PX / max(1.0, plan.shrink)) // cell)
    for row in range(0, rows, step):
        for column in range(0, columns, step):
            place = np.s_[row : min(row + step, rows), column : min(column + step, columns)]
            if cells[0][place].min() == 255:
                continue
            high, wide = (side * cell + 2 * _HALO_PX for side in cells[0][place].shape)
            left, top = column * cell_px0[0] - _HALO_PX * across, row * cell_px0[1] - _HALO_PX * down
            side_px0 = (round(wide * across), round(high * down))
            block = slide.read_at((round(left), round(top)), side_px0, (wide, high))
            inner = np.s_[_HALO_PX : high - _HALO_PX, _HALO_PX : wide - _HALO_PX]
            for part, measured in zip(cells, _measure(block, glass, cell, inner), strict=True):
                part[place] = measured
    return slide.mpp * across


def _average(values: NDArray[Any], cell: int) -> NDArray[Any]:
    """Means over blocks of `cell` x `cell` pixels in the type of `values`; the last ones repeat the last pixel."""
    height, width = values.shape
    out = np.empty((-(-height // cell), -(-width // cell)), values.dtype)
    rows, columns = height // cell, width // cell  # whole blocks; padding the whole picture would copy all of it
    for top, bottom, left, right in (
        (0, rows, 0, columns),
        (rows, out.shape[0], 0, out.shape[1]),
        (0, rows, columns, out.shape[1]),
    ):
        part = values[top * cell : bottom * cell, left * cell : right * cell]
        if part.size:
            rest = -part.shape[0] % cell, -part.shape[1] % cell
            if any(rest):
                part = np.asarray(cv2.copyMakeBorder(part, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE), values.dtype)
            size = (right - left, bottom - top)
            out[top:bottom, left:right] = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return out


def _blur(sharp: NDArray[np.uint16], smooth: NDArray[np.uint16], blank: Map) -> Map:
    """How much of the gradients a further smoothing leaves: much of a blurred picture, little of a sharp one."""
    window = (_BLUR_CELLS, _BLUR_CELLS)
    visible = cv2.blur(255 - blank.astype(np.float32), window) / 255
    total, left = (np.asarray(cv2.blur(v.astype(np.float32), window), np.float32) for v in (sharp, smooth))
    share = (left / np.maximum(total, 1e-6) - _NOISE) / (1 - _NOISE)
    share[total < 18 * _FLAT * visible] = 1
    return np.asarray(np.round(np.clip(share, 0, 1) * 255), np.uint8)
