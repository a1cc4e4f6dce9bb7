"""What pixels and boxes are, for whoever handles them without a slide."""

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]  # (height, width, 3)
Box = tuple[int, int, int, int]  # x, y, width, height
GLASS = 255  # red, green and blue of what was not scanned, which is painted white

_GREY_SPREAD = 4  # by which the channels of a grey picture differ at most: compression leaves that much
_GLANCE = 16  # one pixel in sixteen, in x and y, is looked at first


def is_grey(rgb: RGB) -> bool:
    """Whether no pixel of a picture (h, w, 3) has a colour: a scan of one channel, or of three equal ones."""
    for part in (np.ascontiguousarray(rgb[::_GLANCE, ::_GLANCE]), rgb):  # nearly every slide shows colour at a glance
        red, green, blue = cv2.split(part)
        brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        if int(cv2.subtract(brightest, darkest).max()) > _GREY_SPREAD:
            return False
    return True
