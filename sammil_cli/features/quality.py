"""Is a bag good? How its patches and regions meet, in numbers of one slide, and flags: what to look at."""

from dataclasses import asdict, dataclass

import numpy as np

from sammil_cli.features.bag import FeatureBag
from sammil_cli.regions.contrast import contrast, squares

# More than a quarter of the patches in no region, as `regions.quality.UNCOVERED`.
NO_REGION = 0.25
# Half of the regions have no patch, so no group feature: they were found for nothing.
EMPTY_REGIONS = 0.5
# Patches of one region are as different as any, so that a group feature is the slide's mean, and masking by regions is
# masking at random. On 8 thumbnails of CAMELYON16 (superpixels, encoder texture) it was 0.19 to 0.39.
FLAT = 0.05
# Of fewer patches in regions the contrast may be below 0.05 by chance: 24 patches of a real slide gave -0.09.
ENOUGH_PATCHES = 100


@dataclass(frozen=True, kw_only=True)
class BagQuality:
    """The numbers of one bag; shares from 0 to 1, None where a number means nothing (no region, say)."""

    patches: int
    no_region: float  # share of the patches that lie in no region
    regions_per_patch: float  # on average, of the patches that lie in any
    regions: int
    regions_without_patch: int
    regions_below_patch: float | None  # share of the regions that are smaller than a patch
    group_features: int
    contrast: float | None  # share of the variance of features that lies between regions, see `regions.contrast`
    contrast_of_squares: float | None  # the same of as many squares of patches, which know nothing of the slide


def measure(bag: FeatureBag) -> BagQuality:
    """Measures a bag; a patch counts for the smallest region that covers it."""
    held, regions, size = bag.region >= 0, len(bag.region_area), bag.members.size
    patch_um2 = (bag.encoder.patch_px * bag.encoder.patch_mpp) ** 2
    x, y = bag.xy[held].T
    square = np.full(len(bag.xy), -1, np.int64)
    square[held] = squares(x, y, len(np.unique(bag.region[held])))
    return BagQuality(
        patches=len(bag.xy),
        no_region=1 - float(held.mean()),
        regions_per_patch=len(bag.members.patch) / max(1, int(np.count_nonzero(held))),
        regions=regions,
        regions_without_patch=int(np.count_nonzero(size == 0)),
        regions_below_patch=float((bag.region_area_um2 < patch_um2).mean()) if regions else None,
        group_features=len(bag.group_region),
        contrast=contrast(bag.features, bag.region),
        contrast_of_squares=contrast(bag.features, square),
    )


def quality_record(quality: BagQuality) -> dict[str, object]:
    """The numbers and the flags, for a JSON file."""
    return {**asdict(quality), "flags": flags(quality)}


def flags(quality: BagQuality) -> list[str]:
    """Notes on bags to look at, `word: what it is; what to do`, the word always the same."""
    found = []
    if quality.no_region > NO_REGION:
        found.append(
            f"no-region: {quality.no_region:.0%} of the patches lie in no region; see what sammil sam says of this "
            "slide, or set membership_rule: overlap and membership_min_share: 0"
        )
    if quality.regions_without_patch > EMPTY_REGIONS * quality.regions:
        found.append(
            f"empty-regions: {quality.regions_without_patch} of {quality.regions} regions have no patch and so no "
            "group feature; lower membership_min_share or patch_px, or see which tissue sammil patch leaves out"
        )
    enough = quality.patches * (1 - quality.no_region) >= ENOUGH_PATCHES
    if enough and quality.contrast is not None and quality.contrast < FLAT:
        found.append(
            f"flat-features: patches differ within regions as much as between them (contrast {quality.contrast:.2f}, "
            f"as many squares {quality.contrast_of_squares or 0:.2f}); try another proposer or encoder"
        )
    return found
