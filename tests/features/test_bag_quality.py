"""Numbers and flags of a bag, by hand and by chance."""

import re
from dataclasses import replace

import numpy as np
import pytest

from sammil_cli.features.bag import EncoderFacts, FeatureBag
from sammil_cli.features.quality import BagQuality, flags, measure, quality_record
from sammil_cli.regions.membership import Membership

SIDE = 20  # patches along a side of the square of tissue, each of 100 px and 50 µm


def bag_of(region: np.ndarray, members: list[list[int]], features: np.ndarray) -> FeatureBag:
    """A full square of patches; `region` (n,), `members` of each region."""
    row, column = np.divmod(np.arange(len(features)), SIDE)
    held = [index for index, own in enumerate(members) if own]
    return FeatureBag(
        slide_id="s",
        features=features.astype(np.float32),
        xy=(np.stack([column, row], 1) * 100 + 5000).astype(np.int32),
        region=region.astype(np.int32),
        region_area=np.full(len(members), 10),
        region_area_um2=np.array([1000.0, 2499.0, 2501.0, 9e9][: len(members)]),
        group_features=features[: len(held)],
        group_region=np.array(held, np.int32),
        members=Membership(
            start=np.cumsum([0, *map(len, members)], dtype=np.int64),
            patch=np.array([patch for own in members for patch in own], np.int32),
        ),
        encoder=EncoderFacts(
            name="texture",
            weights_sha256=None,
            dim=features.shape[1],
            patch_px=200,
            patch_mpp=0.25,
            patch_px_level0=100,
        ),
    )


def halves() -> np.ndarray:
    """Region 0 in the left half of the square, 1 in the right one."""
    return (np.arange(SIDE * SIDE) % SIDE >= SIDE // 2).astype(int)


def test_numbers_of_a_small_bag() -> None:
    region = np.array([0, 0, -1, 2, 0, -1, -1, -1])
    quality = measure(bag_of(region, [[0, 1, 4], [], [1, 3]], np.arange(16.0).reshape(8, 2)))
    assert (quality.patches, quality.regions, quality.group_features) == (8, 3, 2)
    assert quality.no_region == 0.5
    assert quality.regions_per_patch == 5 / 4
    assert quality.regions_without_patch == 1
    assert quality.regions_below_patch == pytest.approx(2 / 3)  # a patch is 50 µm square


def test_features_that_follow_the_regions_have_contrast_and_others_none() -> None:
    rng = np.random.default_rng(0)
    region = halves()
    members = [np.flatnonzero(region == index).tolist() for index in range(2)]
    noise = rng.standard_normal((SIDE * SIDE, 64))
    random = measure(bag_of(region, members, noise))
    assert random.contrast == pytest.approx(0, abs=0.01)
    assert random.contrast_of_squares == pytest.approx(0, abs=0.01)
    # Half the variance in all: the first dimension is ±8, 64 of variance like the noise's 64 dimensions together.
    signal = noise.copy()
    signal[:, 0] = np.where(region == 0, -8, 8)
    assert measure(bag_of(region, members, signal)).contrast == pytest.approx(64 / 127, abs=0.02)


def test_regions_that_follow_the_slide_beat_squares() -> None:
    ring = (np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE / 2)) < 7).astype(int).ravel()
    members = [np.flatnonzero(ring == index).tolist() for index in range(2)]
    features = ring[:, None] + 0.1 * np.random.default_rng(0).standard_normal((SIDE * SIDE, 4))
    quality = measure(bag_of(ring, members, features))
    assert quality.contrast is not None
    assert quality.contrast_of_squares is not None
    assert quality.contrast > 0.9 > 0.5 > quality.contrast_of_squares


def test_a_bag_without_regions_has_numbers_and_a_flag() -> None:
    quality = measure(bag_of(np.full(8, -1), [], np.arange(16.0).reshape(8, 2)))
    assert (quality.no_region, quality.contrast, quality.regions_below_patch) == (1.0, None, None)
    assert quality_record(quality)["flags"] == flags(quality)
    (flag,) = flags(quality)
    assert flag.startswith("no-region: 100% of the patches lie in no region; ")


GOOD = BagQuality(
    patches=1000,
    no_region=0.05,
    regions_per_patch=1.5,
    regions=40,
    regions_without_patch=4,
    regions_below_patch=0.1,
    group_features=36,
    contrast=0.3,
    contrast_of_squares=0.2,
)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"no_region": 0.41}, "no-region: 41% of the patches lie in no region; "),
        ({"regions_without_patch": 21}, "empty-regions: 21 of 40 regions have no patch"),
        ({"contrast": 0.02}, "flat-features: patches differ within regions as much as between them (contrast 0.02, "),
    ],
)
def test_each_flag_says_what_it_is_and_what_to_do(change: dict[str, float], start: str) -> None:
    assert flags(GOOD) == []
    (flag,) = flags(replace(GOOD, **change))
    assert flag.startswith(start)
    assert re.match("[a-z-]+: .+; .+", flag)


def test_few_patches_tell_nothing_of_contrast() -> None:
    assert flags(replace(GOOD, contrast=-0.1, patches=80)) == []
    assert flags(replace(GOOD, contrast=-0.1, patches=120, no_region=0.2)) == []
