"""Otsu's threshold on saturation: found per slide, so that faint and strong stains need no setting."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.tissue.segmenters.saturation import blurred_saturation

_LEAST = 5  # saturation of glass noise: on a blank slide Otsu would split the noise


def foreground(rgb: NDArray[np.uint8], *, median_px: int, threshold: int) -> NDArray[np.bool_]:
    """True where the median-blurred saturation is above Otsu's threshold. rgb (h, w, 3) -> (h, w).

    `threshold` is not used: the slide's own histogram decides.
    """
    saturation = blurred_saturation(rgb, median_px)
    level, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return saturation > max(level, _LEAST)
