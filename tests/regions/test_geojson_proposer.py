"""A pathologist's annotations as regions: exact, in order, whole, on the slide's own coordinates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from region_views import masks_of, view_of
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping
from slide_maker import array_slide, draw_asymmetric

from sammil_cli.errors import SlideError
from sammil_cli.regions.annotations import read_annotations
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.propose import View, propose_regions
from sammil_cli.regions.proposers.geojson import make
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.tissue.mask import TissueMask

BOUNDS = (40, 24, 560, 400)
PIECES = MultiPolygon([shapely.box(40, 40, 320, 260), shapely.box(520, 340, 600, 420)])  # of the asymmetric slide
Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Writes geometries, or pairs of a geometry and its class, as QuPath exports them."""

    def write(*shapes: Any) -> Path:
        features = []
        for drawn in shapes:
            geometry, name = drawn if isinstance(drawn, tuple) else (drawn, "")
            properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
            features.append({"type": "Feature", "geometry": mapping(geometry), "properties": properties})
        path = tmp_path / "array.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return path

    return write


def tissue_with(bounds_px: tuple[int, int, int, int] = (0, 0, 640, 448)) -> TissueMask:
    return TissueMask(slide_id="array", polygons=PIECES, slide_mpp=1.0, slide_size_px=(640, 448), bounds_px=bounds_px)


def regions_of(path: Path, bounds_px: tuple[int, int, int, int] = (0, 0, 640, 448)) -> tuple[RegionMap, list[str]]:
    """On a canvas that begins at (40, 40) and has one pixel for four."""
    slide = array_slide(draw_asymmetric(), bounds_px=bounds_px)
    regions, _ = propose_regions(slide, tissue_with(bounds_px), make({}, "cpu"), canvas_px=150, drawing=path)
    return regions, slide.remarks


def test_each_annotation_is_a_region_in_the_files_order_with_its_holes(draw: Draw) -> None:
    ring = shapely.box(60, 60, 140, 120).difference(shapely.box(80, 80, 100, 100))
    two = MultiPolygon([shapely.box(160, 60, 180, 80), shapely.box(300, 200, 320, 240)])
    regions, remarks = regions_of(draw(shapely.box(200, 60, 240, 80), ring, two))
    assert regions.canvas.downsample == 4
    assert regions.area_px.tolist() == [10 * 5, 20 * 15 - 5 * 5, 5 * 5 + 5 * 10]
    assert regions.box.tolist() == [[40, 5, 10, 5], [5, 5, 20, 15], [30, 5, 40, 45]]
    assert regions.mask(1).array()[5:10, 5:10].sum() == 0
    assert remarks == []


def test_annotations_may_overlap_and_lie_in_one_another(draw: Draw) -> None:
    lobe, nest, beside = shapely.box(60, 60, 260, 160), shapely.box(100, 80, 140, 120), shapely.box(220, 60, 300, 100)
    regions, _ = regions_of(draw(nest, lobe, beside))
    assert regions.area_px.tolist() == [10 * 10, 50 * 25, 20 * 10]
    assert regions.box.tolist() == [[15, 10, 10, 10], [5, 5, 50, 25], [45, 5, 20, 10]]


def test_coordinates_count_from_the_corner_of_the_scanned_area(draw: Draw) -> None:
    regions, _ = regions_of(draw(shapely.box(60, 60, 100, 100)), BOUNDS)
    x, y = (60 + BOUNDS[0] - 40) // 4, (60 + BOUNDS[1] - 40) // 4
    assert regions.box.tolist() == [[x, y, 10, 10]]


def test_regions_that_sammil_wrote_come_back_on_a_slide_with_bounds(draw: Draw, tmp_path: Path) -> None:
    outline = Polygon([(60, 60), (300, 80), (220, 200), (90, 190)])
    regions, _ = regions_of(draw(outline, shapely.box(500, 320, 590, 390)), BOUNDS)
    write_region_polygons(tmp_path / "again.geojson", regions, BOUNDS[:2], {"step": "sam"})
    again, _ = regions_of(tmp_path / "again.geojson", BOUNDS)
    assert len(again) == len(regions) == 2
    for region in range(2):
        one, two = (found.mask(region).within((0, 0, *found.canvas.size_px)) for found in (regions, again))
        assert (one & two).sum() > 0.97 * (one | two).sum()


def test_what_leaves_the_tissue_is_whole_what_has_none_is_passed_over(draw: Draw) -> None:
    regions, remarks = regions_of(draw(shapely.box(280, 60, 400, 100), shapely.box(420, 60, 480, 100)))
    assert regions.area_px.tolist() == [30 * 10]
    assert remarks == ["edit: annotations without tissue passed over: 1"]


def test_an_annotation_too_small_for_the_pixels_is_told(draw: Draw) -> None:
    regions, remarks = regions_of(draw(shapely.box(60, 60, 140, 100), shapely.box(200, 60, 201, 61)))
    assert len(regions) == 1
    assert remarks == ["annotations: 1 of 2 cover no pixel of 4 µm and are no regions; set sam_mpp, or a smaller one"]


def test_what_is_ignored_is_taken_off_and_what_has_no_area_passed_over(draw: Draw) -> None:
    path = draw(
        shapely.box(60, 60, 140, 100),
        (shapely.box(100, 40, 120, 200), "Ignore*"),
        shapely.Point(70, 70),
        Polygon([(200, 60), (240, 100), (240, 60), (200, 100)]),  # a bow tie
    )
    regions, remarks = regions_of(path)
    assert regions.area_px.tolist()[0] == (20 - 5) * 10
    assert len(regions) == 2
    assert remarks == ["edit: points or lines passed over: 1", "edit: self-crossing outlines repaired: 1"]


def test_pictures_of_one_grid_agree_where_they_overlap_and_together_are_the_whole() -> None:
    rng = np.random.default_rng(5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    star = Polygon((200 + rng.uniform(40, 190, 40) * (np.cos(angles), np.sin(angles))).T)
    drawn = (
        MultiPolygon([star.difference(shapely.box(180, 170, 230, 210))]),
        MultiPolygon([shapely.box(9, 9, 99, 90)]),
    )
    image = np.zeros((100, 100, 3), np.uint8)

    def seen(x: int, y: int, columns: int, rows: int) -> View:
        part = image[y : y + rows, x : x + columns]
        place = {"origin_px": (x * 4.1 + 0.3, y * 4.1 + 0.3), "downsample": 4.1}
        return view_of(part, np.ones(part.shape[:2], bool), drawn=drawn, **place)

    proposer = make({}, "cpu")
    view = seen(0, 0, 100, 100)
    whole = masks_of(proposer.propose(view), view)
    for x, y in ((0, 0), (40, 0), (0, 40), (40, 40)):
        part = seen(x, y, 60, 60)
        shown = masks_of(proposer.propose(part), part)
        expected = whole[:, y : y + 60, x : x + 60]
        np.testing.assert_array_equal(shown, expected[expected.any((1, 2))])


def test_a_pixel_is_in_a_region_when_its_centre_is() -> None:
    rng = np.random.default_rng(6)
    outline = Polygon(rng.uniform(-20, 120, (3, 2)))
    view = view_of(
        np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), bool), downsample=3.0, drawn=(MultiPolygon([outline]),)
    )
    (mask,) = masks_of(make({}, "cpu").propose(view), view)
    rows, columns = np.indices((30, 30))
    np.testing.assert_array_equal(mask, shapely.contains_xy(outline, columns * 3 + 1.5, rows * 3 + 1.5))


def test_annotations_outside_of_the_picture_are_not_in_it() -> None:
    far = tuple(MultiPolygon([shapely.box(x, y, x + 9, y + 9)]) for x, y in ((-50, 5), (5, -50), (99, 5), (5, 99)))
    view = view_of(np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), bool), drawn=far)
    assert make({}, "cpu").propose(view) == []


@pytest.mark.parametrize("overlap", [0.0, 0.25])
@pytest.mark.parametrize("side_px", [37, 64])
def test_tiles_give_the_same_regions_in_the_same_order(draw: Draw, side_px: int, overlap: float) -> None:
    # Nested areas look alike in a tile that both fill; the tile between the two pieces of tissue is not even read.
    nest, lobe = shapely.box(120, 60, 300, 240), shapely.box(45, 45, 315, 255)
    parts = MultiPolygon([shapely.box(60, 60, 100, 100), shapely.box(530, 350, 590, 410)])
    path, proposer = draw(nest, lobe, parts, lobe), make({}, "cpu")
    places: dict[str, Any] = {"mpp": 4.0, "drawing": path}
    whole, _ = propose_regions(array_slide(draw_asymmetric()), tissue_with(), proposer, canvas_px=200, **places)
    tiled, _ = propose_regions(
        array_slide(draw_asymmetric()), tissue_with(), proposer, canvas_px=side_px, overlap=overlap, **places
    )
    assert tiled.canvas == whole.canvas
    assert whole.area_px.tolist() == regions_of(path)[0].area_px.tolist()
    np.testing.assert_array_equal(tiled.runs, whole.runs)
    np.testing.assert_array_equal(tiled.box, whole.box)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("", "E_EDIT", "no valid GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "E_EDIT", "no area drawn"),
        (json.dumps({"geometry": mapping(shapely.box(420, 60, 480, 100))}), "E_ANNOTATION", "640 x 448 px"),
        (json.dumps({"geometry": mapping(shapely.box(42000, 6000, 48000, 9000))}), "E_ANNOTATION", "this slide's file"),
    ],
    ids=["empty", "nothing drawn", "on glass", "another slide's"],
)
def test_a_slide_without_annotations_on_its_tissue_is_set_aside(
    tmp_path: Path, content: str, code: str, words: str
) -> None:
    path = tmp_path / "array.geojson"
    path.write_text(content)
    with pytest.raises(SlideError) as caught:
        read_annotations(path, tissue_with())
    error = caught.value
    assert (error.code, error.set_aside) == (code, True)
    assert str(path) in error.message
    assert words in error.message + error.remedy
