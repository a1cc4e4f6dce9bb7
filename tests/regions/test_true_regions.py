"""Drawn lesions cut into regions."""

import numpy as np
import shapely
from region_shapes import DOWNSAMPLE, ORIGIN, map_of, painted
from shapely import MultiPolygon

from sammil_cli.regions.true_regions import cut_in


def drawn(*box: int) -> MultiPolygon:
    """An area x0, y0, x1, y1 on the canvas."""
    return MultiPolygon([shapely.box(*(DOWNSAMPLE * np.array(box) + ORIGIN * 2))])


BEFORE = map_of(painted((0, 0, 20, 24)), painted((20, 0, 20, 24)), painted((2, 2, 3, 3)))


def test_lesions_are_regions_of_their_own_and_taken_off_the_others() -> None:
    after = cut_in([drawn(15, 4, 25, 14), drawn(17, 6, 20, 9)], BEFORE)
    masks = [after.mask(i).within((0, 0, 40, 24)) for i in range(len(after))]
    np.testing.assert_array_equal(masks[0], painted((15, 4, 10, 10)))
    np.testing.assert_array_equal(masks[1], painted((17, 6, 3, 3)))
    np.testing.assert_array_equal(masks[2], painted((0, 0, 20, 24), (15, 4, 5, 10)))
    np.testing.assert_array_equal(masks[3], painted((20, 0, 20, 24), (20, 4, 5, 10)))
    np.testing.assert_array_equal(masks[4], painted((2, 2, 3, 3)))
    np.testing.assert_array_equal(after.predicted_iou, np.float32([1, 1, 1, 0.99, 0.98]))


def test_a_region_that_a_lesion_covers_goes_and_a_lesion_between_the_pixels_is_none() -> None:
    assert len(cut_in([drawn(1, 1, 6, 6)], BEFORE)) == 3
    small = MultiPolygon([shapely.box(ORIGIN[0], ORIGIN[1], ORIGIN[0] + 1, ORIGIN[1] + 1)])
    np.testing.assert_array_equal(cut_in([small], BEFORE).runs, BEFORE.runs)


def test_without_lesions_the_regions_stay_as_they_are() -> None:
    after = cut_in((), BEFORE)
    np.testing.assert_array_equal(after.runs, BEFORE.runs)
    np.testing.assert_array_equal(after.stability, BEFORE.stability)
