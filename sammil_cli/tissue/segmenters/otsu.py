"""Otsu's threshold on saturation: found per slide, so that faint and strong stains need no setting."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.tissue.segmenters.saturation import saturation_of
from sammil_cli.tissue.spec import TissueSpec

HINT = "a threshold for each slide"
SETTINGS = ("od_threshold",)  # of the second method that its mask is checked by

_LEAST = 5  # saturation of glass noise: on a blank slide Otsu would split the noise


def foreground(
    rgb: NDArray[np.uint8], excluded: NDArray[np.bool_], spec: TissueSpec, *, median_px: int
) -> NDArray[np.bool_]:
    """True where the median-blurred saturation is above Otsu's threshold, see `tissue.segment`.

    The histogram is taken without what is excluded: a broad black border would shift the threshold.
    """
    saturation = np.asarray(cv2.medianBlur(saturation_of(rgb), max(1, median_px) | 1), np.uint8)
    counted = saturation[~excluded]
    if not counted.size:
        return np.zeros(saturation.shape, np.bool_)
    level, _ = cv2.threshold(counted.reshape(1, -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return saturation > max(level, _LEAST)
