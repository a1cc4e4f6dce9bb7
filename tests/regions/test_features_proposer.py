"""Regions of patches with alike features: connected, as many as asked for, ending where features change."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from region_views import masks_of, view_of
from scipy import ndimage

from sammil_cli.errors import InputError
from sammil_cli.regions.placed_patches import PlacedPatches
from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers.features import cluster, make

KINDS = np.array([[0] * 6 + [1] * 6] * 4 + [[0] * 3 + [2] * 9] * 4)  # (8, 12) three tissues


def seen(kinds: NDArray[np.int64], held: NDArray[np.bool_] | None = None, noise: float = 0.1) -> View:
    """Patches of 4 pixels on a grid; features of a kind, with noise."""
    row, column = np.nonzero(np.ones_like(kinds, bool) if held is None else held)
    features = np.eye(4, dtype=np.float32)[kinds[row, column]]
    features += noise * np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)
    corner = 4.0 * np.stack([column, row], 1)
    rows, columns = (4 * side for side in kinds.shape)
    patches = PlacedPatches(features=features, corner=corner, side=4.0)
    picture = np.zeros((rows, columns, 3), np.uint8)
    tissue = patches.cover(np.zeros(len(row), int), (rows, columns))[1] >= 0
    return view_of(picture, tissue, patches=patches)


def regions(view: View, mean_size: int) -> NDArray[np.bool_]:
    return masks_of(make({"feature_region_patches": mean_size}, "cpu").propose(view), view)


def test_three_tissues_are_three_regions_largest_first_and_tile_the_patches() -> None:
    masks = regions(seen(KINDS), 32)
    assert [mask.sum() // 16 for mask in masks] == [36, 36, 24]
    np.testing.assert_array_equal(masks.sum(0), 1)
    pixels = KINDS.repeat(4, axis=0).repeat(4, axis=1)
    assert all(len(np.unique(pixels[mask])) == 1 for mask in masks)


@pytest.mark.parametrize("mean_size", [1, 4, 16, 1000])
def test_there_are_as_many_as_asked_for_each_connected_and_the_same_again(mean_size: int) -> None:
    view = seen(KINDS, noise=1.0)
    masks = regions(view, mean_size)
    assert len(masks) == max(1, round(96 / mean_size))
    assert all(ndimage.label(mask)[1] == 1 for mask in masks)
    np.testing.assert_array_equal(regions(view, mean_size), masks)


def test_areas_that_do_not_touch_are_never_one_region() -> None:
    held = np.ones((8, 12), bool)
    held[:, 6] = False
    held[0, 7:] = held[1, 7] = False  # a corner is no border
    masks = regions(seen(np.zeros((8, 12), int), held), 1000)
    assert len(masks) == 2


def test_patches_one_by_one_are_a_region_each() -> None:
    held = np.zeros((8, 12), bool)
    held[::3, ::3] = True
    view = seen(KINDS, held)
    assert view.patches is not None
    np.testing.assert_array_equal(cluster(view.patches, 16), np.arange(held.sum()))


def test_pixels_alone_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="there are none") as told:
        regions(replace(seen(KINDS), patches=None), 16)
    assert "--features" in told.value.remedy
