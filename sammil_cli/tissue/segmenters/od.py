"""Fixed threshold on optical density: how much light is missing compared with the slide's own glass.

It sees what takes light without much saturation (faint haematoxylin, brown stains). Edges of the cover slip, dust and
shadows take little light, and the same of each colour: that sets them apart from stains. On a grey slide nothing does:
all that takes light is tissue.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import is_grey
from sammil_cli.tissue.artefacts import glass_colour
from sammil_cli.tissue.spec import TissueSpec

HINT = "optical density: faint and IHC stains, grey slides"
SETTINGS = ("od_threshold",)

_DENSE = 0.35  # from this mean density on a thing is no shadow, whatever its colour: folds, dense nuclei
_UNEQUAL = (
    0.2  # of the mean density, by which a stain's densities differ at least: H, E and DAB by 0.7, H upon DAB by 0.3
)


def foreground(
    rgb: NDArray[np.uint8], excluded: NDArray[np.bool_], spec: TissueSpec, *, median_px: int
) -> NDArray[np.bool_]:
    """True where the optical density of the median-blurred picture is above `spec.od_threshold`, see `tissue.segment`.

    The density is the root mean square over the three channels: a stain that takes one colour only counts, too.
    """
    blurred = np.asarray(cv2.medianBlur(rgb, max(1, median_px) | 1), np.uint8)
    grey = is_grey(rgb)
    seen = rgb[~excluded][None] if grey and not excluded.all() else rgb  # what is painted white is no glass
    levels = np.arange(256, dtype=np.float32)
    tables = [np.log10((glass + 1) / (levels + 1)).clip(min=0).astype(np.float32) for glass in glass_colour(seen)]
    red, green, blue = (
        np.asarray(cv2.LUT(blurred[..., channel], table), np.float32) for channel, table in enumerate(tables)
    )
    total = red + green + blue
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    dense = red**2 + green**2 + blue**2 > 3 * spec.od_threshold**2
    if grey:
        return np.asarray(dense, np.bool_)
    return np.asarray(dense & ((spread > _UNEQUAL * total / 3) | (total > 3 * _DENSE)), np.bool_)
