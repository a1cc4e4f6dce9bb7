"""GeoJSON both ways: evidence by the rules of QuPath's own reader, and files in the form of QuPath's own writer.

The rules are those of QuPath 0.4 to 0.8: `qupath.lib.io.QuPathTypeAdapters` and `ROITypeAdapters`, restated here.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from placed_bag_maker import placed_bag
from shapely.geometry import shape

from sammil_cli.regions.drawn_names import Called
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.report.evidence import Evidence, write_evidence
from sammil_cli.report.patch_table import PatchTable
from sammil_cli.storage.geojson import read_geojson
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import read_areas

TYPES = {"annotation", "detection", "cell", "tile", "tmaCore", "root"}
AREAS = {"Polygon", "MultiPolygon"}


def read_as_qupath(document: dict[str, Any]) -> list[tuple[str, str, str, dict[str, float], shapely.Geometry]]:
    """Type, name, class, measurements and geometry of each object, as QuPath would have them; it drops the rest."""
    assert document["type"] == "FeatureCollection"
    found = []
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] in AREAS  # of collections it wants coordinates, which they have none of
        properties = feature["properties"]
        assert properties["objectType"] in TYPES  # anything else becomes an annotation
        assert "id" not in feature  # or a UUID: then loading twice asks about duplicates
        classification = properties.get("classification", {"name": ""})
        colour = classification.get("color", [0, 0, 0])
        assert len(colour) == 3
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in colour)
        numbers = properties["measurements"]  # a map since 0.4; before, a list of names and values
        assert all(type(value) in (int, float) and np.isfinite(value) for value in numbers.values())
        place = shape(feature["geometry"])
        assert place.is_valid
        found.append((properties["objectType"], properties.get("name", ""), classification["name"], numbers, place))
    return found


def evidence() -> Evidence:
    bag = placed_bag(6, 5, [[0, 1, 6, 7], [], [20, 21, 22]])
    masks = [(np.ones((40, 40), bool), (0, 0)), (np.eye(3, dtype=bool), (70, 3)), (np.ones((20, 50), bool), (30, 50))]
    canvas = Canvas(origin_px=(0, 0), downsample=8.0, size_px=(96, 80), mpp=4.0)
    regions = build("s", canvas, [Proposal(mask=RegionMask.of(*one)) for one in masks])
    share = np.linspace(0.3, 0.95, 30) ** 2
    table = PatchTable(
        classes=("normal", "tumour"), xy=bag.xy, attention=share / share.sum(), evidence=np.stack([1 - share, share], 1)
    )
    return Evidence(bag=bag, table=table, regions=regions, called={2: Called("nest", "Tumor")})


@pytest.mark.parametrize("packed", [False, True])
def test_qupath_reads_regions_as_annotations_and_patches_as_detections(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("s.geojson.gz" if packed else "s.geojson")
    write_evidence(path, evidence(), (24, 40), {})
    text = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    objects = read_as_qupath(json.loads(text))
    assert [one[0] for one in objects] == ["annotation"] * 3 + ["detection"] * 30
    assert [one[1:3] for one in objects[:3]] == [("", "Region"), ("", "Region"), ("nest", "Tumor")]
    assert list(objects[-1][3]) == ["attention", "attention percentile", "evidence normal", "evidence tumour", "region"]
    nest = objects[2][3]
    assert {"area_um2", "attention share", "evidence share tumour", "contrast tumour", "rank tumour"} <= set(nest)
    around = [13, 14, 15, 16, 17, 19, 23, 25, 26, 27, 28, 29]  # of patches 20 to 22, on rows of six
    mean = np.mean([objects[3 + at][3]["evidence tumour"] for at in around])
    assert nest["contrast tumour"] == pytest.approx(nest["evidence tumour"] - mean, rel=1e-3)
    assert objects[3][4].bounds == (-24, -40, 104, 88)  # of the first patch, from the scanned area's corner


# As "Export as GeoJSON" of QuPath 0.5 has it: UUIDs, two decimals, `names` of derived classes, colours of objects,
# locked ones, a plane, an ellipse as a polygon, measurements that are no numbers as text, metadata.
EXPORTED = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "0c7f1e0e-5b1d-4e6a-9d3c-1f6f7a3a2b11",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[10.25, 20.5], [60.25, 20.5], [60.25, 80.75], [10.25, 80.75], [10.25, 20.5]]],
                "plane": {"c": -1, "z": 1, "t": 0},
            },
            "properties": {
                "objectType": "annotation",
                "name": "nest 1",
                "color": [200, 0, 10],
                "classification": {"names": ["Tumor", "Invasive"], "color": [200, 0, 0]},
                "isLocked": True,
                "measurements": {"Area µm^2": 188.25, "evidence tumour": "NaN"},
                "metadata": {"ANNOTATION_DESCRIPTION": "by two readers"},
            },
        },
        {
            "type": "Feature",
            "id": "6d1bcf0a-27c5-4c39-8e4b-27ab7a0f55f0",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[0, 5], [5, 0], [10, 5], [5, 10], [0, 5]]],
                "isEllipse": True,
            },
            "properties": {"objectType": "annotation", "classification": {"name": "Ignore*", "color": [180, 180, 180]}},
        },
        {
            "type": "Feature",
            "id": "98b61f2f-9c54-4d4b-8f0d-5d3f8f4f2ab1",
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]},
            "properties": {"objectType": "detection", "measurements": {"attention": 0.25}},
        },
    ],
}


def test_a_file_in_the_form_of_qupaths_own_export_is_read_with_all_that_matters(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    path.write_text(json.dumps(EXPORTED), encoding="utf-8")
    shapes, _ = read_geojson(path, offset_px=(100, 200))
    kinds = [(one.object_type, one.name, one.class_name) for one in shapes]
    assert kinds[0] == ("annotation", "nest 1", "Tumor: Invasive")
    assert kinds[1:] == [("annotation", "", "Ignore*"), ("detection", "", "")]
    assert shapes[0].geometry.bounds == (110.25, 220.5, 160.25, 280.75)
    areas, counts = read_areas(DrawingPath(path), bounds_px=(100, 200, 500, 500))
    assert [(area.class_name, area.excludes) for area in areas] == [("Tumor: Invasive", False), ("Ignore*", True)]
    assert counts["detections passed over"] == 1
