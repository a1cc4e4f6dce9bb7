"""Regions in the order of what they say: shares, areas, and contrast to what lies around them."""

from dataclasses import replace

import numpy as np
import pytest
from placed_bag_maker import placed_bag

from sammil_cli.report.ranked_regions import RegionPatches, patch_mm2

# 5 x 5 patches: region 0 all of them, 1 the hot corner, 2 empty, 3 a cold column on the right.
HOT = [0, 1, 5, 6]
REGIONS = [list(range(25)), HOT, [], [4, 9, 14, 19, 24]]


def evidence() -> np.ndarray:
    values = np.full(25, 0.5)
    values[HOT] = 0.9
    values[[4, 9, 14, 19, 24]] = 0.1
    return values


def attention() -> np.ndarray:
    values = np.full(25, 0.02)
    values[0] = 0.52
    return values


def test_the_tight_region_comes_before_the_one_that_holds_everything() -> None:
    ranked = RegionPatches(placed_bag(5, 5, REGIONS)).rank(attention(), evidence(), 0.5)
    assert ranked.region.tolist() == [0, 1, 3]  # the empty one is none
    assert ranked.rank.tolist() == [2, 1, 3]
    assert ranked.region[ranked.order].tolist() == [1, 0, 3]
    np.testing.assert_allclose(ranked.evidence_share, [1, 1, 0])
    np.testing.assert_allclose(ranked.patch_share, [1, 4 / 25, 5 / 25])
    np.testing.assert_allclose(ranked.attention_share, [1, 0.58, 0.1])
    np.testing.assert_allclose(ranked.probability[1:], [0.9, 0.1])


def test_contrast_is_to_the_patches_within_one_step_diagonally_too() -> None:
    ranked = RegionPatches(placed_bag(5, 5, REGIONS)).rank(attention(), evidence(), 0.5)
    assert np.isnan(ranked.contrast[0])  # nothing lies around all of them
    np.testing.assert_allclose(ranked.contrast[1], 0.9 - 0.5)  # 2, 7, 10, 11, 12
    np.testing.assert_allclose(ranked.contrast[2], 0.1 - 0.5)
    lone = RegionPatches(placed_bag(5, 5, [[12]]))
    assert lone.around.indices.tolist() == [6, 7, 8, 11, 13, 16, 17, 18]


def test_without_places_there_is_no_contrast_and_without_evidence_the_mean_ranks() -> None:
    bag = placed_bag(5, 5, REGIONS)
    unplaced = RegionPatches(replace(bag, xy=np.full_like(bag.xy, -1)))
    ranked = unplaced.rank(attention(), evidence() / 3, 0.5)
    assert np.isnan(ranked.contrast).all()
    assert np.isnan(ranked.evidence_share).all()
    assert ranked.region[ranked.order].tolist() == [1, 0, 3]


def test_a_patch_has_the_area_of_its_step_in_mm2() -> None:
    bag = placed_bag(5, 5, REGIONS)
    assert patch_mm2(bag) == pytest.approx((128 * 0.5) ** 2 / 1e6)
    finer = replace(bag, xy=bag.xy // 2)  # they overlap by half
    assert patch_mm2(finer) == pytest.approx((64 * 0.5) ** 2 / 1e6)
    assert np.isnan(patch_mm2(replace(bag, encoder=replace(bag.encoder, patch_mpp=float("nan")))))
    assert np.isnan(patch_mm2(replace(bag, xy=np.full_like(bag.xy, -1))))
