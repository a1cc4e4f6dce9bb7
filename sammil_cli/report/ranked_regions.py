"""Regions of a slide, ranked by how much more of a class's evidence they hold than of the patches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import grid_places, grid_step

Values = NDArray[np.float64]
_ONE_STEP = 1.01  # of the grid; places are rounded to float32


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The k regions that hold patches, in the order of their ids, as the patches speak for one class.

    All (k,), NaN where a number is not defined. `region`: ids. `patches`: members. `patch_share`: of all patches.
    `evidence_share`: of what the slide's patches say for the class beyond chance, Σ max(p - 1/C, 0). `attention_share`:
    of the attention of all patches. `probability`: mean p of the member patches, not calibrated. `contrast`: that, less
    the mean p of the patches around the region: those that are no members and lie within one step of the grid of one.
    `rank`: 1 = the largest evidence share beyond the patch share; of equals, and without evidence, the largest mean.

    A patch may lie in several regions, so that shares need not add up to 1.
    """

    region: NDArray[np.int64]
    patches: NDArray[np.int64]
    patch_share: Values
    evidence_share: Values
    attention_share: Values
    probability: Values
    contrast: Values
    rank: NDArray[np.int64]

    @property
    def order(self) -> NDArray[np.int64]:
        """(k,) places in these arrays, the first rank first."""
        return np.argsort(self.rank)


class RegionPatches:
    """Which patches lie in and around the regions of a bag, to rank them for any class."""

    def __init__(self, bag: FeatureBag) -> None:
        size = bag.members.size
        self.held = np.flatnonzero(size)
        start, patches = bag.members.start, len(bag.xy)
        ones = np.ones(len(bag.members.patch))
        self.inside = csr_matrix((ones, bag.members.patch, start), shape=(len(size), patches))[self.held]
        around = (self.inside @ _next_to(bag)) > 0
        self.around = (around - around.multiply(self.inside > 0)).astype(np.float64)

    def rank(self, attention: Values, evidence: Values, chance: float) -> Ranked:
        """The regions as patches speak for a class.

        Args:
            attention, evidence: (n,) of the patches; evidence is the probability of the class.
            chance: 1 / classes.
        """
        size = np.asarray(self.inside.sum(axis=1)).ravel()
        beyond = np.maximum(evidence - chance, 0)
        probability = (self.inside @ evidence) / size
        neighbours = np.asarray(self.around.sum(axis=1)).ravel()
        contrast = np.full(len(size), np.nan)
        np.divide(self.around @ evidence, neighbours, out=contrast, where=neighbours > 0)
        patch_share, evidence_share = size / len(evidence), _shares(self.inside, beyond)
        more = probability if np.isnan(evidence_share).any() else evidence_share - patch_share
        rank = np.empty(len(size), np.int64)
        rank[np.lexsort((self.held, -probability, -more))] = np.arange(1, len(size) + 1)
        return Ranked(
            region=self.held,
            patches=size.astype(np.int64),
            patch_share=patch_share,
            evidence_share=evidence_share,
            attention_share=_shares(self.inside, attention),
            probability=probability,
            contrast=probability - contrast,
            rank=rank,
        )

    def mean(self, values: Values) -> Values:
        """(k,) the mean of values (n,) over the member patches."""
        return np.asarray((self.inside @ values) / np.asarray(self.inside.sum(axis=1)).ravel(), np.float64)


def patch_mm2(bag: FeatureBag) -> float:
    """The area that a patch adds to its grid, mm²; NaN where the scale or the grid is not known."""
    encoder = bag.encoder
    step = 0 if (bag.xy == -1).all() else grid_step(bag.xy, encoder.patch_px_level0)
    return float((step * slide_mpp(bag)) ** 2 / 1e6) if step else float("nan")


def slide_mpp(bag: FeatureBag) -> float:
    """µm per level-0 pixel, by what the patches cover; NaN where it is not known."""
    encoder = bag.encoder
    return encoder.patch_px * encoder.patch_mpp / encoder.patch_px_level0 if encoder.patch_px_level0 else float("nan")


def _shares(inside: csr_matrix, values: Values) -> Values:
    whole = float(values.sum())
    sums = np.asarray(inside @ values, np.float64)
    return sums / whole if whole > 0 else np.full(len(sums), np.nan)


def _next_to(bag: FeatureBag) -> csr_matrix:
    """(n, n) which patches lie within one step of the grid of each other, diagonally, too; none of unknown places."""
    from scipy.spatial import cKDTree  # here: it takes a while to load

    count, places = len(bag.xy), grid_places(bag.xy, bag.encoder.patch_px_level0)
    if places is None:
        return csr_matrix((count, count))
    one, other = cKDTree(places).query_pairs(_ONE_STEP, p=np.inf, output_type="ndarray").T
    ones = np.ones(2 * len(one))
    return csr_matrix((ones, (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(count, count))
