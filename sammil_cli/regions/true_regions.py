"""Regions that end where a lesion does: what was drawn, cut into the regions of a proposer."""

from collections.abc import Sequence

from shapely import MultiPolygon

from sammil_cli.regions.region_map import Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask, shared
from sammil_cli.tissue.mask import paint_area


def cut_in(drawn: Sequence[MultiPolygon], regions: RegionMap) -> RegionMap:
    """Makes each drawn area a region, and takes it off the others.

    The others stay since slides without lesions have none drawn: with lesions alone, that a slide has any region would
    give its label away.

    Args:
        drawn: level-0 pixels; may overlap or lie in one another, which they do as regions, too.

    Returns:
        The drawn areas in their order, those without a pixel's centre left out, then what is left of the regions. On
        the canvas of these.
    """
    canvas = regions.canvas
    width, height = canvas.size_px
    painted = (paint_area(area, canvas.origin_px, canvas.downsample, (height, width)) for area in drawn)
    lesions = [RegionMask.of(*found) for found in painted if found is not None]
    kept = [Proposal(mask=mask) for mask in lesions]
    for region in range(len(regions)):
        rest = _without(regions.mask(region), lesions)
        if rest is not None:
            iou, stability = float(regions.predicted_iou[region]), float(regions.stability[region])
            kept.append(Proposal(mask=rest, predicted_iou=iou, stability=stability))
    return build(regions.slide_id, canvas, kept)


def _without(mask: RegionMask, others: Sequence[RegionMask]) -> RegionMask | None:
    """The pixels of a mask that are in none of the others; None where none are left."""
    near = [other for other in others if shared(mask.box, other.box)]
    if not near:
        return mask
    pixels = mask.array()
    for other in near:
        pixels &= ~other.within(mask.box)
    return RegionMask.of(pixels, mask.box[:2]) if pixels.any() else None
