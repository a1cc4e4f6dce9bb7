"""Patches and first regions against drawn lesions."""

import numpy as np
import pytest
from placed_bag_maker import placed_bag

from sammil_cli.report.lesion_agreement import Agreement, agreement
from sammil_cli.report.ranked_regions import RegionPatches

IN_LESION = np.isin(np.arange(25), [0, 1, 5, 6])


def found(evidence: np.ndarray, regions: list[list[int]], in_lesion: np.ndarray = IN_LESION) -> Agreement:
    inside = RegionPatches(placed_bag(5, 5, regions))
    ranked = inside.rank(evidence, evidence, 0.5)
    return agreement(evidence[::-1], evidence, in_lesion, (inside, ranked), 0.5)


def test_a_model_that_knows_the_lesion_hits_it_with_its_first_patch_and_region() -> None:
    one = found(0.5 + 0.4 * IN_LESION, [[0, 1, 2], [20, 21], [12, 6, 7, 8]])
    assert (one.evidence_auc, one.lesion_patches, one.lesion_mm2) == (1.0, 4, 0.5)
    assert one.attention_auc == pytest.approx(0.5 - 4 / 42)  # the last four, of which none is lesion
    assert (one.top_patch, one.top_patch_by_chance) == (True, 0.16)
    assert one.top_region_lesion == pytest.approx(2 / 3)
    assert (one.hit, one.touched) == (True, True)
    assert (one.regions_in_lesion, one.regions_touching) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_the_first_region_may_touch_a_lesion_without_lying_in_it_or_miss_it() -> None:
    touching = found(0.5 + 0.4 * IN_LESION, [[0, 2, 3, 4], [20, 21]])
    assert (touching.hit, touching.touched, touching.top_region_lesion) == (False, True, 0.25)
    missed = found(0.5 + 0.4 * (np.arange(25) == 24), [[0, 1], [23, 24]])
    assert (missed.hit, missed.touched, missed.top_patch) == (False, False, False)


def test_without_regions_or_patches_of_lesion_what_is_undefined_is_none() -> None:
    evidence = np.linspace(0, 1, 25)
    bare = agreement(evidence, evidence, IN_LESION, None, 0.5)
    assert (bare.hit, bare.touched, bare.regions_in_lesion) == (None, None, None)
    nothing = found(evidence, [[0, 1]], np.zeros(25, bool))
    assert (nothing.evidence_auc, nothing.attention_auc, nothing.lesion_patches) == (None, None, 0)
