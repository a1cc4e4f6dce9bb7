"""Regions moved at random: what stays, and that everything else is left to chance and the seed."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from region_shapes import DOWNSAMPLE, ORIGIN, ellipses, map_of

from sammil_cli.regions import placebo
from sammil_cli.regions.placebo import move_at_random
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.tissue.mask import TissueMask

WIDTH, HEIGHT = 120, 90


def tissue_of(*boxes: tuple[int, int, int, int]) -> TissueMask:
    """Boxes x0, y0, x1, y1 on the canvas."""
    parts = [shapely.box(*(DOWNSAMPLE * np.array(box) + ORIGIN * 2)) for box in boxes]
    return TissueMask(
        slide_id="s-1",
        polygons=shapely.MultiPolygon(parts),
        slide_mpp=0.5,
        slide_size_px=(4000, 4000),
        bounds_px=(0, 0, 4000, 4000),
    )


TISSUE = tissue_of((10, 10, 50, 80), (60, 10, 110, 80))  # two pieces


def on_canvas(regions: RegionMap) -> NDArray[np.bool_]:
    """(m, h, w)"""
    return np.array([regions.mask(i).within((0, 0, *regions.canvas.size_px)) for i in range(len(regions))])


def inside(tissue: TissueMask, regions: RegionMap) -> NDArray[np.bool_]:
    width, height = regions.canvas.size_px
    return tissue.raster(ORIGIN, regions.canvas.downsample, (height, width))


def squares(side: int) -> RegionMap:
    """Squares that tile the tissue."""
    masks = []
    for x0, y0, x1, y1 in ((10, 10, 50, 80), (60, 10, 110, 80)):
        for x in range(x0, x1, side):
            for y in range(y0, y1, side):
                mask = np.zeros((HEIGHT, WIDTH), bool)
                mask[y : y + side, x : x + side] = True
                masks.append(mask)
    return map_of(*masks)


def test_number_order_scores_and_area_on_tissue_and_beside_it_stay_whatever_the_shapes_and_overlaps() -> None:
    before = map_of(*[mask for mask in ellipses(25, WIDTH, HEIGHT) if mask.any()])
    after, moved = move_at_random(before, TISSUE, 1)
    ground = inside(TISSUE, before)
    np.testing.assert_array_equal(after.area_px, before.area_px)
    np.testing.assert_array_equal((on_canvas(after) & ground).sum((1, 2)), (on_canvas(before) & ground).sum((1, 2)))
    np.testing.assert_array_equal(after.predicted_iou, before.predicted_iou)
    np.testing.assert_array_equal(after.paper_area_px, before.paper_area_px)
    assert (moved.regions, moved.area_ratio) == (len(before), 1.0)
    assert after.canvas == before.canvas


def test_regions_that_tile_the_tissue_lie_on_it_and_go_on_to_cover_it() -> None:
    before = squares(10)
    after, moved = move_at_random(before, TISSUE, 1)
    masks, ground = on_canvas(after), inside(TISSUE, before)
    assert not (masks & ~ground).any()
    assert moved.tissue_before == 1
    assert moved.tissue_after == masks.any(0)[ground].mean() > 0.93
    assert moved.agreement < 0.6  # 4/9 are expected of squares
    assert moved.as_drawn is not None
    assert moved.as_drawn > 0.7


def test_what_lies_in_a_region_is_laid_into_that_regions_new_place() -> None:
    outer, inner, alone = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(3))
    outer[15:45, 12:44], inner[20:30, 20:30], alone[50:70, 70:90] = True, True, True
    before = map_of(inner, outer, alone)
    places = set()
    for seed in range(6):
        masks = on_canvas(move_at_random(before, TISSUE, seed)[0])
        assert not (masks[0] & ~masks[1]).any()
        assert not (masks[1] & masks[2]).any()
        places.add(tuple(np.argwhere(masks[1])[0].tolist()))
    assert len(places) == 6


def test_slide_and_seed_decide_and_nothing_else() -> None:
    before = squares(10)
    first = move_at_random(before, TISSUE, 1)[0]
    np.random.default_rng().random()
    np.testing.assert_array_equal(move_at_random(before, TISSUE, 1)[0].runs, first.runs)
    for other in (move_at_random(before, TISSUE, 2)[0], move_at_random(replace(before, slide_id="s-2"), TISSUE, 1)[0]):
        assert (other.box != first.box).any()


def test_a_region_as_large_as_the_tissue_cannot_be_moved_and_that_is_said() -> None:
    whole = map_of(inside(TISSUE, squares(10)))
    after, moved = move_at_random(whole, TISSUE, 1)
    np.testing.assert_array_equal(on_canvas(after), on_canvas(whole))
    assert moved.agreement == 1


def test_the_place_of_one_region_is_anywhere_on_the_tissue() -> None:
    speck = np.zeros((HEIGHT, WIDTH), bool)
    speck[40:44, 20:24] = True
    seen = sum(on_canvas(move_at_random(map_of(speck), TISSUE, seed)[0])[0].astype(int) for seed in range(40))
    ground = inside(TISSUE, map_of(speck))
    left, right = (int(seen[:, part].sum()) for part in (slice(0, 55), slice(55, WIDTH)))
    assert not seen[~ground].any()
    assert 0.25 < left / (left + right) < 0.65  # of the tissue, 0.44 lies to the left


def test_without_regions_there_is_nothing_to_move() -> None:
    whole = map_of(np.ones((HEIGHT, WIDTH), bool))
    none = replace(
        whole,
        **{name: getattr(whole, name)[:0] for name in ("runs", "area_px", "box", "predicted_iou", "stability")},
        offsets=np.zeros(1, np.int64),
    )
    after, moved = move_at_random(none, TISSUE, 1)
    assert (len(after), moved.area_ratio, moved.as_drawn, moved.tissue_after) == (0, None, None, 0)


@pytest.mark.parametrize("side", [10, 5])
def test_a_long_canvas_is_made_coarser_and_areas_stay_as_near_as_its_pixels_allow(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = squares(side)
    monkeypatch.setattr(placebo, "_MOST_PX", WIDTH // 2)
    after, moved = move_at_random(before, TISSUE, 1)
    assert (after.canvas.size_px, after.canvas.downsample) == ((WIDTH // 2, HEIGHT // 2), 2 * DOWNSAMPLE)
    assert len(after) == len(before)
    assert moved.area_ratio == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(after.area_um2, before.area_um2, rtol=2 / side**2)
