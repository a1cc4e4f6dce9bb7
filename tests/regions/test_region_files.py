"""Regions on disk: small, exact, in level-0 pixels for QuPath, and to look at."""

import json
import tracemalloc
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.regions.file import (
    draw_regions,
    read_regions,
    write_overlay,
    write_region_polygons,
    write_regions,
)
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.tissue.mask import paint_rings

ORIGIN, DOWNSAMPLE = (100, 40), 8.0


def map_of(*masks: NDArray[np.bool_]) -> RegionMap:
    height, width = masks[0].shape
    canvas = Canvas(origin_px=ORIGIN, downsample=DOWNSAMPLE, size_px=(width, height), mpp=4.0)
    proposals = [
        Proposal(mask=RegionMask.of(m), predicted_iou=1 - i / 100, stability=0.5 + i / 100) for i, m in enumerate(masks)
    ]
    return build("s-1", canvas, proposals)


def painted(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Boxes x, y, width, height on a canvas of 40 x 24; a later box takes away what is there."""
    mask = np.zeros((24, 40), bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] ^= True
    return mask


def ellipses(count: int, width: int, height: int) -> list[NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(count):
        canvas = np.zeros((height, width), np.uint8)
        centre = tuple(int(v) for v in rng.integers((0, 0), (width, height)))
        axes = tuple(int(v) for v in rng.integers(10, 160, 2))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(canvas > 0)
    return masks


def test_a_map_comes_back_as_it_was(tmp_path: Path) -> None:
    regions = map_of(*ellipses(12, 300, 200))
    write_regions(tmp_path / "a.h5", regions, {"step": "sam"})
    back = read_regions(tmp_path / "a.h5")
    assert (back.slide_id, back.canvas) == ("s-1", regions.canvas)
    for name in ("runs", "offsets", "area_px", "box", "predicted_iou", "stability"):
        np.testing.assert_array_equal(getattr(back, name), getattr(regions, name))
        assert getattr(back, name).dtype == getattr(regions, name).dtype, name


def test_a_map_without_regions_comes_back_too(tmp_path: Path) -> None:
    canvas = Canvas(origin_px=ORIGIN, downsample=1.0, size_px=(5, 3), mpp=0.5)
    write_regions(tmp_path / "a.h5", build("s", canvas, []), {"step": "sam"})
    assert len(read_regions(tmp_path / "a.h5")) == 0


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    regions = map_of(*ellipses(5, 60, 50))
    write_regions(tmp_path / "a.h5", regions, {"step": "sam"})
    with h5py.File(tmp_path / "a.h5") as file:
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
    for name in ("a.h5", "b.h5"):
        write_regions(tmp_path / name, map_of(*ellipses(5, 60, 50)), {"step": "sam"})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def wobbling(count: int, side: int) -> list[RegionMask]:
    """Regions as SAM draws them: wobbling outlines, from specks to a third of the canvas, some with a hole."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    waves = np.arange(1, 16)
    found = []
    for radius in np.minimum(rng.lognormal(np.log(30), 0.8, count), side / 6):
        shape = 1 + (rng.normal(0, 0.25 / waves)[:, None] * np.cos(np.outer(waves, angles))).sum(0)
        outline = np.clip(shape, 0.1, 2)[:, None] * radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        canvas = np.zeros((side, side), np.uint8)
        centre = rng.uniform(radius, side - radius, 2)
        cv2.fillPoly(canvas, [np.rint(outline + centre).astype(np.int32)], 1)
        if rng.random() < 0.3:
            cv2.circle(canvas, centre.astype(int).tolist(), max(1, int(radius / 4)), 0, -1)
        if canvas.any():
            found.append(RegionMask.of(canvas > 0))
    return found


def map_on(canvas: Canvas, masks: list[RegionMask]) -> RegionMap:
    return build("s", canvas, [Proposal(mask=mask) for mask in masks])


def test_the_file_is_a_hundred_times_smaller_than_pickled_masks(tmp_path: Path) -> None:
    masks = wobbling(300, 1024)
    assert len(masks) == 300
    canvas = Canvas(origin_px=ORIGIN, downsample=DOWNSAMPLE, size_px=(1024, 1024), mpp=4.0)
    write_regions(tmp_path / "a.h5", map_on(canvas, masks), {"step": "sam"})
    assert (tmp_path / "a.h5").stat().st_size * 100 < 300 * 1024 * 1024  # a byte a pixel, before pickle's own


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


def test_nothing_as_large_as_a_large_canvas_is_drawn(tmp_path: Path) -> None:
    # 40 000 x 60 000 px: as a mask 2.4 GB, as a label map 9.6 GB.
    canvas = Canvas(origin_px=(0, 0), downsample=2.0, size_px=(40_000, 60_000), mpp=0.5)
    frame = [RegionMask.of(np.ones((60, 60), bool), (0, 0)), RegionMask.of(np.ones((60, 60), bool), (39_940, 59_940))]
    whole = RegionMask(box=(0, 0, 40_000, 60_000), runs=np.array([0, 2_400_000_000], np.uint32))
    regions = map_on(canvas, [whole, RegionMask.union(frame), RegionMask.of(np.ones((99, 300), bool), (700, 900))])
    tracemalloc.start()
    write_regions(tmp_path / "a.h5", regions, {"step": "sam"})
    write_region_polygons(tmp_path / "a.geojson", regions, (0, 0), {"step": "sam"})
    write_overlay(tmp_path / "a.png", np.full((2000, 1334, 3), 255, np.uint8), regions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250e6
    assert (tmp_path / "a.h5").stat().st_size < 1e6
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["label_map_step"] == 15
        labels = file["label_map"][()]
    assert labels.shape == (4000, 2667)
    assert (labels[0, 0], labels[-1, -1], labels[62, 50], labels[2000, 1000]) == (1, 1, 2, 0)
    back = read_regions(tmp_path / "a.h5")
    assert back.mask(2).box == (700, 900, 300, 99)
    outer = shapely.geometry.shape(json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"])
    assert outer.area == pytest.approx(80_000 * 120_000, rel=0.002)


def test_a_patch_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["kind"] = "patches"
    with pytest.raises(InputError, match=r"no regions file \(patches\)"):
        read_regions(tmp_path / "a.h5")


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
