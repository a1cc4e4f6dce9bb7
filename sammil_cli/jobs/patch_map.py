"""A bag's patches as a picture where no slide is: white ground, the patches grey, and their regions in colours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import patch_side
from sammil_cli.regions.overlay import draw_regions
from sammil_cli.slides.pixels import GLASS, RGB

_PATCH = 214  # grey
_SIDE_PX = 40.0  # of a patch, where there are few
_LONGEST_PX = 1400
_MARGIN = 2  # patches


@dataclass(frozen=True, kw_only=True)
class PatchMap:
    """`ground` and `regions`: pictures (h, w, 3); `xy` (n, 2) and `side`: the patches in their pixels."""

    ground: RGB
    regions: RGB
    xy: NDArray[np.float64]
    side: float


def map_patches(bag: FeatureBag) -> PatchMap:
    """The map of a bag's patches, no side above 1400 px.

    Raises:
        SlideError: `E_BAG`, the bag does not say where its patches lie.
    """
    side = patch_side(bag.xy, bag.encoder.patch_px_level0)
    corner, far = bag.xy.min(axis=0), bag.xy.max(axis=0)
    scale = min(_SIDE_PX / side, _LONGEST_PX / (float((far - corner).max()) + (1 + 2 * _MARGIN) * side))
    xy = (bag.xy - corner + _MARGIN * side) * scale
    columns, rows = np.ceil(xy.max(axis=0) + (1 + _MARGIN) * side * scale).astype(int).tolist()
    ground, labels = np.full((rows, columns, 3), GLASS, np.uint8), np.full((rows, columns), -1, np.int32)
    low = np.round(xy).astype(int)
    high = np.maximum(np.round(xy + side * scale).astype(int), low + 1)
    for (x0, y0), (x1, y1), region in zip(low, high, bag.region.tolist(), strict=True):
        ground[y0:y1, x0:x1] = _PATCH
        labels[y0:y1, x0:x1] = region
    return PatchMap(ground=ground, regions=draw_regions(ground, labels), xy=xy, side=side * scale)
