"""Superpixels, merged where their colours are alike: regions without any weights."""

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb, slic

from sammil_cli.choices import Named
from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.slides.pixels import RGB

HINT = "needs no weights"
SETTINGS = ("superpixel_method", "superpixel_area_px", "superpixel_merge")
USES_GPU = False
ADVICE = {
    "one-region": "lower superpixel_merge",
    "few-regions": "lower superpixel_merge or superpixel_area_px, or set sam_mpp",
    "flat": "lower superpixel_merge, or try superpixel_method felzenszwalb",
    "fragments": "raise superpixel_merge or superpixel_area_px",
}

Labels = NDArray[np.int64]  # (h, w): 0 on glass, pieces from 1
Lab = NDArray[np.floating[Any]]  # (h, w, 3)

_SMOOTHING_PX = 1.0  # SLIC's, too
_GLASS = (1e4, 0.0, 0.0)  # lighter than any colour
_SMALLEST = 0.1  # of the wanted area
# Mean areas of Felzenszwalb's pieces grow with its scale k as 2.1 k ** 1.36: fitted between 20 and 200 on ten
# thumbnails of CAMELYON16 and three slides, whose own figures at one k lie within a factor of 2 around it.
_AREA_AT_1, _GROWTH = 2.1, 1.36
_SKIMAGE_SCALE = 255  # scikit-image divides k by it, for colours up to 1
_EIGHT = np.ones((3, 3), bool)


def make(settings: Named, device: str) -> "Superpixels":
    """Builds the proposer; see `regions.propose`."""
    del device
    return Superpixels(
        method=settings["superpixel_method"], area_px=settings["superpixel_area_px"], merge=settings["superpixel_merge"]
    )


class Superpixels:
    """Small pieces inside the tissue, of which neighbours become one region where their colours are alike.

    `method`: `slic` gives compact pieces, `felzenszwalb` pieces that end where the colour changes. Neighbours whose
    mean Lab colours differ by less than `merge` become one; chains of such neighbours, too.
    """

    partition = True
    weights_sha256: str | None = None

    def __init__(self, *, method: str, area_px: int, merge: float) -> None:
        self._method, self._area_px, self._merge = method, area_px, merge

    def propose(self, view: View) -> list[Proposal]:
        """Regions that tile the tissue, largest first."""
        if not view.tissue.any():
            return []
        cut = _slic if self._method == "slic" else _felzenszwalb
        merged = merge_alike(cut(view.image, view.tissue, self._area_px), rgb2lab(view.image), self._merge)
        sizes = np.bincount(merged.ravel())
        boxes = ndimage.find_objects(merged)
        masks = []
        for label in 1 + np.argsort(-sizes[1:], kind="stable"):
            rows, columns = boxes[label - 1]
            masks.append(RegionMask.of(merged[rows, columns] == label, (columns.start, rows.start)))
        return [Proposal(mask=mask) for mask in masks]


def merge_alike(pieces: Labels, lab: Lab, difference: float) -> Labels:
    """Joins neighbours (of eight) whose mean colours differ by less than `difference`; labels are 0 on glass."""
    counts = np.bincount(pieces.ravel())
    total = [np.bincount(pieces.ravel(), weights=lab[..., channel].ravel()) for channel in range(3)]
    colours = np.stack(total, 1) / np.maximum(counts, 1)[:, None]
    # Glass is no neighbour of anything, or it would join pieces that do not touch.
    one, two = _neighbours(pieces).T
    alike = np.linalg.norm(colours[one] - colours[two], axis=1) < difference
    links = coo_matrix((np.ones(alike.sum()), (one[alike], two[alike])), shape=(len(counts), len(counts)))
    _, groups = connected_components(links, directed=False)
    merged = groups[pieces] + 1
    merged[pieces == 0] = 0
    return _numbered(merged)


def _slic(image: RGB, tissue: NDArray[np.bool_], area_px: int) -> Labels:
    count = max(1, round(tissue.sum() / area_px))
    with warnings.catch_warnings():  # of its first guess at the centres; there are fewer then
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        pieces: Labels = slic(
            image, n_segments=count, mask=tissue, start_label=1, compactness=10, sigma=_SMOOTHING_PX, convert2lab=True
        )
    pieces[tissue & (pieces == 0)] = pieces.max() + 1  # all of it where one superpixel was asked for
    return _numbered(pieces)


def _felzenszwalb(image: RGB, tissue: NDArray[np.bool_], area_px: int) -> Labels:
    inside = tissue.astype(np.float32)
    weight = np.maximum(ndimage.gaussian_filter(inside, _SMOOTHING_PX), 1e-6)
    picture = rgb2lab(image).astype(np.float32)
    for channel in range(3):  # of tissue alone: glass would give each piece a pale rim
        picture[..., channel] = ndimage.gaussian_filter(picture[..., channel] * inside, _SMOOTHING_PX) / weight
    picture[~tissue] = _GLASS
    scale = (area_px / _AREA_AT_1) ** (1 / _GROWTH)
    found = felzenszwalb(picture, scale=scale * _SKIMAGE_SCALE, sigma=0, min_size=round(area_px * _SMALLEST)) + 1
    found[~tissue] = 0
    return _parts(found)


def _parts(labels: Labels) -> Labels:
    """Each connected part of each label gets a label of its own: islands that were one with glass are none."""
    parts = np.zeros_like(labels)
    count = 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            own, found = ndimage.label(labels[box] == label, structure=_EIGHT)
            parts[box] += np.where(own > 0, own + count, 0)
            count += found
    return parts


def _neighbours(labels: Labels) -> NDArray[np.int64]:
    """(n, 2): each pair of labels that touch, be it at a corner; no glass."""
    pairs = [
        (labels[:-1], labels[1:]),
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1, :-1], labels[1:, 1:]),
        (labels[:-1, 1:], labels[1:, :-1]),
    ]
    found = []
    for one, two in pairs:
        touch = (one != two) & (one > 0) & (two > 0)
        found.append(np.unique(np.sort(np.stack([one[touch], two[touch]], 1), axis=1), axis=0))
    return np.unique(np.concatenate(found), axis=0)


def _numbered(labels: Labels) -> Labels:
    """The same labels as 1, 2, 3 … in their order; 0 stays."""
    present = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    new = np.zeros(int(labels.max()) + 1, np.int64)
    new[present] = np.arange(1, len(present) + 1)
    return new[labels]


def workload(settings: Named, tissue: NDArray[np.bool_]) -> dict[str, float]:
    """What a view with this tissue (h, w) asks for, in units of `rates`."""
    del settings
    return {"megapixels": tissue.size / 1e6}


def rates(settings: Named, device: str, view: View) -> dict[str, float]:
    """Seconds per unit of `workload`, measured on a view, here and now."""
    proposer = make(settings, device)
    start = time.perf_counter()
    proposer.propose(view)
    return {"megapixels": 1e6 * (time.perf_counter() - start) / view.tissue.size}
