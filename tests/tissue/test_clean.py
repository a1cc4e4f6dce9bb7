"""From a foreground mask to polygons: exact outlines, filters in µm²."""

from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from sammil_cli.tissue.mask import TissueMask, clean

SCALE = (4.0, 5.0)  # level-0 pixels per mask pixel: 20 level-0 pixels in a mask pixel
MPP = 0.5  # a mask pixel is 20 * 0.25 = 5 µm²


def polygons(foreground: NDArray[np.bool_], **filters: Any) -> list[shapely.Polygon]:
    settings: dict[str, Any] = {"close_px": 0, "min_area_um2": 0.0, "min_hole_um2": 0.0, "max_holes": 99} | filters
    found = clean(foreground, scale_px0=SCALE, mpp=MPP, **settings)
    assert found.is_valid
    return list(found.geoms)


def rectangle(
    *boxes: tuple[int, int, int, int], holes: tuple[tuple[int, int, int, int], ...] = ()
) -> NDArray[np.bool_]:
    """Boxes x, y, width, height on a mask of 30 columns and 20 rows."""
    mask = np.zeros((20, 30), bool)
    for value, group in ((True, boxes), (False, holes)):
        for x, y, width, height in group:
            mask[y : y + height, x : x + width] = value
    return mask


def test_a_rectangle_gets_exactly_its_outline() -> None:
    (polygon,) = polygons(rectangle((3, 2, 6, 4)))
    assert polygon.area == 6 * 4 * 20
    assert polygon.bounds == (12, 10, 36, 30)
    assert len(polygon.exterior.coords) == 5


def test_a_piece_at_the_edge_reaches_the_edge() -> None:
    (polygon,) = polygons(rectangle((0, 0, 30, 20)))
    assert polygon.bounds == (0, 0, 120, 100)
    assert polygon.area == 30 * 20 * 20


def test_a_hole_gets_exactly_its_outline() -> None:
    (polygon,) = polygons(rectangle((3, 2, 12, 9), holes=((5, 4, 3, 2),)))
    assert polygon.area == (12 * 9 - 3 * 2) * 20
    (hole,) = polygon.interiors
    assert hole.bounds == (20, 20, 32, 30)


def test_an_island_in_a_hole_is_a_piece_of_its_own() -> None:
    mask = rectangle((3, 2, 20, 15), holes=((5, 4, 12, 9),))
    mask[7:9, 9:12] = True
    large, small = polygons(mask)
    assert large.area == (20 * 15 - 12 * 9) * 20
    assert small.area == 2 * 3 * 20
    assert small.bounds == (36, 35, 48, 45)


def test_an_island_in_a_hole_that_is_filled_is_part_of_the_piece() -> None:
    mask = rectangle((3, 2, 20, 15), holes=((5, 4, 12, 9),))
    mask[7:9, 9:12] = True
    (polygon,) = polygons(mask, max_holes=0)
    assert polygon.area == 20 * 15 * 20


def test_what_is_excluded_is_neither_closed_nor_filled() -> None:
    excluded = rectangle((8, 0, 2, 20), (14, 7, 2, 2), (18, 7, 2, 2))
    mask = rectangle((3, 4, 20, 10)) & ~excluded
    left, right = sorted(polygons(mask, excluded=excluded, close_px=5, max_holes=0), key=lambda p: p.bounds)
    assert (left.area, right.area) == (5 * 10 * 20, (13 * 10 - 8) * 20)
    assert len(right.interiors) == 2
    (right,) = (p for p in polygons(mask, excluded=excluded, min_hole_um2=20.1) if p.bounds[0] == 40)
    assert len(right.interiors) == 0  # such small spots are filled, as any small hole is


def test_pieces_are_listed_by_area() -> None:
    found = polygons(rectangle((1, 1, 2, 2), (20, 15, 8, 4), (6, 9, 5, 5)))
    assert [polygon.area / 20 for polygon in found] == [32, 25, 4]


def test_a_piece_counts_by_its_area_in_um2_without_its_holes() -> None:
    mask = rectangle((3, 2, 8, 5), holes=((5, 4, 2, 2),))  # 36 mask pixels = 180 µm²
    assert len(polygons(mask, min_area_um2=180)) == 1
    assert polygons(mask, min_area_um2=180.1) == []


def test_small_holes_are_filled_and_count_as_tissue_then() -> None:
    mask = rectangle((3, 2, 8, 5), holes=((5, 4, 2, 2),))  # the hole is 20 µm², the full piece 200 µm²
    (kept,) = polygons(mask, min_hole_um2=20)
    assert len(kept.interiors) == 1
    (filled,) = polygons(mask, min_hole_um2=20.1, min_area_um2=200)
    assert len(filled.interiors) == 0
    assert filled.area == 40 * 20


@pytest.mark.parametrize(("most", "left"), [(0, []), (1, [12]), (2, [12, 4]), (3, [12, 4, 1])])
def test_only_the_largest_holes_are_kept(most: int, left: list[int]) -> None:
    mask = rectangle((1, 1, 24, 15), holes=((3, 3, 1, 1), (7, 3, 4, 3), (14, 9, 2, 2)))
    (polygon,) = polygons(mask, max_holes=most)
    areas = sorted((shapely.Polygon(hole).area / 20 for hole in polygon.interiors), reverse=True)
    assert areas == left


def test_gaps_up_to_the_kernel_are_closed() -> None:
    mask = rectangle((3, 2, 5, 10), (10, 2, 6, 10))  # two columns apart
    assert len(polygons(mask)) == 2
    (joined,) = polygons(mask, close_px=3)
    assert joined.area == 13 * 10 * 20


def test_pixels_that_touch_at_a_corner_make_valid_polygons() -> None:
    mask = rectangle((3, 2, 4, 4), (7, 6, 5, 4))
    assert sum(polygon.area for polygon in polygons(mask)) == (16 + 20) * 20


def test_an_empty_mask_gives_no_polygons() -> None:
    assert polygons(rectangle()) == []


def test_ragged_masks_are_followed_to_the_pixel() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        foreground = ndimage.gaussian_filter(rng.normal(size=(60, 90)), 3) > 0
        found = clean(
            foreground, scale_px0=(8.0, 8.0), mpp=1.0, close_px=0, min_area_um2=0, min_hole_um2=0, max_holes=99
        )
        mask = TissueMask(
            slide_id="s", polygons=found, slide_mpp=1.0, slide_size_px=(720, 480), bounds_px=(0, 0, 720, 480)
        )
        painted = mask.raster((0, 0), 8.0, (60, 90))
        assert found.is_valid
        assert found.area == pytest.approx(64 * foreground.sum(), rel=0.02)
        # Outlines are simplified by half a mask pixel: single steps along a slope may go.
        assert (painted != foreground).mean() < 0.02
