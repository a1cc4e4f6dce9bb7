"""Regions over a grid of patches, for `context.py`: the true ones, worse and worse ones, and such as know nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from skimage.segmentation import slic
from sklearn.cluster import AgglomerativeClustering

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_CHECKED = 5  # moves between two looks at the IoU


@dataclass(frozen=True, kw_only=True)
class Layout:
    """n patches on a grid: `place` (n, 2) column and row, `true` (n,) region, 0 … m - 1.

    `features` (n, d) and `thumbnails` (n, t, t, 3) of the patches.
    """

    place: Ints
    true: Ints
    features: Floats
    thumbnails: Floats

    @property
    def regions(self) -> int:
        """m."""
        return int(self.true.max()) + 1


def draw_regions(place: Ints, mean_size: float, rng: np.random.Generator) -> Ints:
    """Connected shapes of about `mean_size` patches: nearest seeds by a distance that is bent at random."""
    count = max(2, round(len(place) / mean_size))
    seeds = place[rng.choice(len(place), count, replace=False)]
    stretch = rng.uniform(0.6, 1.6, (count, 2))
    distance = np.linalg.norm((place[:, None] - seeds[None]) * stretch[None], axis=2)
    return _numbered(distance.argmin(axis=1))


def _true(layout: Layout, rng: np.random.Generator) -> Ints:
    del rng
    return layout.true


def _of_iou(wanted: float) -> Callable[[Layout, np.random.Generator], Ints]:
    def perturbed(layout: Layout, rng: np.random.Generator) -> Ints:
        """Patches at borders go over to a neighbour, until the mean IoU with the true regions is `wanted`."""
        found, (first, second) = layout.true.copy(), _neighbours(layout.place)
        for move in range(100 * len(found)):
            if move % _CHECKED == 0 and mean_iou(layout.true, found) <= wanted:
                break
            borders = np.flatnonzero(found[first] != found[second])
            if not len(borders):
                break
            edge = rng.choice(borders)
            found[first[edge]] = found[second[edge]]
        return found

    return perturbed


def _clustered(layout: Layout, rng: np.random.Generator) -> Ints:
    """Neighbours with features alike, as many regions as there are."""
    del rng
    first, second = _neighbours(layout.place)
    shape = (len(layout.place),) * 2
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=shape)
    found = AgglomerativeClustering(layout.regions, connectivity=graph).fit_predict(layout.features)
    return np.asarray(found, np.int64)


def _superpixels(layout: Layout, rng: np.random.Generator) -> Ints:
    """SLIC over the picture that the patches make, each patch in the superpixel that has most of it."""
    del rng
    side = layout.thumbnails.shape[1]
    columns, rows = layout.place.max(axis=0) + 1
    picture = np.ones((rows * side, columns * side, 3), np.float32)
    for (x, y), thumbnail in zip(layout.place.tolist(), layout.thumbnails, strict=True):
        picture[y * side : (y + 1) * side, x * side : (x + 1) * side] = thumbnail
    labels = slic(picture, n_segments=layout.regions, compactness=10, start_label=0, channel_axis=-1)
    cells = labels.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    return _numbered(np.array([np.bincount(cells[y, x]).argmax() for x, y in layout.place]))


def _blind(layout: Layout, rng: np.random.Generator) -> Ints:
    """Squares of about the regions' mean size."""
    del rng
    side = max(1, round(float(np.sqrt(len(layout.place) / layout.regions))))
    column, row = (layout.place // side).T
    return _numbered(row * (column.max() + 1) + column)


def _shuffled(layout: Layout, rng: np.random.Generator) -> Ints:
    """The true regions' sizes, each patch anywhere: no shapes at all."""
    return rng.permutation(layout.true)


KINDS: dict[str, Callable[[Layout, np.random.Generator], Ints]] = {
    "true": _true,
    "iou-0.75": _of_iou(0.75),
    "iou-0.5": _of_iou(0.5),
    "clustered": _clustered,
    "superpixels": _superpixels,
    "blind": _blind,
    "shuffled": _shuffled,
}


def mean_iou(true: Ints, found: Ints) -> float:
    """The mean over patches of the best IoU of their true region with a found one."""
    both = np.zeros((true.max() + 1, found.max() + 1))
    np.add.at(both, (true, found), 1)
    union = both.sum(1)[:, None] + both.sum(0)[None] - both
    return float(((both / union).max(axis=1) * both.sum(1)).sum() / len(true))


def _neighbours(place: Ints) -> tuple[Ints, Ints]:
    """Pairs of patches that share a side, each in both directions: (e,), (e,)."""
    at = {(x, y): number for number, (x, y) in enumerate(place.tolist())}
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1))
    pairs = [(n, at[x + dx, y + dy]) for (x, y), n in at.items() for dx, dy in steps if (x + dx, y + dy) in at]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second


def _numbered(label: NDArray[np.integer]) -> Ints:
    """Labels from 0 on without gaps."""
    return np.asarray(np.unique(label, return_inverse=True)[1].reshape(-1), np.int64)
