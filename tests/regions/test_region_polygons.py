"""Regions for QuPath: as large as they are, in level-0 pixels, on few points."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from region_shapes import DOWNSAMPLE, ORIGIN, ellipses, map_of, map_on, painted, wobbling

from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.region_map import Canvas, RegionMap
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.tissue.mask import paint_rings


def repainted(shape: shapely.Geometry, canvas: Canvas) -> NDArray[np.bool_]:
    """The pixels of a canvas whose centres lie in a shape in level-0 pixels."""
    rings = [ring for polygon in shape.geoms for ring in (polygon.exterior, *polygon.interiors)]
    points = [(shapely.get_coordinates(ring) - canvas.origin_px) / canvas.downsample for ring in rings]
    return paint_rings(points, canvas.size_px[::-1])


def shapes_of(path: Path, regions: RegionMap) -> list[shapely.Geometry]:
    return [shapely.geometry.shape(feature["geometry"]) for feature in polygons(path, regions)]


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_polygons_of_a_whole_slide_are_few_points_that_give_the_masks_back(tmp_path: Path) -> None:
    canvas = Canvas(origin_px=ORIGIN, downsample=32.0, size_px=(1024, 1024), mpp=8.0)
    masks = wobbling(200, 1024)
    shapes = shapes_of(tmp_path / "a.geojson", map_on(canvas, masks))
    assert (tmp_path / "a.geojson").stat().st_size < 4000 * len(masks)
    for mask, shape in zip(masks, shapes, strict=True):
        assert iou(repainted(shape, canvas), mask.within((0, 0, 1024, 1024))) > 0.95


@pytest.mark.parametrize("round_", [False, True], ids=["box", "ellipse"])
def test_a_small_region_comes_back_as_large_as_it_was(tmp_path: Path, round_: bool) -> None:
    drawn = np.zeros((24, 40), np.uint8)
    if round_:
        cv2.ellipse(drawn, (17, 12), (7, 8), 0, 0, 360, 1, -1)
    else:
        drawn[4:21, 10:25] = 1
    regions = map_of(drawn > 0)
    assert regions.box[0].tolist() == [10, 4, 15, 17]
    (shape,) = shapes_of(tmp_path / "a.geojson", regions)
    assert iou(repainted(shape, regions.canvas), drawn > 0) > 0.95
    assert shape.bounds == level0(10, 4, 25, 21)


def polygons(path: Path, regions: RegionMap, offset: tuple[int, int] = (0, 0)) -> list[dict[str, object]]:
    write_region_polygons(path, regions, offset, {"step": "sam"})
    features: list[dict[str, object]] = json.loads(path.read_text())["features"]
    return features


def level0(x: float, y: float, right: float, bottom: float) -> tuple[float, ...]:
    return tuple(v * DOWNSAMPLE + o for v, o in zip((x, y, right, bottom), ORIGIN * 2, strict=True))


def test_polygons_lie_in_level_0_pixels_along_the_outer_edges(tmp_path: Path) -> None:
    # Columns 4-13, rows 2-7: from the left edge of the first to the right edge of the last.
    (feature,) = polygons(tmp_path / "a.geojson", map_of(painted((4, 2, 10, 6))))
    assert shapely.geometry.shape(feature["geometry"]).bounds == level0(4, 2, 14, 8)
    (shifted,) = polygons(tmp_path / "b.geojson", map_of(painted((4, 2, 10, 6))), offset=(90, 7))
    moved = shapely.transform(shapely.geometry.shape(shifted["geometry"]), lambda points: points + np.array([90, 7]))
    assert moved.bounds == level0(4, 2, 14, 8)


def test_polygons_carry_what_qupath_and_people_need(tmp_path: Path) -> None:
    first, second = polygons(tmp_path / "a.geojson", map_of(painted((4, 2, 10, 6)), painted((20, 10, 7, 5))))
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Region", "color": [40, 90, 200]},
        "measurements": {"region": 0, "area_um2": 960.0, "predicted_iou": 1.0, "stability": 0.5},
    }
    assert second["properties"]["measurements"]["region"] == 1  # type: ignore[index]


def test_holes_and_pieces_of_a_region_stay(tmp_path: Path) -> None:
    mask = painted((2, 2, 16, 14), (6, 5, 5, 4), (25, 3, 8, 9))
    (feature,) = polygons(tmp_path / "a.geojson", map_of(mask))
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.is_valid
    assert sorted(len(part.interiors) for part in shape.geoms) == [0, 1]


def test_all_polygons_are_valid_and_give_their_regions_back(tmp_path: Path) -> None:
    masks = ellipses(25, 120, 90)
    rng = np.random.default_rng(4)
    masks += [mask & (rng.random(mask.shape) < 0.9) for mask in masks[:5]]  # ragged ones
    regions = map_of(*masks)
    for region, shape in enumerate(shapes_of(tmp_path / "a.geojson", regions)):
        assert shape.is_valid
        assert iou(repainted(shape, regions.canvas), regions.mask(region).within((0, 0, 120, 90))) > 0.95


@pytest.mark.parametrize(
    "boxes",
    [
        [(5, 3, 1, 1)],
        [(5, 3, 2, 1)],
        [(5, 3, 9, 1)],
        [(5, 3, 1, 9)],
        [(5, 3, 6, 1), (5, 4, 1, 5)],
        [(5, 3, 1, 1), (6, 4, 1, 1), (5, 5, 1, 1)],
        [(5, 3, 3, 3), (6, 4, 1, 1)],
    ],
    ids=["pixel", "pair", "row", "column", "corner", "diagonal", "ring"],
)
def test_a_thread_of_pixels_is_outlined_exactly(tmp_path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    mask = painted(*boxes)
    regions = map_of(mask)
    (shape,) = shapes_of(tmp_path / "a.geojson", regions)
    assert shape.is_valid
    assert shape.area == mask.sum() * DOWNSAMPLE**2
    np.testing.assert_array_equal(repainted(shape, regions.canvas), mask)


def test_specks_too_far_apart_to_be_outlined_one_by_one_have_their_box(tmp_path: Path) -> None:
    canvas = Canvas(origin_px=(0, 0), downsample=2.0, size_px=(9000, 9000), mpp=0.5)
    specks = [RegionMask.of(np.ones((1, 1), bool), corner) for corner in ((0, 0), (8999, 8999))]
    (shape,) = shapes_of(tmp_path / "a.geojson", map_on(canvas, [RegionMask.union(specks)]))
    assert shape.bounds == (0, 0, 18_000, 18_000)
