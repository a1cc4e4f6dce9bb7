"""What pixels and boxes are, for whoever handles them without a slide."""

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]  # (height, width, 3)
Box = tuple[int, int, int, int]  # x, y, width, height
GLASS = 255  # red, green and blue of what was not scanned, which is painted white
