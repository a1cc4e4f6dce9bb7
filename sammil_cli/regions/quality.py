"""Are a slide's regions good? Numbers of one slide, and flags: what a person should look at."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.contrast import contrast, squares
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.regions.region_mask import middles
from sammil_cli.slides.pixels import RGB
from sammil_cli.tissue.mask import TissueMask

# More than a quarter of the tissue in no region: its patches have no group feature, and eq. 7 takes them for small.
UNCOVERED = 0.25
# One region that is nearly all tissue: what follows is AB-MIL with the slide's mean as an additional patch.
ONE_REGION = 0.9
# Fewer regions than most sections have kinds of tissue (tumour, stroma, fat, blood, necrosis).
FEW_REGIONS = 5
# On 14 thumbnails of CAMELYON16 with 3 superpixels or more these had 0.09 to 0.37, as many squares 0.05 to 0.31: what
# has less follows the tissue no better than lines drawn blindly.
FLAT = 0.05
# The median region is less than 100 µm square: smaller than a patch of 256 px at 0.5 µm per pixel.
FRAGMENT_UM2 = 10_000.0


@dataclass(frozen=True, kw_only=True)
class RegionQuality:
    """The numbers of one slide; shares from 0 to 1, None where a number means nothing (no region, say)."""

    regions: int
    coverage: float  # share of the tissue that lies in any region
    largest_share: float  # share of the tissue that the region with most of it covers
    overlap: float | None  # regions on a pixel of covered tissue, on average
    area_um2_q05: float | None
    area_um2_q50: float | None
    area_um2_q95: float | None
    predicted_iou: float | None  # mean
    stability: float | None  # mean
    contrast: float | None  # share of the variance of Lab colours that lies between regions, see `regions.contrast`
    contrast_of_squares: float | None  # the same of as many squares, which know nothing of the picture


def measure(regions: RegionMap, picture: RGB, tissue: TissueMask) -> RegionQuality:
    """Measures regions on a picture of their canvas.

    Args:
        picture: (h, w, 3), the whole canvas at its own scale or shrunk by a whole number.
    """
    canvas, (rows, columns) = regions.canvas, picture.shape[:2]
    step = -(-max(canvas.size_px) // max(rows, columns))
    inside = tissue.raster(canvas.origin_px, canvas.downsample * step, (rows, columns))
    labels, layers, held = _seen(regions, inside, step)
    whole, covered = max(1, int(np.count_nonzero(inside))), inside & (layers > 0)
    y, x = np.nonzero(covered)
    colours, own = _lab(picture)[y, x], labels[y, x]
    q05, q50, q95 = _areas(regions)
    return RegionQuality(
        regions=len(regions),
        coverage=len(x) / whole,
        largest_share=int(held.max(initial=0)) / whole,
        overlap=float(layers[y, x].mean()) if len(x) else None,
        area_um2_q05=q05,
        area_um2_q50=q50,
        area_um2_q95=q95,
        predicted_iou=float(regions.predicted_iou.mean()) if len(regions) else None,
        stability=float(regions.stability.mean()) if len(regions) else None,
        contrast=contrast(colours, own),
        contrast_of_squares=contrast(colours, squares(x, y, len(np.unique(own)))),
    )


def quality_record(quality: RegionQuality, advice: Mapping[str, str]) -> dict[str, object]:
    """The numbers and the flags, for a JSON file."""
    return {**asdict(quality), "flags": flags(quality, advice)}


def flags(quality: RegionQuality, advice: Mapping[str, str]) -> list[str]:
    """Notes on regions to look at, `word: what it is; what to do`, the word always the same.

    Args:
        advice: what to do by word, the proposer's ADVICE; without any: look at the overlay.
    """
    found = dict(_standing_out(quality)) if quality.regions else {"no-regions": "nothing was proposed"}
    return [f"{word}: {what}; {advice.get(word, 'look at the overlay')}" for word, what in found.items()]


def _standing_out(quality: RegionQuality) -> Iterator[tuple[str, str]]:
    """The flags of a slide that has regions, as word and what it is."""
    if quality.coverage < 1 - UNCOVERED:
        yield "uncovered", f"{1 - quality.coverage:.0%} of the tissue lies in no region"
    if quality.largest_share > ONE_REGION:
        yield "one-region", f"one region covers {quality.largest_share:.0%} of the tissue"
    if quality.regions < FEW_REGIONS:
        yield "few-regions", f"{quality.regions} only"
    if quality.contrast is not None and quality.contrast < FLAT:
        both = f"contrast {quality.contrast:.2f}, as many squares {quality.contrast_of_squares or 0:.2f}"
        yield "flat", f"colours vary within regions as much as between them ({both})"
    if quality.area_um2_q50 is not None and quality.area_um2_q50 < FRAGMENT_UM2:
        yield "fragments", f"half of the regions are smaller than {quality.area_um2_q50:,.0f} µm²"


def _seen(
    regions: RegionMap, inside: NDArray[np.bool_], step: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """What a picture (h, w) shows at the middle of its pixels, each of `step` x `step` canvas pixels: the smallest
    region (-1 = none) and how many regions; and of each region the pixels that are `inside`."""
    x, y = (middles(0, size, step) for size in regions.canvas.size_px)
    labels, layers = np.full(inside.shape, -1, np.int32), np.zeros(inside.shape, np.int32)
    held = np.zeros(len(regions), np.int64)
    for region in np.lexsort((-np.arange(len(regions)), -regions.area_px)):
        mask = regions.mask(int(region))
        left, top, wide, high = mask.box
        first, last = np.searchsorted(x, (left, left + wide))
        upper, lower = np.searchsorted(y, (top, top + high))
        seen = mask.at(x[first:last], y[upper:lower])  # nothing as large as the region is drawn
        part = (slice(upper, lower), slice(first, last))
        labels[part][seen] = region
        layers[part] += seen
        held[region] = np.count_nonzero(seen & inside[part])
    return labels, layers, held


def _areas(regions: RegionMap) -> tuple[float | None, ...]:
    """Areas in µm² of small, median and large regions; None of no region, and where nobody knows the slide's mpp."""
    if not len(regions) or np.isnan(regions.canvas.mpp):
        return (None, None, None)
    return tuple(map(float, np.quantile(regions.area_um2, (0.05, 0.5, 0.95))))


def _lab(picture: RGB) -> NDArray[np.float32]:
    """(h, w, 3) CIE Lab, in which equal steps look equally different."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
