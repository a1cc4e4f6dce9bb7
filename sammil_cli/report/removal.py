"""What happens to a slide's probability when patches are taken away: in which order, and how far below chance.

The curve of a faithful order falls faster than that of a random one. Removal curves are those of Samek et al. 2017
("Evaluating the visualization of what a deep neural network has learned"), with patches and regions for pixels.
"""

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.ranked_regions import Ranked, RegionPatches, Values

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # of the patches that are gone
DRAWS = 5  # of each random order
# Each order, and the random one that it is held against.
AGAINST = {"attention": "random patches", "evidence": "random patches", "regions": "random regions"}

Orders = dict[str, list[NDArray[np.int64]]]


def orders(slide_id: str, attention: Values, evidence: Values, regions: tuple[RegionPatches, Ranked] | None) -> Orders:
    """The orders in which patches go, each with all of them; of the random ones several draws, the same each time.

    `attention`, `evidence`: the largest first. `regions`: region by region in the order of their ranks, and at random
    within each; patches that lie in none go last. `random regions`: the same with the regions in any order.

    Args:
        attention, evidence: (n,) of the patches; evidence for the class whose probability is looked at.
        regions: None = the slide has none.
    """
    generator = np.random.default_rng([zlib.crc32(slide_id.encode()), len(attention)])
    found: Orders = {
        "attention": [np.argsort(-attention, kind="stable")],
        "evidence": [np.argsort(-evidence, kind="stable")],
        "random patches": [generator.permutation(len(attention)) for _ in range(DRAWS)],
    }
    if regions is not None:
        inside, ranked = regions
        found["regions"] = [_by_region(inside, ranked.order, generator)]
        drawn = [generator.permutation(len(ranked.region)) for _ in range(DRAWS)]
        found["random regions"] = [_by_region(inside, order, generator) for order in drawn]
    return found


def _by_region(regions: RegionPatches, order: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    count = regions.inside.shape[1]
    turn = np.full(count, len(order))
    for place, region in reversed(list(enumerate(order.tolist()))):  # a patch goes with the first of its regions
        turn[regions.inside.indices[regions.inside.indptr[region] : regions.inside.indptr[region + 1]]] = place
    return np.lexsort((generator.random(count), turn))


def numbers_gone(patches: int) -> list[int]:
    """How many patches are gone at each of `SHARES`; one is always left."""
    return [min(int(np.ceil(share * patches - 1e-9)), patches - 1) for share in SHARES]


def at_shares(patches: int, said: Values) -> Values:
    """A curve at `SHARES`, from probabilities at `numbers_gone`: of few patches a whole one is more than a share."""
    return np.interp(SHARES, np.array(numbers_gone(patches)) / patches, said)


def area_between(curve: Values, random: Values) -> float:
    """How far a curve lies below the random one on average, from nothing removed to half: -1 to 1, 0 = no better.

    Args:
        curve, random: (len(SHARES),) probabilities.
    """
    return float(np.trapezoid(random - curve, SHARES) / (SHARES[-1] - SHARES[0]))


def areas(curves: Mapping[str, Values]) -> dict[str, float]:
    """`area_between` of each order that a slide has."""
    return {name: area_between(curves[name], curves[other]) for name, other in AGAINST.items() if name in curves}
