"""Superpixels over the grid of patches: neighbours with alike features, for bags whose slide is not here."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from sklearn.cluster import AgglomerativeClustering

from sammil_cli.choices import Named
from sammil_cli.errors import InputError
from sammil_cli.regions.placed_patches import PlacedPatches
from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask

HINT = "of bags: patches with alike features, needs no slide"
SETTINGS = ("feature_region_patches",)
SEES = "features"
USES_GPU = False
ADVICE = {
    "one-region": "lower feature_region_patches",
    "few-regions": "lower feature_region_patches",
    "fragments": "raise feature_region_patches",
    "uncovered": "fine where patches were laid over a part of the tissue only",
}

_NEIGHBOUR = 1.25  # steps: patches that share a side, also in sections whose grids are shifted; none at a corner


def make(settings: Named, device: str) -> "AlikePatches":
    """Builds the proposer; see `regions.propose`."""
    del device
    return AlikePatches(mean_size=settings["feature_region_patches"])


class AlikePatches:
    """Connected areas of patches that differ little within: Ward's clustering, in which only neighbours may join.

    `mean_size`: patches of a region, on average; an area that touches no other has its own share of the regions, one
    at least. Regions cover all patches, but for a thin line between areas whose grids do not fit together.
    """

    partition = False
    weights_sha256: str | None = None

    def __init__(self, *, mean_size: float) -> None:
        self._mean_size = mean_size

    def propose(self, view: View) -> list[Proposal]:
        """Regions of whole patches, largest first.

        Raises:
            InputError: the view has pixels, and no features.
        """
        if view.patches is None:
            raise InputError(
                "the proposer features looks at features of patches, and there are none",
                remedy="name a folder of bags: sammil sam --features DIR",
            )
        labels = 1 + view.patches.paint(cluster(view.patches, self._mean_size), view.tissue.shape)
        sizes = np.bincount(labels.ravel())
        boxes = ndimage.find_objects(labels)
        found = []
        for label in 1 + np.argsort(-sizes[1:], kind="stable"):
            if box := boxes[label - 1]:  # none where patches lie across each other: it may be covered whole
                rows, columns = box
                mask = RegionMask.of(labels[box] == label, (columns.start, rows.start))
                found.append(Proposal(mask=mask))
        return found


def cluster(patches: PlacedPatches, mean_size: float) -> NDArray[np.int64]:
    """(n,) the region of each patch, 0, 1, …; regions are connected."""
    graph = _neighbours(patches)
    areas, area = connected_components(graph, directed=False)
    label, regions = np.zeros(len(area), np.int64), 0
    for own in range(areas):
        held = np.flatnonzero(area == own)
        count = max(1, round(len(held) / mean_size))
        if count > 1:
            ward = AgglomerativeClustering(count, connectivity=graph[held][:, held])
            label[held] = ward.fit_predict(patches.features[held])
        label[held] += regions
        regions += count
    return label


def _neighbours(patches: PlacedPatches) -> csr_matrix:
    """(n, n) 1 where two patches lie side by side."""
    n = len(patches.corner)
    pairs = KDTree(patches.corner).query_pairs(_NEIGHBOUR * patches.side, output_type="ndarray")
    one, two = np.concatenate([pairs, pairs[:, ::-1]]).T
    return coo_matrix((np.ones(len(one)), (one, two)), shape=(n, n)).tocsr()
