"""Regions on disk: small, exact, and to look at."""

import json
import tracemalloc
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import shapely
from region_shapes import DOWNSAMPLE, ORIGIN, ellipses, map_of, map_on, painted, wobbling

from sammil_cli.errors import InputError
from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.overlay import draw_regions, write_overlay
from sammil_cli.regions.polygons import write_region_polygons
from sammil_cli.regions.region_map import Canvas, build
from sammil_cli.regions.region_mask import RegionMask


def test_a_map_comes_back_as_it_was(tmp_path: Path) -> None:
    regions = map_of(*ellipses(12, 300, 200))
    write_regions(tmp_path / "s-1.h5", regions, {"step": "sam"})
    back = read_regions(tmp_path / "s-1.h5")
    assert (back.slide_id, back.canvas) == ("s-1", regions.canvas)
    for name in ("runs", "offsets", "area_px", "box", "predicted_iou", "stability"):
        np.testing.assert_array_equal(getattr(back, name), getattr(regions, name))
        assert getattr(back, name).dtype == getattr(regions, name).dtype, name


def test_a_map_without_regions_comes_back_too(tmp_path: Path) -> None:
    canvas = Canvas(origin_px=ORIGIN, downsample=1.0, size_px=(5, 3), mpp=0.5)
    write_regions(tmp_path / "s-1.h5", build("s-1", canvas, []), {"step": "sam"})
    assert len(read_regions(tmp_path / "s-1.h5")) == 0


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    regions = map_of(*ellipses(5, 60, 50))
    write_regions(tmp_path / "s-1.h5", regions, {"step": "sam"})
    with h5py.File(tmp_path / "s-1.h5") as file:
        assert set(file) == {
            *("runs", "offsets", "area_px", "area_um2", "box", "predicted_iou", "stability", "label_map")
        }
        assert file["area_um2"][0] == file["area_px"][0] * 16
        assert file["label_map"].shape == (50, 60)
        assert file["label_map"].compression == "gzip"
        assert file.attrs["kind"] == "regions"
        assert tuple(file.attrs["canvas_origin_px"]) == ORIGIN
        assert tuple(file.attrs["canvas_size_px"]) == (60, 50)
        assert file.attrs["label_map_step"] == 1
        np.testing.assert_array_equal(file["label_map"][()], regions.labels())
        assert (file.attrs["canvas_downsample"], file.attrs["canvas_mpp"]) == (8.0, 4.0)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_regions(tmp_path / name / "s-1.h5", map_of(*ellipses(5, 60, 50)), {"step": "sam"})
    assert (tmp_path / "a" / "s-1.h5").read_bytes() == (tmp_path / "b" / "s-1.h5").read_bytes()


def test_the_file_is_a_hundred_times_smaller_than_pickled_masks(tmp_path: Path) -> None:
    masks = wobbling(300, 1024)
    assert len(masks) == 300
    canvas = Canvas(origin_px=ORIGIN, downsample=DOWNSAMPLE, size_px=(1024, 1024), mpp=4.0)
    write_regions(tmp_path / "s-1.h5", map_on(canvas, masks), {"step": "sam"})
    assert (tmp_path / "s-1.h5").stat().st_size * 100 < 300 * 1024 * 1024  # a byte a pixel, before pickle's own


def test_nothing_as_large_as_a_large_canvas_is_drawn(tmp_path: Path) -> None:
    # 40 000 x 60 000 px: as a mask 2.4 GB, as a label map 9.6 GB.
    canvas = Canvas(origin_px=(0, 0), downsample=2.0, size_px=(40_000, 60_000), mpp=0.5)
    frame = [RegionMask.of(np.ones((60, 60), bool), (0, 0)), RegionMask.of(np.ones((60, 60), bool), (39_940, 59_940))]
    whole = RegionMask(box=(0, 0, 40_000, 60_000), runs=np.array([0, 2_400_000_000], np.uint32))
    regions = map_on(canvas, [whole, RegionMask.union(frame), RegionMask.of(np.ones((99, 300), bool), (700, 900))])
    tracemalloc.start()
    write_regions(tmp_path / "s-1.h5", regions, {"step": "sam"})
    write_region_polygons(tmp_path / "a.geojson", regions, (0, 0), {"step": "sam"})
    write_overlay(tmp_path / "a.png", np.full((2000, 1334, 3), 255, np.uint8), regions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250e6
    assert (tmp_path / "s-1.h5").stat().st_size < 1e6
    with h5py.File(tmp_path / "s-1.h5") as file:
        assert file.attrs["label_map_step"] == 15
        labels = file["label_map"][()]
    assert labels.shape == (4000, 2667)
    assert (labels[0, 0], labels[-1, -1], labels[62, 50], labels[2000, 1000]) == (1, 1, 2, 0)
    back = read_regions(tmp_path / "s-1.h5")
    assert back.mask(2).box == (700, 900, 300, 99)
    outer = shapely.geometry.shape(json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"])
    assert outer.area == pytest.approx(80_000 * 120_000, rel=0.002)


def test_a_patch_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s-1.h5", "w") as file:
        file.attrs["kind"] = "patches"
    with pytest.raises(InputError, match=r"no regions file \(patches\)"):
        read_regions(tmp_path / "s-1.h5")


def test_the_overlay_has_the_canvas_size_and_tints_regions_only(tmp_path: Path) -> None:
    image = np.full((24, 40, 3), 200, np.uint8)
    regions = map_of(painted((4, 2, 10, 6)), painted((20, 10, 7, 5)))
    write_overlay(tmp_path / "a.png", image, regions)
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    assert picture.shape == (24, 40, 3)
    assert (picture[20, 2] == 200).all()
    assert (picture[4, 8] != 200).any()
    assert (picture[12, 23] != picture[4, 8]).any()
    assert (picture[4, 4] == 30).all()  # the border
    np.testing.assert_array_equal(picture, draw_regions(image, regions.labels()))


def test_a_region_keeps_its_colour_when_others_go() -> None:
    image = np.full((24, 40, 3), 200, np.uint8)
    labels = np.full((24, 40), -1, np.int32)
    labels[2:8, 4:14] = 0
    alone = draw_regions(image, labels)
    labels[10:15, 20:27] = 1
    assert (draw_regions(image, labels)[4, 8] == alone[4, 8]).all()
