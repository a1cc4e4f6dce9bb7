"""Patches taken out of a bag: what is left is what a bag of the other patches would be."""

from dataclasses import replace

import numpy as np
from placed_bag_maker import placed_bag

from sammil_cli.features.bag import mean_group_features
from sammil_cli.features.without_patches import without


def test_with_nothing_gone_a_bag_stays_as_it_is() -> None:
    bag = placed_bag(4, 3, [[0, 1, 4], [1, 2], []])
    left = without(bag, np.zeros(12, bool), grouped=True)
    for name in ("features", "region", "region_area", "group_features", "group_region"):
        np.testing.assert_array_equal(getattr(left, name), getattr(bag, name))
    np.testing.assert_array_equal(left.members.start, bag.members.start)
    np.testing.assert_array_equal(left.members.patch, bag.members.patch)


def test_a_group_feature_is_the_mean_of_the_patches_that_are_left_and_goes_with_the_last_one() -> None:
    bag = placed_bag(4, 3, [[0, 1, 4], [1, 2], [9, 11]])
    gone = np.isin(np.arange(12), [1, 2, 4])
    left = without(bag, gone, grouped=True)
    assert left.group_region.tolist() == [0, 2]  # region 1 is empty now
    np.testing.assert_array_equal(left.group_features[0], bag.features[0])
    np.testing.assert_allclose(left.group_features[1], bag.features[[9, 11]].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(left.features, bag.features[~gone])
    assert left.members.size.tolist() == [1, 0, 2]
    means, _ = mean_group_features(left.features, left.members)  # members are counted among what is left
    np.testing.assert_array_equal(means, left.group_features)
    assert left.region.tolist() == bag.region[~gone].tolist()


def test_where_no_group_features_are_wanted_or_there_none_are_made() -> None:
    bag, gone = placed_bag(4, 3, [[0, 1, 4]]), np.arange(12) < 2
    assert len(without(bag, gone, grouped=False).group_features) == 0
    bare = replace(bag, group_features=bag.group_features[:0], group_region=bag.group_region[:0])
    assert len(without(bare, gone, grouped=True).group_features) == 0
