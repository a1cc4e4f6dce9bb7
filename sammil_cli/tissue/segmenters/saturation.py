"""Fixed threshold on saturation: glass is grey, tissue is coloured (CLAM's protocol, docs/methods.md §10.1)."""

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
    above = np.asarray(cv2.threshold(saturation_of(rgb), spec.threshold, 1, cv2.THRESH_BINARY)[1], np.uint8)
    count = cv2.boxFilter(above, cv2.CV_16U, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(count > side * side // 2, np.bool_)


def saturation_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The HSV saturation (h, w), 0-255."""
    found = np.empty(rgb.shape[:2], np.uint8)
    rows = max(1, _AT_ONCE_PX // max(1, rgb.shape[1]))  # a second picture of the slide's size is not needed
    for top in range(0, len(rgb), rows):
        cv2.extractChannel(cv2.cvtColor(rgb[top : top + rows], cv2.COLOR_RGB2HSV), 1, dst=found[top : top + rows])
    return found
