"""Fixed threshold on saturation: glass is grey, tissue is coloured (CLAM's protocol, docs/methods.md §10.1)."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.tissue.spec import TissueSpec

HINT = "fixed threshold"
SETTINGS = ("threshold",)

_AT_ONCE_PX = 1 << 18


def foreground(
    rgb: NDArray[np.uint8], excluded: NDArray[np.bool_], spec: TissueSpec, *, median_px: int
) -> NDArray[np.bool_]:
    """True where the median-blurred saturation (0-255) is above `spec.threshold`, see `tissue.segment`.

    A median is above a threshold where more than half of the pixels are: counting them is the same, and much faster.
    """
    side = max(1, median_px) | 1
    above = saturation_of(rgb)
    cv2.threshold(above, spec.threshold, 1, cv2.THRESH_BINARY, dst=above)
    found = np.empty(above.shape, np.bool_)
    for top, bottom in _strips(above.shape):
        first, last = max(0, top - side), min(len(above), bottom + side)
        part = above[first:last]
        count = cv2.boxFilter(part, cv2.CV_16U, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE)
        np.greater(count[top - first : bottom - first], side * side // 2, out=found[top:bottom])
    return found


def saturation_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The HSV saturation (h, w), 0-255."""
    found = np.empty(rgb.shape[:2], np.uint8)
    for top, bottom in _strips(found.shape):
        cv2.extractChannel(cv2.cvtColor(rgb[top:bottom], cv2.COLOR_RGB2HSV), 1, dst=found[top:bottom])
    return found


def _strips(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Rows of a picture that fit into a processor's cache."""
    rows = max(1, _AT_ONCE_PX // max(1, shape[1]))
    return ((top, min(top + rows, shape[0])) for top in range(0, shape[0], rows))
