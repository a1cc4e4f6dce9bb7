"""Superpixels tile the tissue, follow its colours and are the same each time."""

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import PINK, PURPLE, draw_tissue

from sammil_cli.regions.proposers.superpixels import make


def halves() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pink and, on the smaller right part, purple; tissue is all but a border at the left and a hole."""
    image = np.full((60, 100, 3), PINK, np.uint8)
    image[:, 70:] = PURPLE
    tissue = np.ones((60, 100), bool)
    tissue[:, :15] = False
    tissue[20:30, 40:52] = False
    return image, tissue


@pytest.fixture(scope="module")
def texture() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    image = draw_tissue(seed=3, tumour=True)[::4, ::4]
    return image, np.ptp(image.astype(int), axis=2) > 20


@pytest.mark.parametrize("merge", [0.0, 6.0, 1000.0])
def test_regions_tile_the_tissue_without_gap_or_overlap(
    texture: tuple[NDArray[np.uint8], NDArray[np.bool_]], merge: float
) -> None:
    image, tissue = texture
    found = make({"superpixel_area_px": 300, "superpixel_merge": merge}, "cpu").propose(image, tissue)
    np.testing.assert_array_equal(sum(p.mask.astype(int) for p in found), tissue.astype(int))
    sizes = [p.mask.sum() for p in found]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0


def test_proposing_twice_gives_the_same_regions(texture: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> None:
    settings = {"superpixel_area_px": 300, "superpixel_merge": 6.0}
    one, two = (make(settings, "cpu").propose(*texture) for _ in range(2))
    assert len(one) > 3
    np.testing.assert_array_equal([p.mask for p in one], [p.mask for p in two])


def test_regions_end_where_the_colour_changes() -> None:
    image, tissue = halves()
    large, small = make({"superpixel_area_px": 200, "superpixel_merge": 6.0}, "cpu").propose(image, tissue)
    right = np.zeros_like(tissue)
    right[:, 70:] = True
    assert (small.mask == (tissue & right)).mean() > 0.97
    assert (large.mask == (tissue & ~right)).mean() > 0.97


def test_without_merging_pieces_have_about_the_wanted_area() -> None:
    image, tissue = halves()
    found = make({"superpixel_area_px": 200, "superpixel_merge": 0.0}, "cpu").propose(image, tissue)
    assert 0.5 < len(found) * 200 / tissue.sum() < 1.5
    coarse = make({"superpixel_area_px": 800, "superpixel_merge": 0.0}, "cpu").propose(image, tissue)
    assert len(coarse) < len(found)


@pytest.mark.parametrize("box", [(5, 9, 30, 36), (0, 60, 0, 35)], ids=["tiny", "at the edge of the canvas"])
def test_tissue_smaller_than_two_superpixels_is_one_region(box: tuple[int, int, int, int]) -> None:
    image, tissue = halves()
    tissue[:] = False
    tissue[box[0] : box[1], box[2] : box[3]] = True
    (region,) = make({"superpixel_area_px": 1500, "superpixel_merge": 6.0}, "cpu").propose(image, tissue)
    np.testing.assert_array_equal(region.mask, tissue)


def test_pieces_that_do_not_touch_are_not_joined_through_the_glass_between_them() -> None:
    image = np.full((60, 100, 3), (243, 242, 244), np.uint8)
    tissue = np.zeros((60, 100), bool)
    for columns in (slice(5, 40), slice(60, 95)):
        image[10:50, columns] = (243, 236, 241)  # fat, nearly as pale as glass
        tissue[10:50, columns] = True
    found = make({"superpixel_area_px": 1400, "superpixel_merge": 6.0}, "cpu").propose(image, tissue)
    assert len(found) == 2
