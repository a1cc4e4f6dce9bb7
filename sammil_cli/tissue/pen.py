"""Strokes of pen on a slide, by the colour of ink."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import RGB, is_grey
from sammil_cli.slides.shrink import shrink_whole

Mask = NDArray[np.bool_]  # (h, w)

_MPP = 16.0  # strokes are wide: at this resolution they are smooth, and nuclei blend with what is between them
_STROKE_UM2 = 150.0**2  # smaller spots of ink colour are no stroke
_ROWS = 32  # of a picture whose colours are looked up at once
_INK, _CLEAR_INK, _BLACK, _CLEAR_BLACK = 1, 2, 4, 8  # bits; the clear ones are the cores of strokes


def pen_mask(rgb: RGB, mpp: float) -> Mask:
    """True on strokes of black, blue, green or red ink, (h, w, 3) -> (h, w).

    Stains absorb green light most, haematoxylin and eosin alike, and DAB absorbs blue most; blue and green inks absorb
    red most, red ink absorbs blue nearly as much as green and lets red through, black ink is grey. Stains that are
    blue or green themselves (trichrome, Alcian blue) are taken for ink: turn `tissue_without_pen` off for them.
    Violet ink has the colour of haematoxylin and is not found, nor thin dark blue ink. Ink on a grey picture looks like
    dense tissue: it is not found either.

    Args:
        mpp: µm per pixel.
    """
    if is_grey(rgb):
        return np.zeros(rgb.shape[:2], np.bool_)
    block = max(1, min(int(_MPP / mpp), *rgb.shape[:2]))
    small = shrink_whole(rgb, block)
    found = _inks(small)
    least = max(1.0, _STROKE_UM2 / (mpp * block) ** 2)
    coloured = _around(found & _INK > 0, found & _CLEAR_INK > 0, least)
    black = np.zeros_like(coloured)
    if np.count_nonzero(found & _CLEAR_BLACK) >= least:
        # Thin black ink over tissue has the colour of dense tissue: how dark it may be follows from the slide's own.
        dim = cv2.inRange(small, (0, 0, 0), (_dim_limit(small),) * 3)
        black = _around((found & _BLACK > 0) | (dim > 0), found & _CLEAR_BLACK > 0, least)
    if not coloured.any() and not black.any():
        return np.zeros(rgb.shape[:2], np.bool_)
    mask = cv2.dilate((coloured | black).astype(np.uint8), np.ones((3, 3), np.uint8))
    height, width = (side * block for side in mask.shape)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    rest = (rgb.shape[0] - height, rgb.shape[1] - width)  # the last pixels repeat
    if any(rest):
        mask = cv2.copyMakeBorder(mask, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE)
    return np.asarray(mask, np.uint8).view(np.bool_)


def _inks(rgb: RGB) -> NDArray[np.uint8]:
    """What the colours of a picture are, see `_ink_table`; in strips, since numbers of 32 bits take much memory."""
    found = np.empty(rgb.shape[:2], np.uint8)
    for top in range(0, len(rgb), _ROWS):
        colour = np.zeros(found[top : top + _ROWS].shape, np.uint32)
        for channel in cv2.split(rgb[top : top + _ROWS] >> 2):
            colour <<= 6
            colour |= np.asarray(channel, np.uint8)
        found[top : top + _ROWS] = _ink_table()[colour]
    return found


def _around(mask: Mask, core: Mask, least: float) -> Mask:
    """The connected parts of `mask` with enough pixels of `core`."""
    if np.count_nonzero(core) < least:
        return np.zeros_like(mask)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = np.bincount(labels[core], minlength=len(stats)) >= least
    kept[0] = False
    return np.asarray(kept[labels], np.bool_)


def _dim_limit(rgb: RGB) -> int:
    """The brightest channel below which a pixel is much darker than the slide's tissue (of saturation above 20)."""
    brightest, darkest = (np.asarray(f(f(rgb[..., 0], rgb[..., 1]), rgb[..., 2]), np.uint8) for f in (cv2.max, cv2.min))
    tissue = brightest[np.multiply(brightest - darkest, 12, dtype=np.uint16) > brightest]
    return int(np.clip(0.6 * np.median(tissue), 60, 110)) if tissue.size else 60


@cache
def _ink_table() -> NDArray[np.uint8]:
    """What a colour of 6 bits per channel is, as bits."""
    level = np.arange(64, dtype=np.float32) * 4 + 2
    red, green, blue = (v.ravel() for v in np.meshgrid(level, level, level, indexing="ij"))
    dense_r, dense_g, dense_b = (-np.log(v / 250).clip(max=-0.004) for v in (red, green, blue))
    brightest = np.maximum(np.maximum(red, green), blue)
    grey = np.minimum(np.minimum(dense_r, dense_g), dense_b) / np.maximum(np.maximum(dense_r, dense_g), dense_b)

    def coloured(strictness: int) -> Mask:
        greenish = (dense_r > (1.1 + 0.2 * strictness) * dense_g) & (green - red > 12 + 13 * strictness)
        greenish &= green > blue - 20
        bluish = (dense_r > (1.2 + 0.1 * strictness) * dense_g) & (blue - red > 30 + 20 * strictness)
        bluish |= (dense_r > dense_g) & (blue - red > 70 + 20 * strictness)
        bluish |= (dense_r > dense_g) & (dense_r > 1.3) & (blue - red > 40 + 8 * strictness)
        reddish = (dense_b > (0.7 + 0.03 * strictness) * dense_g) & (dense_b < 1.25 * dense_g)
        reddish &= (dense_r < 0.5 * dense_g) & (red - green > 50) & (dense_g > 0.5 + 0.7 * strictness)
        scarlet = (dense_g > 1.2) & (dense_r < 0.3 * dense_g) & (red - blue > 70)
        reddish |= scarlet & (dense_b > 0.6 * dense_g) & (dense_b < 1.6 * dense_g)
        return np.asarray(greenish | bluish | reddish, np.bool_)

    table = np.where(coloured(1), _CLEAR_INK | _INK, np.where(coloured(0), _INK, 0))
    table |= np.where((brightest < 50) | ((grey > 0.8) & (brightest < 90)), _CLEAR_BLACK | _BLACK, 0)
    table |= np.where((grey > 0.72) & (brightest < 130), _BLACK, 0)
    return table.astype(np.uint8)
