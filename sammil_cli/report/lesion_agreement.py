"""How well what a model says of patches and regions agrees with the lesions that somebody drew."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.stats import rankdata
from shapely import Polygon

from sammil_cli.report.ranked_regions import Ranked, RegionPatches

_IN_LESION = 0.5  # share of a patch, or of a region's patches, from which on it counts as one of lesion


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One slide against its lesions; None where a number is not defined.

    `lesion_patches`: those that are lesion by half or more. `evidence_auc`, `attention_auc`: how well each ranks them
    above the others. `top_patch`: whether the patch with the most evidence is one; `top_patch_by_chance`: their share.
    `top_region_lesion`: the share of them among the patches of the region of rank 1; `regions_in_lesion`: the share of
    the regions of which they are half or more, `regions_touching`: of which they are any: the chance of a region that
    is picked blindly.
    """

    lesion_mm2: float
    lesion_patches: int
    evidence_auc: float | None
    attention_auc: float | None
    top_patch: bool
    top_patch_by_chance: float
    top_region_lesion: float | None
    regions_in_lesion: float | None
    regions_touching: float | None

    @property
    def hit(self) -> bool | None:
        """Whether the first region lies in a lesion by half or more of its patches."""
        return None if self.top_region_lesion is None else self.top_region_lesion >= _IN_LESION

    @property
    def touched(self) -> bool | None:
        """Whether the first region holds any patch of lesion."""
        return None if self.top_region_lesion is None else self.top_region_lesion > 0


def agreement(
    attention: NDArray[np.float64],
    evidence: NDArray[np.float64],
    in_lesion: NDArray[np.bool_],
    regions: tuple[RegionPatches, Ranked] | None,
    lesion_mm2: float,
) -> Agreement:
    """Compares a slide with its lesions.

    Args:
        attention, evidence, in_lesion: (n,) of the patches, see `patches_in`.
        regions: ranked for the class of the lesions; None = the slide has none.
    """
    lesion_shares = None if regions is None else regions[0].mean(in_lesion.astype(np.float64))
    first = None if regions is None or lesion_shares is None else float(lesion_shares[regions[1].order[0]])
    return Agreement(
        lesion_mm2=lesion_mm2,
        lesion_patches=int(in_lesion.sum()),
        evidence_auc=ranking(evidence, in_lesion),
        attention_auc=ranking(attention, in_lesion),
        top_patch=bool(in_lesion[evidence.argmax()]),
        top_patch_by_chance=float(in_lesion.mean()),
        top_region_lesion=first,
        regions_in_lesion=None if lesion_shares is None else float((lesion_shares >= _IN_LESION).mean()),
        regions_touching=None if lesion_shares is None else float((lesion_shares > 0).mean()),
    )


def patches_in(lesions: Sequence[Polygon], xy: NDArray[np.int32], side_px: int) -> NDArray[np.bool_]:
    """Which patches (n, 2) of a side are lesion by half or more; level-0 pixels."""
    found = np.zeros(len(xy), bool)
    if not lesions or not len(xy):
        return found
    whole = shapely.union_all(list(lesions))
    shapely.prepare(whole)
    boxes = shapely.box(xy[:, 0], xy[:, 1], xy[:, 0] + side_px, xy[:, 1] + side_px)
    near = np.flatnonzero(shapely.intersects(whole, boxes))
    found[near] = shapely.area(shapely.intersection(boxes[near], whole)) >= _IN_LESION * side_px**2
    return found


def ranking(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float | None:
    """The AUC of values (n,) for the chosen patches against the others; None where one of the two has none."""
    inside, beside = int(chosen.sum()), int((~chosen).sum())
    if not inside or not beside:
        return None
    return float((rankdata(values)[chosen].sum() - inside * (inside + 1) / 2) / (inside * beside))
