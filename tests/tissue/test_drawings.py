"""What a person drew in QuPath: include and exclude, repaired with a notice, cut to the slide."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import mapping
from slide_maker import array_slide, draw_asymmetric
from tissue_specs import BARE, segment

from sammil_cli.errors import InputError, SlideError
from sammil_cli.tissue.drawing_files import find_drawings
from sammil_cli.tissue.edits import read_drawing, read_polygons
from sammil_cli.tissue.mask import write_tissue

SIZE = (640, 448)
WHOLE = (0, 0, *SIZE)
Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Writes shapes (geometry, class) as QuPath exports them."""

    def write(*shapes: tuple[Any, str], kind: str = "annotation") -> Path:
        features = [
            {
                "type": "Feature",
                "id": "0c7f1e0e",
                "geometry": geometry if isinstance(geometry, dict) else mapping(geometry),
                "properties": {"objectType": kind} | ({"classification": {"name": name}} if name else {}),
            }
            for geometry, name in shapes
        ]
        (tmp_path / "s.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return tmp_path / "s.geojson"

    return write


def polygons(path: Path, bounds_px: tuple[int, int, int, int] = WHOLE) -> tuple[shapely.MultiPolygon, list[str]]:
    return read_polygons(path, slide_size_px=SIZE, bounds_px=bounds_px)


def test_classes_include_and_those_that_begin_with_ignore_exclude(draw: Draw) -> None:
    path = draw(
        (shapely.box(10, 10, 110, 110), ""),
        (shapely.box(60, 10, 210, 60), "Tumor"),  # overlaps the first: counts once
        (shapely.box(10, 10, 30, 110), "Ignore*"),
        (shapely.box(200, 10, 250, 20), "ignored by me"),
        (shapely.box(90, 90, 110, 95), "Exclusion"),
    )
    found, notices = polygons(path)
    assert found.area == 100 * 100 + 100 * 50 - 20 * 100 - 10 * 10 - 20 * 5
    assert found.is_valid
    assert notices == []


def test_polygons_lie_in_collections_of_any_depth(draw: Draw) -> None:
    one, two, three = (shapely.box(x, 10, x + 50, 60) for x in (10, 100, 200))
    nested = shapely.GeometryCollection([shapely.MultiPolygon([one, two]), shapely.GeometryCollection([three])])
    assert polygons(draw((nested, "")))[0].area == 3 * 2500


def test_a_hole_stays_a_hole(draw: Draw) -> None:
    ring = shapely.box(10, 10, 110, 110).difference(shapely.box(40, 40, 60, 70))
    (polygon,) = polygons(draw((ring, "")))[0].geoms
    assert [shapely.Polygon(hole).area for hole in polygon.interiors] == [600]


def test_coordinates_of_qupath_count_from_the_corner_of_the_scanned_area(draw: Draw) -> None:
    found, _ = polygons(draw((shapely.box(0, 0, 50, 40), "")), bounds_px=(30, 12, 600, 420))
    assert found.bounds == (30, 12, 80, 52)


def test_what_sammil_wrote_comes_back_the_same_on_a_slide_with_bounds(tmp_path: Path) -> None:
    bounds = (30, 12, 600, 420)
    spec = replace(BARE, segmenter="otsu", mpp=4.0)
    mask, _ = segment(array_slide(draw_asymmetric(), mpp=2.0, bounds_px=bounds), spec)
    write_tissue(tmp_path / "a.geojson", mask, {})
    assert polygons(tmp_path / "a.geojson", bounds)[0].equals(mask.polygons)
    # QuPath drops the key that states the offset; its coordinates count from the same corner.
    document = json.loads((tmp_path / "a.geojson").read_text())
    del document["sammil"]
    (tmp_path / "a.geojson").write_text(json.dumps(document["features"]))
    assert polygons(tmp_path / "a.geojson", bounds)[0].equals(mask.polygons)


def test_an_outline_that_crosses_itself_is_repaired_and_told(draw: Draw) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]]}
    found, notices = polygons(draw((bow_tie, "")))
    assert found.is_valid
    assert found.area == 2 * 2500
    assert notices == ["edit: self-crossing outlines repaired: 1"]


def test_where_an_outline_overlaps_itself_is_tissue_and_no_hole(draw: Draw) -> None:
    loop = [[0, 50], [200, 50], [200, 100], [50, 100], [50, 0], [100, 0], [100, 200], [0, 200], [0, 50]]
    found, _ = polygons(draw(({"type": "Polygon", "coordinates": [loop]}, "")))
    assert found.contains(shapely.Point(75, 75))
    assert all(not polygon.interiors for polygon in found.geoms)


def test_what_lies_outside_of_the_slide_is_cut_off_and_told(draw: Draw) -> None:
    found, notices = polygons(draw((shapely.box(-100, 100, 300, 200), "")))
    assert found.bounds == (0, 100, 300, 200)
    assert notices == ["edit: 25.0% of the drawn area lies outside of the slide, cut off"]


def test_points_lines_detections_and_slivers_are_passed_over_with_a_count(draw: Draw) -> None:
    path = draw(
        (shapely.box(10, 10, 110, 110), ""),
        (shapely.box(200, 200, 203, 203), ""),
        (shapely.Point(5, 5), ""),
        (shapely.LineString([(0, 0), (9, 9)]), "Tumor"),
        (shapely.MultiPoint([(0, 0), (9, 9)]), ""),
    )
    found, notices = polygons(path)
    assert found.area == 10_000
    assert notices == ["edit: points or lines passed over: 4", "edit: slivers dropped: 1"]
    with pytest.raises(SlideError, match=r"no area drawn on it \(edit: detections passed over: 2\)"):
        polygons(draw((shapely.box(0, 0, 9, 9), ""), (shapely.box(10, 0, 19, 9), ""), kind="detection"))


def test_cells_of_an_old_export_are_no_tissue(tmp_path: Path) -> None:
    area, *cells = (shapely.box(x, 10, x + side, 10 + side) for x, side in ((10, 300), (400, 90), (500, 90)))
    kinds = ("PathAnnotationObject", "PathCellObject", "PathDetectionObject")
    features = [
        {"type": "Feature", "id": kind, "geometry": mapping(drawn), "properties": {"isLocked": False}}
        for kind, drawn in zip(kinds, (area, *cells), strict=True)
    ]
    (tmp_path / "s.geojson").write_text(json.dumps(features))
    found, notices = polygons(tmp_path / "s.geojson")
    assert found.equals(area)
    assert notices == ["edit: cells passed over: 1", "edit: detections passed over: 1"]


def test_where_only_ignore_was_drawn_the_rest_is_left(draw: Draw) -> None:
    path = draw((shapely.box(0, 0, 320, 448), "Ignore*"))
    drawing = read_drawing(path, slide_size_px=SIZE, bounds_px=WHOLE)
    assert drawing.include is None
    assert polygons(path)[0].bounds == (320, 0, 640, 448)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([], "no area drawn"),
        ([(shapely.Point(3, 3), "")], r"no area drawn on it \(edit: points or lines passed over: 1\)"),
        ([(shapely.box(1000, 1000, 1100, 1100), "")], "nothing drawn in .* lies on the slide of 640 x 448 px"),
        ([(shapely.box(9, 9, 99, 99), ""), (shapely.box(0, 0, 640, 448), "Ignore*")], "leave nothing of the slide"),
        ([({"type": "Polygon", "coordinates": [[[5, 5], [50, 50], [5, 5]]]}, "")], "outlines around nothing"),
        ([({"type": "Polygon", "coordinates": [[[5, 5], [50, 50], [90, 90], [5, 5]]]}, "")], "no area drawn"),
        ([({"type": "Polygon", "coordinates": [[[5, 5]]]}, "")], r"feature 1 of 1 \(Polygon\): the coordinates"),
    ],
)
def test_a_drawing_of_nothing_costs_its_slide_with_a_reason(draw: Draw, shapes: list[Any], reason: str) -> None:
    with pytest.raises(SlideError, match=reason) as caught:
        polygons(draw(*shapes))
    assert (caught.value.code, caught.value.set_aside) == ("E_EDIT", True)
    assert caught.value.remedy


def test_drawings_are_found_by_the_id_of_their_slide(tmp_path: Path) -> None:
    for name in ("case.1.geojson", "b.geojson.gz", ".gitkeep", "remarks.txt", ".c.geojson"):
        (tmp_path / name).touch()
    assert {slide: path.name for slide, path in find_drawings(tmp_path).items()} == {
        "case.1": "case.1.geojson",
        "b": "b.geojson.gz",
    }
    assert find_drawings(tmp_path / "none") == {}
    (tmp_path / "b.geojson").touch()
    with pytest.raises(InputError, match="are for one slide"):
        find_drawings(tmp_path)
