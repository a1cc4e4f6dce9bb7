"""A bag from patch features and regions: which patch lies where, and what each region looks like on average."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, mean_group_features
from sammil_cli.regions.members import find_members, smallest_region
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import RegionMap


def group_patches(
    slide_id: str,
    regions: RegionMap,
    features: NDArray[np.floating[Any]],
    xy: NDArray[np.int32],
    encoder: EncoderFacts,
    *,
    min_share: float,
    rule: str,
    dtype: str,
) -> FeatureBag:
    """Groups patches by regions.

    Args:
        features: (n, d) as precise as there are: the group features are their means, in float32.
        xy: (n, 2) level-0 corners of the patches, whose side is the encoder's `patch_px_level0`.
        min_share, rule: see `regions.membership.find_members`.
        dtype: of all features in the bag.
    """
    members = find_members(regions, xy, encoder.patch_px_level0, min_share, rule)
    group_features, group_region = mean_group_features(features, members)
    return FeatureBag(
        slide_id=slide_id,
        features=features.astype(dtype, copy=False),
        xy=xy,
        region=smallest_region(members, regions.area_px, len(xy)),
        region_area=regions.paper_area_px,
        region_area_um2=regions.area_um2,
        group_features=group_features.astype(dtype),
        group_region=group_region,
        members=members,
        encoder=encoder,
    )


def without_regions(
    slide_id: str, features: NDArray[np.floating[Any]], xy: NDArray[np.int32], encoder: EncoderFacts
) -> FeatureBag:
    """The bag of features (n, d) whose patches are grouped by nothing; `xy` (n, 2) as `FeatureBag` has it."""
    none = np.empty(0, np.int32)
    return FeatureBag(
        slide_id=slide_id,
        features=features,
        xy=xy,
        region=np.full(len(xy), -1, np.int32),
        region_area=np.empty(0, np.int64),
        region_area_um2=np.empty(0),
        group_features=np.empty((0, features.shape[1]), features.dtype),
        group_region=none,
        members=Membership(start=np.zeros(1, np.int64), patch=none),
        encoder=encoder,
    )


def regroup(bag: FeatureBag, regions: RegionMap, *, min_share: float, rule: str) -> FeatureBag:
    """The same patches with other regions.

    Group features are means of the features in the bag. Where these are float16, the means are of rounded features,
    and differ from those of `sammil extract` by that rounding; where they are float32, they are the same to the bit.

    Raises:
        SlideError: see `check_placed`.
    """
    check_placed(bag)
    return group_patches(
        bag.slide_id,
        regions,
        bag.features,
        bag.xy,
        bag.encoder,
        min_share=min_share,
        rule=rule,
        dtype=str(bag.features.dtype),
    )


def check_placed(bag: FeatureBag) -> None:
    """Refuses a bag of which nobody knows what its patches cover.

    Raises:
        SlideError: `E_INPUT`.
    """
    if (bag.xy < 0).any() or bag.encoder.patch_px_level0 < 1:
        raise SlideError(
            "E_INPUT",
            "its bag has no coordinates of patches, so nobody knows in which regions they lie",
            remedy="convert its features with their coordinates (sammil convert-legacy --coords DIR), or encode the "
            "slide (sammil extract); to train without regions: -S model=abmil",
        )
