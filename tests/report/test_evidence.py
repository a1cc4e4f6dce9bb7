"""Evidence for QuPath: what its GeoJSON reader wants, in the coordinates that it counts in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from h5_files import bag

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.regions.drawn_names import Called
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.report.evidence import Evidence, write_evidence
from sammil_cli.report.patch_table import PatchTable
from sammil_cli.storage.geojson import read_own_geojson
from sammil_cli.tissue.edits import read_drawing

PATCHES = 60


def regions() -> RegionMap:
    masks = [RegionMask.of(np.ones((20, 30), bool), (3 * number, 5)) for number in range(3)]
    canvas = Canvas(origin_px=(8, 16), downsample=8.0, size_px=(60, 50), mpp=2.0)
    return build("s", canvas, [Proposal(mask=mask) for mask in masks])


def evidence(given: FeatureBag | None = None, *, outlines: bool = True) -> Evidence:
    given = given or bag("s")
    share = np.linspace(0, 1, PATCHES)
    table = PatchTable(
        classes=("normal", "tumour <b>"),
        xy=given.xy,
        attention=np.arange(PATCHES) / 1000,
        evidence=np.stack([1 - share, share], 1),
    )
    return Evidence(bag=given, table=table, regions=regions() if outlines else None)


def test_patches_are_detections_and_regions_annotations_each_with_its_measurements(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    write_evidence(path, evidence(), (10, 6), {"stage": "evidence"})
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    properties = [feature["properties"] for feature in document["features"]]
    assert [one["objectType"] for one in properties] == ["annotation"] * 3 + ["detection"] * PATCHES
    assert all(isinstance(number, int | float) for one in properties for number in one["measurements"].values())
    last = properties[-1]["measurements"]
    assert last == {
        "attention": 0.059,
        "attention percentile": 100.0,
        "evidence normal": 0.0,
        "evidence tumour <b>": 1.0,
        "region": 2,
    }
    first, empty = properties[0]["measurements"], properties[1]["measurements"]
    assert (first["region"], first["patches"]) == (0, 2)  # members 0 and 1, of attention 0 and 0.001
    assert first["attention share"] == pytest.approx(0.001 / sum(range(PATCHES)) * 1000, rel=1e-5)
    assert first["evidence tumour <b>"] == pytest.approx(0.5 / (PATCHES - 1), rel=1e-5)
    assert first["area_um2"] == 20 * 30 * 4
    assert (first["evidence share tumour <b>"], first["evidence share normal"] > 0) == (0, True)
    assert (first["rank normal"], first["rank tumour <b>"]) == (1, 2)  # its patches speak against tumour
    assert first["contrast normal"] == pytest.approx(-first["contrast tumour <b>"], rel=1e-4)
    assert empty["patches"] == 0
    assert "attention share" not in empty


def test_regions_that_somebody_drew_have_their_names_and_classes(tmp_path: Path) -> None:
    called = {0: Called("nest 1", "Tumor"), 2: Called("scar", "")}
    write_evidence(tmp_path / "s.geojson", replace(evidence(), called=called), (0, 0), {})
    shapes = read_own_geojson(tmp_path / "s.geojson", "")[0][:3]
    assert [(one.name, one.class_name) for one in shapes] == [("nest 1", "Tumor"), ("", "Region"), ("scar", "Region")]


def test_coordinates_count_from_the_scanned_area_and_read_back_as_level_0_pixels(tmp_path: Path) -> None:
    path, given = tmp_path / "s.geojson", bag("s")
    write_evidence(path, evidence(), (10, 6), {})
    document = json.loads(path.read_text(encoding="utf-8"))
    ring = np.array(document["features"][3]["geometry"]["coordinates"][0])
    assert ring.min(axis=0).tolist() == (given.xy[0] - (10, 6)).tolist()
    shapes, facts = read_own_geojson(path, "again")
    assert facts["offset_px"] == [10, 6]
    patch = shapes[3].geometry
    x, y = given.xy[0].tolist()
    assert patch.equals(shapely.box(x, y, x + 128, y + 128))


def test_as_a_drawing_only_its_regions_would_count(tmp_path: Path) -> None:
    path = tmp_path / "s.geojson"
    write_evidence(path, evidence(), (0, 0), {})
    drawn = read_drawing(path, slide_size_px=(640, 448), bounds_px=(0, 0, 640, 448))
    assert drawn.include is not None
    whole = shapely.unary_union([shape.geometry for shape in read_own_geojson(path, "")[0][:3]])
    assert drawn.include.symmetric_difference(whole).area < 1e-3 * whole.area


def test_without_outlines_patches_still_name_their_regions_and_without_places_there_is_nothing(tmp_path: Path) -> None:
    path, given = tmp_path / "s.geojson.gz", bag("s")
    write_evidence(path, evidence(outlines=False), (0, 0), {})
    assert len(read_own_geojson(path, "")[0]) == PATCHES
    unplaced = replace(given, xy=np.full_like(given.xy, -1))
    with pytest.raises(SlideError, match="does not say where its patches lie") as caught:
        write_evidence(path, evidence(unplaced), (0, 0), {})
    assert caught.value.code == "E_BAG"


def test_patches_of_unknown_size_take_the_step_of_their_grid(tmp_path: Path) -> None:
    given = bag("s")
    corners = np.stack(np.meshgrid(np.arange(10), np.arange(6)), -1).reshape(-1, 2).astype(np.int32) * 200
    given = replace(given, xy=corners, encoder=replace(given.encoder, patch_px_level0=0))
    write_evidence(tmp_path / "s.geojson", evidence(given, outlines=False), (0, 0), {})
    assert read_own_geojson(tmp_path / "s.geojson", "")[0][0].geometry.bounds == (0, 0, 200, 200)
