"""A tissue mask in level-0 pixels: its area, its box, and painted on canvases."""

import numpy as np
import shapely

from sammil_cli.tissue.mask import TissueMask


def mask_of(*shapes: shapely.Polygon, mpp: float = 0.5) -> TissueMask:
    return TissueMask(
        slide_id="s",
        polygons=shapely.MultiPolygon(shapes),
        slide_mpp=mpp,
        slide_size_px=(400, 300),
        bounds_px=(0, 0, 400, 300),
    )


def test_the_area_is_in_um2_and_without_holes() -> None:
    ring = shapely.box(100, 40, 180, 90).difference(shapely.box(110, 50, 120, 60))
    assert mask_of(ring).area_um2 == (80 * 50 - 100) / 4


def test_the_box_holds_all_pieces_in_whole_pixels_cut_to_the_slide() -> None:
    mask = mask_of(shapely.box(100.4, 40.6, 180.2, 90), shapely.box(150, 80, 401.5, 120.1))
    assert mask.box_px == (100, 40, 300, 81)
    assert mask_of(shapely.box(-3, -2.5, 8, 9)).box_px == (0, 0, 8, 9)


def test_a_raster_starts_at_its_origin_and_has_its_scale() -> None:
    mask = mask_of(shapely.box(100, 40, 180, 60))
    painted = mask.raster((90, 30), 10.0, (4, 12))
    expected = np.zeros((4, 12), bool)
    expected[1:3, 1:9] = True
    np.testing.assert_array_equal(painted, expected)
    np.testing.assert_array_equal(mask.raster((110, 50), 10.0, (4, 12))[0], [True] * 7 + [False] * 5)
