"""GeoJSON as QuPath reads it: origin at the scanned area's corner, level-0 pixels."""

import gzip
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import Shape, read_geojson, write_geojson

RING = shapely.Polygon([(100, 50), (300, 50), (300, 90), (100, 90)], [[(120, 60), (140, 60), (140, 80), (120, 80)]])
DOT = shapely.box(500, 10, 503, 12)


def write(path: Path, offset: tuple[int, int] = (0, 0)) -> None:
    ring, dot = (Shape(geometry=geometry, class_name="Tissue") for geometry in (RING, DOT))
    write_geojson(path, [(ring, {"area_um2": 7600.0}), (dot, {})], offset_px=offset, provenance={"step": "segment"})


def test_features_are_what_qupath_needs(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson")
    document = json.loads((tmp_path / "a.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    first, second = document["features"]
    assert first["type"] == "Feature"
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Tissue", "color": [30, 150, 60]},
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
    assert [drawn.class_name for drawn in shapes] == ["Tissue", "Tissue"]
    assert shapes[0].geometry.equals(RING)
    assert shapes[1].geometry.equals(DOT)


def test_outlines_turn_left_and_holes_right_as_rfc_7946_wants(tmp_path: Path) -> None:
    clockwise = shapely.Polygon(RING.exterior.coords[::-1], [ring.coords for ring in RING.interiors])
    for polygon in (RING, clockwise):
        write_geojson(tmp_path / "a.geojson", [(Shape(geometry=polygon), {})], offset_px=(3, 5), provenance={})
        outline, hole = json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"]["coordinates"]
        assert shapely.LinearRing(outline).is_ccw
        assert not shapely.LinearRing(hole).is_ccw


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}


@pytest.mark.parametrize(
    "document",
    [[feature(SQUARE)], {"type": "FeatureCollection", "features": [feature(SQUARE)]}, feature(SQUARE), SQUARE],
    ids=["list", "collection", "feature", "geometry"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_each_form_that_qupath_exports_is_read(tmp_path: Path, document: object, packed: bool) -> None:
    text = json.dumps(document).encode()
    path = tmp_path / ("a.geojson.gz" if packed else "a.geojson")
    path.write_bytes(gzip.compress(text) if packed else text)
    (drawn,), facts = read_geojson(path, offset_px=(100, 20))
    assert drawn.geometry.equals(shapely.box(100, 20, 104, 24))
    assert (drawn.class_name, drawn.object_type, facts) == ("", "annotation", {})


def test_an_offset_that_a_file_states_wins(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson", offset=(90, 7))
    shapes, _ = read_geojson(tmp_path / "a.geojson", offset_px=(1000, 2000))
    assert shapes[0].geometry.equals(RING)


@pytest.mark.parametrize(
    ("properties", "name", "kind"),
    [
        ({"classification": {"name": "Ignore*", "color": [180, 180, 180]}}, "Ignore*", "annotation"),
        ({"classification": {"name": "Tumor", "colorRGB": -3670016}}, "Tumor", "annotation"),  # QuPath 0.2
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive", "annotation"),  # QuPath 0.4
        ({"objectType": "detection", "classification": None}, "", "detection"),
        ({"object_type": "tile"}, "", "tile"),
        ({"classification": 3, "objectType": [1]}, "", "annotation"),
        ({"objectType": "PathCellObject"}, "", "cell"),
        ({"objectType": "Detection"}, "", "detection"),
    ],
)
def test_classes_and_kinds_of_several_versions_of_qupath(
    tmp_path: Path, properties: dict[str, object], name: str, kind: str
) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps([feature(SQUARE, **properties)]))
    (drawn,), _ = read_geojson(tmp_path / "a.geojson")
    assert (drawn.class_name, drawn.object_type) == (name, kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PathAnnotationObject", "annotation"),
        ("PathDetectionObject", "detection"),
        ("PathCellObject", "cell"),
        ("PathTileObject", "tile"),
        ("TMACoreObject", "tmacore"),
        ("PathRootObject", "root"),
        ("0c7f1e0e-5b1d-4e6a-9d3c-1f6f7a3a2b11", "annotation"),
        ("my object", "annotation"),
        (7, "annotation"),
    ],
)
def test_old_versions_of_qupath_state_the_kind_as_the_id(tmp_path: Path, name: object, kind: str) -> None:
    old = {**feature(SQUARE, isLocked=False), "id": name}
    (tmp_path / "a.geojson").write_text(json.dumps([old]))
    (drawn,), _ = read_geojson(tmp_path / "a.geojson")
    assert drawn.object_type == kind
    new = {**old, "properties": {"objectType": "tile"}}
    (tmp_path / "a.geojson").write_text(json.dumps([new]))
    assert read_geojson(tmp_path / "a.geojson")[0][0].object_type == "tile"


CORNERS = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
EMPTY_MEMBER = {"type": "MultiPolygon", "coordinates": [[CORNERS], []]}


@pytest.mark.parametrize(
    "geometry",
    [
        EMPTY_MEMBER,
        {"type": "MultiPolygon", "coordinates": [[], [CORNERS, []], [[]], [[], [[1, 1], [2, 1], [2, 2], [1, 1]]]]},
        {"type": "Polygon", "coordinates": [CORNERS, []]},
        {"type": "GeometryCollection", "geometries": [EMPTY_MEMBER, {"type": "Point", "coordinates": []}]},
        {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": [EMPTY_MEMBER]}]},
        {"type": "Polygon", "coordinates": [[["0", "0"], ["4", "0"], ["4", "4"], ["0", "4"]]]},
    ],
)
def test_members_without_points_are_passed_over(tmp_path: Path, geometry: object) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps([feature(geometry)]))
    (drawn,), _ = read_geojson(tmp_path / "a.geojson", offset_px=(10, 20))
    assert shapely.union_all([drawn.geometry]).equals(shapely.box(10, 20, 14, 24))


def test_lines_without_points_in_a_collection_are_passed_over(tmp_path: Path) -> None:
    lines = {"type": "MultiLineString", "coordinates": [[[0, 0], [3, 4]], []]}
    (tmp_path / "a.geojson").write_text(
        json.dumps([feature(lines), feature({"type": "MultiPolygon", "coordinates": []})])
    )
    (first, second), _ = read_geojson(tmp_path / "a.geojson")
    assert first.geometry.length == 5
    assert second.geometry.is_empty


def test_heights_and_features_without_a_place_are_taken_as_rfc_7946_allows(tmp_path: Path) -> None:
    high = {"type": "Polygon", "coordinates": [[[0, 0, 9], [4, 0, 9], [4, 4, 9], [0, 0, 9]]]}
    (tmp_path / "a.geojson").write_text(json.dumps([feature(high), {"geometry": None}]), encoding="utf-8-sig")
    (first, second), _ = read_geojson(tmp_path / "a.geojson")
    assert not first.geometry.has_z
    assert first.geometry.area == 8
    assert second.geometry.is_empty


def polygon_text(*points: str) -> str:
    return '[{"geometry": {"type": "Polygon", "coordinates": [[' + ",".join(points) + "]]}}]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it ends too early"),
        ("slide_id,label", "Expecting value, line 1"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geo', "Unterminated string"),
        ('[{"geometry": null},', "it ends too early"),
        ("{}", "feature 1 of 1 has no geometry"),
        ("3", "no list of features"),
        ('{"features": {"a": 1}}', "no list of features"),
        ('{"features": [], "sammil": 3}', "no list of features"),
        ('{"features": [], "sammil": {"offset_px": "12"}}', "offset_px is '12'"),
        ('{"features": [], "sammil": {"offset_px": [1, 1e99]}}', "offset_px is"),
        ('[{"geometry": null}, 7]', "feature 2 of 2 has no geometry"),
        ('[{"geometry": {"type": "Cube", "coordinates": []}}]', r"feature 1 of 1 \(Cube\)"),
        ('[{"geometry": {"type": "Polygon", "coordinates": 3}}]', r"feature 1 of 1 \(Polygon\)"),
        ('[{"geometry": {"type": "MultiPolygon", "coordinates": [[[0, 0], [1, 1], [2, 0]]]}}]', "MultiPolygon"),
        ('[{"geometry": {"type": "GeometryCollection", "geometries": [5]}}]', "GeometryCollection"),
        ('[{"geometry": {"type": "GeometryCollection", "geometries": [null]}}]', "GeometryCollection"),
        ('[{"geometry": {"type": "MultiPolygon", "coordinates": [null, [[[0, 0], [1, 1], [2, 0]]]]}}]', "MultiP"),
        ('[{"geometry": [1, 2]}]', "no points of such a shape"),
        (polygon_text("[0, 0]", "[1, 1]"), "no points of such a shape"),
        (polygon_text("[0]", "[1]", "[2]", "[0]"), "no points of such a shape"),
        (polygon_text('["a", 0]', "[1, 1]", "[2, 0]"), "no points of such a shape"),
        (polygon_text("[null, 0]", "[1, 1]", "[2, 0]"), "no points of such a shape"),
        (polygon_text("[NaN, 0]", "[1, 1]", "[2, 0]"), "a number is NaN"),
        (polygon_text("[1e999, 0]", "[1, 1]", "[2, 0]"), "infinite or far outside"),
        (polygon_text("[1e30, 0]", "[1, 1]", "[2, 0]"), "infinite or far outside"),
        (polygon_text(f"[{'9' * 400}, 0]", "[1, 1]", "[2, 0]"), "more than 40 digits"),
        (polygon_text(f"[{'9' * 5000}, 0]", "[1, 1]", "[2, 0]"), "more than 40 digits"),
        ("[" * 100_000, "its brackets lie more than"),
    ],
)
def test_what_is_no_geojson_is_refused_with_the_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"bad\.geojson is no valid GeoJSON: .*{reason}"):
        read_geojson(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_text_of_each_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    document = [feature(SQUARE, classification={"name": "Gewebe µ"})]
    (tmp_path / "a.geojson").write_bytes(json.dumps(document, ensure_ascii=False).encode(encoding))
    (drawn,), _ = read_geojson(tmp_path / "a.geojson")
    assert (drawn.class_name, drawn.geometry.area) == ("Gewebe µ", 16)


def test_bytes_that_are_no_text_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_bytes(b'["\xe4"]')
    with pytest.raises(InputError, match="no text in UTF-8 or UTF-16"):
        read_geojson(tmp_path / "a.geojson")
    packed = gzip.compress(json.dumps([feature(SQUARE)]).encode())
    for name, content in (("cut", packed[:-12]), ("flipped", packed[:15] + b"\xff\xff" + packed[17:]), ("not", b"{}")):
        (tmp_path / f"{name}.geojson.gz").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            read_geojson(tmp_path / f"{name}.geojson.gz")


def test_an_archive_whose_names_are_no_text_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("\u00e4.geojson", "[]")
    content = (tmp_path / "s.zip").read_bytes()
    (tmp_path / "s.zip").write_bytes(content.replace("\u00e4".encode(), b"\xff\xff"))
    with pytest.raises(InputError, match="cannot be read"):
        read_geojson(tmp_path / "s.zip")


@pytest.mark.parametrize("name", [".", "./.", ""])
def test_a_nameless_member_of_an_archive_is_passed_over(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "x")
        archive.writestr("s.geojson", json.dumps([]))
    assert read_geojson(tmp_path / "s.zip")[0] == []


@pytest.mark.parametrize("name", ["./s.geojson", "a//s.geojson", "a/./s.geojson"])
def test_a_member_of_an_archive_is_read_by_the_name_that_it_has_there(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(name, json.dumps([]))
    assert read_geojson(tmp_path / "s.zip")[0] == []


def test_a_small_archive_of_a_huge_text_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sammil_cli.storage.packed.MOST_BYTES", 1 << 20)
    (tmp_path / "bomb.geojson.gz").write_bytes(gzip.compress(b"[" + b" " * (1 << 21) + b"]"))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_geojson(tmp_path / "bomb.geojson.gz")


def test_ten_megabytes_are_read_in_seconds(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 250_000)[:, None]
    points = 50_000 + 20_000 * np.hstack([np.cos(angle), np.sin(angle)])
    text = json.dumps([feature({"type": "Polygon", "coordinates": [points.tolist()]})])
    assert len(text) > 9e6
    (tmp_path / "big.geojson").write_text(text)
    start = time.process_time()
    (drawn,), _ = read_geojson(tmp_path / "big.geojson", offset_px=(1, 1))
    assert time.process_time() - start < 5  # some 0.5 s
    assert drawn.geometry.area == pytest.approx(np.pi * 20_000**2, rel=1e-6)


def test_a_file_that_is_not_there_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_geojson(tmp_path / "none.geojson")
    assert "run the stage" in caught.value.remedy
