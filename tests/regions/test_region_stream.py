"""Polygons of many regions: written as they come, packed where asked, none of them empty."""

import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from region_shapes import ellipses, map_of, map_on

from sammil_cli.errors import InputError
from sammil_cli.regions import polygons
from sammil_cli.regions.polygons import annotations, write_region_polygons
from sammil_cli.regions.region_map import Canvas
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, read_own_geojson, verify_own_geojson, write_geojson

AGAIN = "run: sammil sam"

_WRITE = """
import pathlib, sys, cv2, numpy as np
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
disk = np.zeros((15, 15), np.uint8)
cv2.circle(disk, (7, 7), 7, 1, -1)
canvas = Canvas(origin_px=(0, 0), downsample=2.0, size_px=(200 * 16, 200 * 16), mpp=0.5)
mask, places = RegionMask.of(disk > 0), np.stack(np.divmod(np.arange(int(sys.argv[1])), 200), 1) * 16
regions = build("s", canvas, [Proposal(mask=mask.moved(x, y)) for x, y in places.tolist()])
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would begin with the parent's
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
before = peak()
write_region_polygons(pathlib.Path(sys.argv[2]), regions, (0, 0), {})
print(peak() - before)
"""


@pytest.mark.stress
def test_ten_thousand_regions_are_written_without_being_held(tmp_path: Path) -> None:
    # All features of 20 000 and their text at once take 133 MiB.
    path = tmp_path / "s.geojson"
    command = [sys.executable, "-c", _WRITE, "10000", str(path)]
    assert float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 25
    with path.open("rb") as stream:
        assert sum(1 for _ in stream) == 10_001


def test_the_same_regions_whatever_number_is_outlined_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = map_of(*ellipses(23, 120, 90))
    write_region_polygons(tmp_path / "a.geojson", regions, (3, 5), {"step": "sam"})
    monkeypatch.setattr(polygons, "_AT_ONCE", 5)
    write_region_polygons(tmp_path / "b.geojson", regions, (3, 5), {"step": "sam"})
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()
    features = json.loads((tmp_path / "b.geojson").read_text())["features"]
    assert [one["properties"]["measurements"]["region"] for one in features] == list(range(23))


def test_packed_polygons_are_the_plain_ones_in_the_same_bytes_each_time(tmp_path: Path) -> None:
    regions = map_of(*ellipses(12, 120, 90))
    for name in ("s-1.geojson", "s-1.geojson.gz", "again/s-1.geojson.gz"):
        write_region_polygons(tmp_path / name, regions, (3, 5), {"step": "sam"})
    packed = (tmp_path / "s-1.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "s-1.geojson").read_bytes()
    assert packed == (tmp_path / "again/s-1.geojson.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # neither a name nor a time
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "s-1.geojson", "s-1.geojson.gz"]
    plain = read_own_geojson(tmp_path / "s-1.geojson", AGAIN)
    assert read_own_geojson(tmp_path / "s-1.geojson.gz", AGAIN) == plain
    for name in ("s-1.geojson", "s-1.geojson.gz"):
        assert verify_own_geojson(tmp_path / name, AGAIN) == (plain[1], True)


@pytest.mark.parametrize("suffix", [".geojson", ".geojson.gz"])
@pytest.mark.parametrize("step", [1, 7], ids=["bit", "half"])
def test_damage_of_any_kind_is_seen(tmp_path: Path, suffix: str, step: int) -> None:
    path = tmp_path / f"s-1{suffix}"
    write_region_polygons(path, map_of(*ellipses(3, 40, 24)), (3, 5), {"step": "sam"})
    whole = path.read_bytes()
    for at in range(40, len(whole) - 8, max(1, len(whole) // 23)):
        path.write_bytes(whole[:at] if step == 7 else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        for read in (read_own_geojson, verify_own_geojson):
            with pytest.raises(InputError) as caught:
                read(path, AGAIN)
            assert caught.value.code == "E_DAMAGED"


def test_another_layout_and_files_without_a_sum_are_verified_too(tmp_path: Path) -> None:
    path = tmp_path / "s-1.geojson"
    write_region_polygons(path, map_of(*ellipses(3, 40, 24)), (3, 5), {"step": "sam"})
    facts = verify_own_geojson(path, AGAIN)[0]
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, indent=1))
    assert verify_own_geojson(path, AGAIN) == (facts, True)
    del document["sammil"]["sum"], document["sammil"]["schema"]  # an earlier version's
    path.write_text(json.dumps(document))
    assert verify_own_geojson(path, AGAIN)[1] is False


@pytest.mark.parametrize("text", ['{"features": [\n]}\n', '{"sammil": 3, "features": [\n]}\n', "[\n]\n", ""])
def test_what_sammil_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s-1.geojson").write_text(text)
    with pytest.raises(InputError) as caught:
        verify_own_geojson(tmp_path / "s-1.geojson", AGAIN)
    assert caught.value.code == "E_DAMAGED"


@pytest.mark.parametrize("downsample", [1.0, 1.37, 32.0])
def test_no_region_is_so_small_that_its_outline_is_empty(downsample: float) -> None:
    cells = np.array(list(itertools.product([False, True], repeat=9)))[1:].reshape(-1, 3, 3)
    rng = np.random.default_rng(0)
    masks = [RegionMask.of(mask, (7, 9)) for mask in [*cells, *(rng.random((60, 12, 9)) < 0.5)]]
    canvas = Canvas(origin_px=(1003, 77), downsample=downsample, size_px=(40, 40), mpp=0.5)
    regions = map_on(canvas, masks)
    found = np.array([shape.geometry for shape, _ in annotations(regions)], object)
    assert shapely.is_valid(found).all()
    area = shapely.area(found) / downsample**2 / regions.area_px
    assert area.min() > 0.8
    assert area.max() < 1.1


def test_each_shape_has_its_own_class_and_name(tmp_path: Path) -> None:
    box = shapely.box(0, 0, 4, 4)
    shapes = [
        (Shape(geometry=box, class_name="Tumor", name="the left one"), {"area_mm2": 0.5}),
        (Shape(geometry=box, object_type="detection"), {}),
    ]
    write_geojson(tmp_path / "a.geojson", iter(shapes), offset_px=(0, 0), provenance={})
    first, second = (one["properties"] for one in json.loads((tmp_path / "a.geojson").read_text())["features"])
    assert first == {
        "objectType": "annotation",
        "name": "the left one",
        "classification": {"name": "Tumor", "color": [200, 120, 0]},
        "measurements": {"area_mm2": 0.5},
    }
    assert second == {"objectType": "detection", "measurements": {}}


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_a_file_whose_shapes_end_in_an_error_is_not_there(tmp_path: Path, name: str) -> None:
    def shapes() -> Iterator[tuple[Shape, Record]]:
        yield Shape(geometry=shapely.box(0, 0, 4, 4)), {}
        raise InputError("no more", remedy="")

    with pytest.raises(InputError, match="no more"):
        write_geojson(tmp_path / name, shapes(), offset_px=(0, 0), provenance={})
    assert list(tmp_path.iterdir()) == []
