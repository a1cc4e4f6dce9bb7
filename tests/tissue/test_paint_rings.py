"""Polygons become pixels exactly: a pixel is inside when its centre is."""

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from sammil_cli.tissue.mask import paint_rings
from sammil_cli.tissue.trace import trace


def ring(*points: tuple[float, float]) -> NDArray[np.float64]:
    return np.array([*points, points[0]], float)


def box(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    return ring((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def rows(mask: NDArray[np.bool_]) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in mask]


def test_a_box_of_whole_pixels_covers_these_pixels() -> None:
    assert rows(paint_rings([box(1, 1, 4, 3)], (4, 6))) == ["......", ".###..", ".###..", "......"]


def test_a_hole_and_an_island_in_it_flip_inside_and_outside() -> None:
    painted = paint_rings([box(0, 0, 7, 5), box(1, 1, 6, 4), box(3, 2, 4, 3)], (5, 8))
    assert rows(painted) == ["#######.", "#.....#.", "#..#..#.", "#.....#.", "#######."]


def test_a_triangle_covers_the_centres_below_its_slope() -> None:
    # The slope x + y = 4.2 passes the centres with column + row + 1 < 4.2.
    assert rows(paint_rings([ring((0, 0), (4.2, 0), (0, 4.2))], (5, 5))) == [
        "####.",
        "###..",
        "##...",
        "#....",
        ".....",
    ]


def test_half_covered_pixels_follow_their_centre() -> None:
    assert rows(paint_rings([box(0.4, 0.6, 2.6, 2.4)], (3, 4))) == ["....", "###.", "...."]


def test_the_direction_of_a_ring_does_not_matter() -> None:
    points = ring((0.2, 0.3), (6.1, 1.2), (4.4, 4.9))
    np.testing.assert_array_equal(paint_rings([points], (5, 7)), paint_rings([points[::-1]], (5, 7)))


def test_what_lies_outside_of_the_canvas_is_cut_off() -> None:
    assert rows(paint_rings([box(-5, -3, 2, 1)], (3, 4))) == ["##..", "....", "...."]
    assert rows(paint_rings([box(2, 1, 90, 80)], (3, 4))) == ["....", "..##", "..##"]
    assert rows(paint_rings([box(-5, -3, 90, 80), box(1, 1, 3, 2)], (3, 4))) == ["####", "#..#", "####"]
    for away in (box(-5, 0, -1, 3), box(9, 0, 12, 3), box(0, -4, 3, -1), box(0, 5, 3, 8)):
        assert not paint_rings([away], (3, 4)).any()


def test_no_rings_paint_nothing_and_an_empty_canvas_stays_empty() -> None:
    assert not paint_rings([], (3, 5)).any()
    assert paint_rings([box(0, 0, 2, 2)], (0, 5)).shape == (0, 5)


def test_neighbours_share_no_pixel_and_lose_none() -> None:
    # The common edge runs through pixel centres.
    left = ring((0, 0), (5.5, 0), (2.5, 6), (0, 6))
    right = ring((5.5, 0), (8, 0), (8, 6), (2.5, 6))
    painted = [paint_rings([part], (6, 8)).astype(int) for part in (left, right)]
    np.testing.assert_array_equal(painted[0] + painted[1], np.ones((6, 8), int))


def test_random_polygons_with_holes_agree_with_geometry() -> None:
    rng = np.random.default_rng(3)
    shape = (29, 41)
    ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
    for _ in range(40):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        centre = rng.uniform((5, 5), (36, 24))
        star = centre + rng.uniform(4, 22, (12, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        hole = centre + 0.3 * (star - centre)
        polygon = shapely.Polygon(star, [hole])
        expected = shapely.contains_xy(polygon, xs, ys)
        painted = paint_rings([np.vstack([r, r[:1]]) for r in (star, hole)], shape)
        np.testing.assert_array_equal(painted, expected)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95, 1.0])
def test_traced_outlines_painted_again_are_the_same_mask(share: float) -> None:
    # Noise has it all: threads of one pixel, holes, islands in holes, pixels that meet at corners and at the border.
    rng = np.random.default_rng(int(100 * share))
    for shape in ((1, 1), (1, 9), (9, 1), (24, 31)):
        for _ in range(10):
            mask = rng.random(shape) < share
            rings = [ring(*points.tolist()) for outer, holes in trace(mask) for points in (outer, *holes)]
            np.testing.assert_array_equal(paint_rings(rings, shape), mask)


def test_a_traced_outline_runs_along_the_outer_edges_with_its_holes() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2:8, 3:10] = True
    mask[4:6, 5:6] = False
    ((outer, holes),) = trace(mask)
    assert shapely.Polygon(outer).equals(shapely.box(3, 2, 10, 8))
    assert [shapely.Polygon(hole).bounds for hole in holes] == [(5, 4, 6, 6)]


def test_pixels_that_meet_at_a_corner_are_one_piece() -> None:
    assert len(list(trace(np.eye(3, dtype=bool)))) == 1
    assert list(trace(np.zeros((3, 4), bool))) == []
