"""The two colour maps of the pictures, built in OKLab (Ottosson 2020), whose distances are as large as they look.

Equal steps of a value are equal steps for the eye, and lightness alone orders the values, so that colour-blind readers
and grey prints show the same: attention darkens from little to much; evidence darkens from its pale middle to either
side, blue against, orange for, which all common kinds of colour blindness keep apart.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.scales import Values
from sammil_cli.slides.pixels import RGB

STEPS = 256
_FINE = 4096  # points of a map before it is cut into steps
_ROUNDED = 0.12  # of a map's length: over which its corners at the stops are rounded
# Lightness, chroma, hue in degrees.
_ATTENTION = ((0.965, 0.045, 105), (0.85, 0.115, 120), (0.68, 0.115, 165), (0.48, 0.105, 235), (0.27, 0.115, 280))
_AGAINST = ((0.44, 0.145, 258), (0.68, 0.105, 250), (0.955, 0.0, 250))
_FOR = ((0.955, 0.0, 60), (0.72, 0.13, 60), (0.44, 0.125, 42))

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def attention_colours(places: Values) -> RGB:
    """Colours of places 0-1 on the scale of attention, any shape (…,), as (…, 3)."""
    return _pick(_attention(), places)


def evidence_colours(places: Values) -> RGB:
    """Colours of places 0-1 on the scale of evidence, 0.5 the pale middle; any shape (…,), as (…, 3)."""
    return _pick(_evidence(), places)


def oklab(rgb: NDArray[np.generic]) -> Values:
    """Lightness, a and b of sRGB colours 0-255 (…, 3)."""
    return np.asarray(np.cbrt(_linear(np.asarray(rgb, np.float64) / 255) @ _TO_CONES.T) @ _TO_LAB.T, np.float64)


def _pick(colours: RGB, places: Values) -> RGB:
    return np.asarray(colours[np.rint(np.clip(places, 0, 1) * (STEPS - 1)).astype(int)], np.uint8)


@cache
def _attention() -> RGB:
    return _even(_ATTENTION, STEPS)


@cache
def _evidence() -> RGB:
    half = STEPS // 2
    return np.concatenate([_even(_AGAINST, half), _even(_FOR, half)])


def _even(stops: tuple[tuple[float, float, float], ...], steps: int) -> RGB:
    """Colours (steps, 3) along the lines between stops, their corners rounded, at equal distances of OKLab."""
    lightness, chroma, hue = np.array(stops).T
    lab = np.stack([lightness, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))], axis=1)
    lab = _along(lab, _FINE)
    reach = np.minimum.reduce([np.arange(_FINE), np.arange(_FINE)[::-1], np.full(_FINE, int(_ROUNDED * _FINE / 2))])
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(lab, axis=0)])
    low, high = np.arange(_FINE) - reach, np.arange(_FINE) + reach + 1
    return _to_rgb(_along((total[high] - total[low]) / (high - low)[:, None], steps))


def _along(lab: Values, count: int) -> Values:
    """`count` points at equal distances along a line of points (k, 3)."""
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    places = np.linspace(0, way[-1], count)
    return np.stack([np.interp(places, way, axis) for axis in lab.T], axis=1)


def _to_rgb(lab: Values) -> RGB:
    linear = np.linalg.solve(_TO_CONES, np.linalg.solve(_TO_LAB, lab.T) ** 3).T
    clipped = np.clip(linear, 0, 1)
    rgb = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * rgb), np.uint8)


def _linear(rgb: Values) -> Values:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
