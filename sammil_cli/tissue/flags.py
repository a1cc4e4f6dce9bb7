"""What on a tissue mask a person should look at: flags, remarks that begin with a word that stays the same."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli.errors import SlideError
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.segment import Picture, find_tissue
from sammil_cli.tissue.spec import TissueSpec, second_method

LITTLE = 0.01  # of the scanned area: less is glass with dirt on it more often than a small biopsy
MUCH = 0.9  # of the scanned area: glass lies around every real section, so glass was taken for tissue
MANY_PIECES = 10
SMALL_UM2 = 250_000.0  # half a millimetre square: cores and sections are larger, dust and shreds of fat are not
SMALL_SHARE = 0.25  # of the tissue, in more than 10 pieces that small: specks count, and should not
EDGE_SHARE = 0.02  # of the scanned area's outline: cut-off tissue, or a dark edge of the glass
SEEN_SHARE = 0.005  # of the slide: a stroke of 7 mm by 1 mm on a section slide; the edge of a cover slip is less
SAME_SHARE = 0.5  # intersection over union of two methods: below, more is in dispute than agreed
_REPORTED = ("pen:", "black-border:", "grey:", "edit:", "edited:")
_COMPARED_PX = 1024  # longest side of the canvas on which masks are compared
_SECOND_PX = 512  # about the longest side of the thumbnail that the second method sees: it only gives a hint


def flags(picture: Picture, mask: TissueMask, spec: TissueSpec | None) -> list[str]:
    """The flags of a mask: `little-tissue`, `much-tissue`, `fragmented`, `touches-border`, `pen`, `black-border` and
    `methods-disagree`, each with its number; `grey`, a slide without colour, for which there is no second method.

    Args:
        spec: what found the mask, to be compared with another segmenter; None = a person drew it.
    """
    found = []
    share = tissue_share(mask)
    if share < LITTLE:
        found.append(f"little-tissue: {share:.2%} of the scanned area")
    if share > MUCH:
        found.append(f"much-tissue: {share:.0%} of the scanned area")
    areas_um2 = shapely.area(mask.polygons.geoms) * mask.slide_mpp**2
    small = areas_um2[areas_um2 < SMALL_UM2]
    if len(small) > MANY_PIECES and small.sum() > SMALL_SHARE * areas_um2.sum():
        found.append(f"fragmented: {small.sum() / areas_um2.sum():.0%} of it in {len(small)} pieces below 0.25 mm²")
    if (touching := _edge_share(picture, mask)) > EDGE_SHARE:
        found.append(f"touches-border: {touching:.0%} of the scanned area's outline")
    for name, where in (("pen", picture.pen), ("black-border", picture.borders)):
        if (seen := float(where.mean())) > SEEN_SHARE:
            found.append(f"{name}: {seen:.1%} of the slide")
    if spec is not None and picture.grey:
        found.append("grey: no colour on this slide, so pen, dust and shadows look like tissue")
    elif spec is not None:
        found += _disagreement(picture, mask, spec)
    return found


def tissue_share(mask: TissueMask) -> float:
    """The share of the scanned area that is tissue."""
    return float(mask.polygons.area) / max(1, mask.bounds_px[2] * mask.bounds_px[3])


def mask_iou(one: TissueMask, other: TissueMask, side_px: int = _COMPARED_PX) -> float:
    """Intersection over union of two masks of one slide, on a canvas of up to `side_px`; 1 where both are empty."""
    width, height = one.slide_size_px
    downsample = max(1.0, max(width, height) / side_px)
    shape = (max(1, round(height / downsample)), max(1, round(width / downsample)))
    return iou(one.raster((0, 0), downsample, shape), other.raster((0, 0), downsample, shape))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def is_flagged(remarks: Sequence[str]) -> bool:
    """Whether the remarks doubt the mask; what was taken out or drawn, and grey, are only reported."""
    return any(not flag.startswith(_REPORTED) for flag in remarks)


def _edge_share(picture: Picture, mask: TissueMask) -> float:
    x, y, width, height = mask.bounds_px
    step_x, step_y = picture.scale_px0
    inner = shapely.box(x + step_x, y + step_y, x + width - step_x, y + height - step_y)
    strip = shapely.difference(shapely.box(x, y, x + width, y + height), inner)
    return float(shapely.intersection(mask.polygons, strip).area / max(strip.area, 1.0))


def _disagreement(picture: Picture, mask: TissueMask, spec: TissueSpec) -> list[str]:
    other = second_method(spec.segmenter)
    picture = picture.shrunk(_SECOND_PX)
    try:
        second = find_tissue(picture, replace(spec, segmenter=other))
    except SlideError:
        second = picture.mask_of(MultiPolygon())
    same = mask_iou(mask, second, _SECOND_PX)
    return [f"methods-disagree: {same:.2f} of both masks is common to {other}"] if same < SAME_SHARE else []
