"""Patches painted on a picture: their mean, or the one that says most, and what lies below them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.scales import Values
from sammil_cli.slides.pixels import RGB

Index = NDArray[np.int32]

_GROUND, _LIFT = 0.5, 127  # grey of the slide below a heat map: light, so that only patches are coloured
_OPACITY = 0.8


def paint(shape: tuple[int, int], xy: Values, side: float, values: Values) -> Values:
    """Patch values on a picture of `shape` (rows, columns), their mean where patches overlap, NaN beside them."""
    total, count = np.zeros(shape), np.zeros(shape)
    for x0, y0, x1, y1, value in _boxes(xy, side, values):
        total[y0:y1, x0:x1] += value
        count[y0:y1, x0:x1] += 1
    return np.asarray(np.divide(total, count, out=np.full(shape, np.nan), where=count > 0), np.float64)


def strongest(shape: tuple[int, int], xy: Values, side: float, strength: Values) -> Index:
    """Which patch each pixel of a picture of `shape` (rows, columns) shows: of several the strongest, -1 = none.

    A patch smaller than a pixel takes a whole one, so that a small focus in a huge slide does not vanish.

    Args:
        xy: (n, 2) corners in pixels. side: of a patch. strength: (n,).
    """
    shown = np.full(shape, -1, np.int32)
    order = np.argsort(strength, kind="stable")
    for x0, y0, x1, y1, index in _boxes(xy[order], side, order):
        shown[y0:y1, x0:x1] = index
    return shown


def heat(image: RGB, shown: Index, colours: RGB) -> RGB:
    """A picture (h, w, 3) in light grey, and on it the colours (n, 3) of the patches that `strongest` shows."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    ground = cv2.convertScaleAbs(grey, alpha=_GROUND, beta=_LIFT)
    mixed = cv2.addWeighted(colours[shown], _OPACITY, ground, 1 - _OPACITY, 0)  # of -1 any: it is not shown
    return np.where(shown[..., None] >= 0, mixed, ground)


def _boxes(xy: Values, side: float, values: NDArray[np.generic]) -> "zip[tuple[int, int, int, int, float]]":
    """Left, top, right, bottom in whole pixels, at least one, and the value of each patch."""
    low = np.round(xy).astype(int)
    high = np.maximum(np.maximum(np.round(xy + side).astype(int), low + 1), 0)  # left of the picture: an empty slice
    return zip(*np.maximum(low, 0).T.tolist(), *high.T.tolist(), values.tolist(), strict=True)
