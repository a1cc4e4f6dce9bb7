"""Fixed threshold on saturation: glass is grey, tissue is coloured (CLAM's protocol, METHODS §10.1)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.tissue.spec import TissueSpec


def foreground(
    rgb: NDArray[np.uint8], excluded: NDArray[np.bool_], spec: TissueSpec, *, median_px: int
) -> NDArray[np.bool_]:
    """True where the median-blurred saturation (0-255) is above `spec.threshold`, see `tissue.segment`."""
    return blurred_saturation(rgb, median_px) > spec.threshold


def blurred_saturation(rgb: NDArray[np.uint8], median_px: int) -> NDArray[np.uint8]:
    """The HSV saturation after a median blur of `median_px` pixels (made odd)."""
    saturation = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1]
    return np.asarray(cv2.medianBlur(saturation, max(1, median_px) | 1), np.uint8)
