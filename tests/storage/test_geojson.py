"""GeoJSON as QuPath reads it: origin at the scanned area's corner, level-0 pixels."""

import json
from pathlib import Path

import pytest
import shapely

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import read_geojson, write_geojson

RING = shapely.Polygon([(100, 50), (300, 50), (300, 90), (100, 90)], [[(120, 60), (140, 60), (140, 80), (120, 80)]])
DOT = shapely.box(500, 10, 503, 12)


def write(path: Path, offset: tuple[int, int] = (0, 0)) -> None:
    shapes = [(RING, {"area_um2": 7600.0}), (DOT, {})]
    write_geojson(path, shapes, class_name="Tissue", offset_px=offset, provenance={"step": "segment"})


def test_features_are_what_qupath_needs(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson")
    document = json.loads((tmp_path / "a.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    first, second = document["features"]
    assert first["type"] == "Feature"
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Tissue"},
        "measurements": {"area_um2": 7600.0},
    }
    assert first["geometry"]["type"] == "Polygon"
    assert len(first["geometry"]["coordinates"]) == 2  # outline and hole
    for ring in (*first["geometry"]["coordinates"], *second["geometry"]["coordinates"]):
        assert ring[0] == ring[-1]


def test_the_corner_of_the_scanned_area_is_taken_off_stated_and_added_back(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson", offset=(90, 7))
    document = json.loads((tmp_path / "a.geojson").read_text())
    xs, ys = zip(*document["features"][0]["geometry"]["coordinates"][0], strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (10, 210, 43, 83)
    assert document["sammil"]["offset_px"] == [90, 7]
    shapes, provenance = read_geojson(tmp_path / "a.geojson")
    assert provenance["step"] == "segment"
    assert [name for _, name in shapes] == ["Tissue", "Tissue"]
    assert shapes[0][0].equals(RING)
    assert shapes[1][0].equals(DOT)


def test_what_qupath_exports_is_read_without_an_offset(tmp_path: Path) -> None:
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(DOT), "properties": {"objectType": "annotation"}}
    for name, document in (("list", [feature]), ("collection", {"type": "FeatureCollection", "features": [feature]})):
        path = tmp_path / f"{name}.geojson"
        path.write_text(json.dumps(document))
        shapes, provenance = read_geojson(path)
        assert shapes[0][0].equals(DOT)
        assert (shapes[0][1], provenance) == ("", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slide_id,label",
        "{}",
        "3",
        '{"features": [{"geometry": null}]}',
        '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}]}',
        '{"features": [{"geometry": {"type": "Cube", "coordinates": []}}]}',
    ],
)
def test_what_is_no_geojson_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.geojson is no valid GeoJSON"):
        read_geojson(path)


def test_a_file_that_is_not_there_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_geojson(tmp_path / "none.geojson")
    assert "run the stage" in caught.value.remedy
