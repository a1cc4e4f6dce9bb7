"""Superpixels tile the tissue, follow its colours and are the same each time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from region_views import masks_of, view_of
from skimage.graph import cut_threshold, rag_mean_color
from slide_maker import PINK, PURPLE, array_slide, draw_tissue
from tissue_specs import CLEANED, segment

from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers.superpixels import Superpixels, make, merge_alike

METHODS = ("slic", "felzenszwalb")
both = pytest.mark.parametrize("method", METHODS)


def superpixels(method: str, area_px: int, merge: float) -> Superpixels:
    return make({"superpixel_method": method, "superpixel_area_px": area_px, "superpixel_merge": merge}, "cpu")


@pytest.fixture
def halves() -> View:
    """Pink and, on the smaller right part, purple; tissue is all but a border at the left and a hole."""
    image = np.full((60, 100, 3), PINK, np.uint8)
    image[:, 70:] = PURPLE
    tissue = np.ones((60, 100), bool)
    tissue[:, :15] = False
    tissue[20:30, 40:52] = False
    return view_of(image, tissue)


@pytest.fixture(scope="module")
def texture() -> View:
    image = np.ascontiguousarray(draw_tissue(seed=3, tumour=True)[::4, ::4])
    return view_of(image, np.ptp(image.astype(int), axis=2) > 20)


@both
@pytest.mark.parametrize("merge", [0.0, 6.0, 1000.0])
def test_regions_tile_the_tissue_without_gap_or_overlap(texture: View, method: str, merge: float) -> None:
    found = superpixels(method, 300, merge).propose(texture)
    np.testing.assert_array_equal(masks_of(found, texture).sum(0), texture.tissue.astype(int))
    sizes = [p.mask.area_px for p in found]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0


@both
def test_proposing_twice_gives_the_same_regions(texture: View, method: str) -> None:
    one, two = (superpixels(method, 300, 6.0).propose(texture) for _ in range(2))
    assert len(one) > 3
    np.testing.assert_array_equal(masks_of(one, texture), masks_of(two, texture))


@both
def test_regions_end_where_the_colour_changes(halves: View, method: str) -> None:
    large, small = masks_of(superpixels(method, 200, 6.0).propose(halves), halves)
    right = np.zeros_like(halves.tissue)
    right[:, 70:] = True
    assert (small == (halves.tissue & right)).mean() > 0.97
    assert (large == (halves.tissue & ~right)).mean() > 0.97


def test_without_merging_slic_gives_pieces_of_about_the_wanted_area(halves: View) -> None:
    found = superpixels("slic", 200, 0.0).propose(halves)
    assert 0.5 < len(found) * 200 / halves.tissue.sum() < 1.5
    assert len(superpixels("slic", 800, 0.0).propose(halves)) < len(found)


def test_one_setting_means_about_one_area_for_both_methods_on_real_tissue(real_data: Path) -> None:
    with Image.open(real_data / "thumbnails" / "c16" / "normal_137.jpg") as opened:
        slide = array_slide(np.array(opened.convert("RGB").reduce(4)), mpp=62.0)
    tissue, image = segment(slide, replace(CLEANED, mpp=62.0))
    view = view_of(image, tissue.raster((0, 0), 1.0, image.shape[:2]))
    for area_px in (300, 1000):
        means = [view.tissue.sum() / len(superpixels(method, area_px, 0.0).propose(view)) for method in METHODS]
        assert 0.5 * area_px < min(means)
        assert max(means) < 2.5 * area_px


@both
@pytest.mark.parametrize("box", [(5, 9, 30, 36), (0, 60, 0, 35)], ids=["tiny", "at the edge of the canvas"])
def test_tissue_smaller_than_two_superpixels_is_one_region(
    halves: View, method: str, box: tuple[int, int, int, int]
) -> None:
    halves.tissue[:] = False
    halves.tissue[box[0] : box[1], box[2] : box[3]] = True
    (region,) = masks_of(superpixels(method, 1500, 6.0).propose(halves), halves)
    np.testing.assert_array_equal(region, halves.tissue)


@both
def test_without_tissue_there_are_no_regions(halves: View, method: str) -> None:
    halves.tissue[:] = False
    assert superpixels(method, 1500, 6.0).propose(halves) == []


@both
def test_pieces_that_do_not_touch_are_not_joined_through_the_glass_between_them(method: str) -> None:
    image = np.full((60, 100, 3), (243, 242, 244), np.uint8)
    tissue = np.zeros((60, 100), bool)
    for columns in (slice(5, 40), slice(60, 95)):
        image[10:50, columns] = (243, 236, 241)  # fat, nearly as pale as glass
        tissue[10:50, columns] = True
    assert len(superpixels(method, 1400, 6.0).propose(view_of(image, tissue))) == 2


def test_islands_smaller_than_any_piece_stay_regions_of_their_own() -> None:
    # Felzenszwalb's last step joins what is too small to its neighbour, be it glass; two that did so are still two.
    image = np.full((60, 100, 3), PINK, np.uint8)
    tissue = np.zeros((60, 100), bool)
    tissue[10:13, 10:13] = tissue[40:43, 80:83] = tissue[20:50, 30:70] = True
    found = superpixels("felzenszwalb", 1500, 1000.0).propose(view_of(image, tissue))
    assert [p.mask.box for p in found] == [(30, 20, 40, 30), (10, 10, 3, 3), (80, 40, 3, 3)]


def test_glass_gives_pale_tissue_no_rim() -> None:
    # Smoothing over the border would make a dark piece fade towards the glass, and its rim a region.
    image = np.full((80, 80, 3), 255, np.uint8)
    tissue = np.zeros((80, 80), bool)
    tissue[20:60, 20:60] = True
    image[tissue] = PURPLE
    assert len(superpixels("felzenszwalb", 100, 0.0).propose(view_of(image, tissue))) == 1


def test_merging_chains_neighbours_and_counts_those_at_a_corner() -> None:
    pieces = np.zeros((4, 6), np.int64)
    pieces[:2, :2], pieces[2:, 2:4], pieces[:2, 3:] = 1, 2, 3
    pieces[3, 5] = 4
    pieces[3, 0] = 5  # touches glass only, and is as 1
    lightness = np.array([0, 50, 55, 60, 90, 50], float)  # of glass and of 1 .. 5; 3 touches 2
    lab = np.zeros((4, 6, 3))
    lab[..., 0] = lightness[pieces]
    merged = merge_alike(pieces, lab, 5.1)
    np.testing.assert_array_equal(merged > 0, pieces > 0)
    assert [int(merged[pieces == label][0]) for label in (1, 2, 3, 4, 5)] == [1, 1, 1, 2, 3]
    assert merge_alike(pieces, lab, 5.0).max() == 5  # a difference of 5 is not less than 5


def test_merging_is_scikit_images_cut_of_the_graph_of_mean_colours() -> None:
    rng = np.random.default_rng(0)
    pieces = np.kron(rng.permutation(49).reshape(7, 7) + 1, np.ones((3, 4), np.int64))
    lab: NDArray[Any] = rng.uniform(40, 60, pieces.shape)[..., None] + np.zeros(3)
    cut = cut_threshold(pieces, rag_mean_color(lab, pieces), 2.0)
    merged = merge_alike(pieces, lab, 2.0)
    groups = {(int(a), int(b)) for a, b in zip(cut.ravel(), merged.ravel(), strict=True)}
    assert 5 < merged.max() < 45
    assert len(groups) == merged.max() == len(np.unique(cut))
