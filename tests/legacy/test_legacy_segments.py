"""Documents of a segments pickle, and all their masks on one canvas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sam_mil_run import first_document, info, record, second_document, write_pickles

from sammil_cli.errors import InputError
from sammil_cli.legacy.canvas import build_regions, common_canvas
from sammil_cli.legacy.segments import read_segments
from sammil_cli.regions.region_map import RegionMap


def shown(regions: RegionMap, region: int) -> NDArray[np.bool_]:
    """A region on the whole canvas."""
    return regions.mask(region).within((0, 0, *regions.canvas.size_px))


def test_scale_and_place_of_each_document(tmp_path: Path) -> None:
    first, second = read_segments(write_pickles(tmp_path / "a.pkl", first_document(), second_document()))
    assert (first.number, first.origin_px, first.downsample, first.merged, len(first.masks)) == (
        0,
        (1000, 500),
        2,
        1,
        3,
    )
    assert (second.number, second.origin_px, second.downsample, len(second.masks)) == (1, (3000, 1500), 1, 1)
    assert first.masks[1].box == (300, 10, 399, 9)
    assert first.masks[1].area_px == 4000
    assert first.patch_px == 512
    assert first.remarks == []


@pytest.mark.parametrize(
    ("level", "width", "height"), [(16, 40_000, 20_000), (4, 1500, 3001), (3, 3999, 2500), (5, 5001, 8190)]
)
def test_the_levels_downsample_follows_from_the_masks_size(tmp_path: Path, level: int, width: int, height: int) -> None:
    # By the script's rule: 40000 px are shrunk by 64 = 16 * 4, 3001 by 4 = 4 * 1, 3999 by 4: int(4 / 3) * 3, …
    ratio = {16: 4, 4: 1, 3: 1, 5: 1}[level]
    size = (width // level // ratio, height // level // ratio)
    document = [info(0, 0, width, height, vis_level=2, ratio=ratio), record(*size, 0, 0, 9, 5)]
    [read] = read_segments(write_pickles(tmp_path / "a.pkl", document))
    assert read.downsample == level * ratio
    assert f"; {level} fits" in read.remarks[0]
    assert ("unusual" in " ".join(read.remarks)) is (level in (3, 5))


def test_masks_shrunk_by_an_older_script_keep_their_areas(tmp_path: Path) -> None:
    # 3072 x 1024 at level 0 -> picture 768 x 256 -> masks 192 x 64, four picture pixels each.
    shrunk = record(192, 64, 10, 20, 3, 2) | {"area": 50, "bbox": [40, 80, 11, 7]}
    document = [info(5, 7, 3072, 1024, ratio=4, patch_merge_scale=4), shrunk]
    [read] = read_segments(write_pickles(tmp_path / "a.pkl", document))
    assert (read.downsample, read.merged) == (4, 4)
    canvas, _ = common_canvas([read], 0.25)
    assert (canvas.downsample, canvas.size_px, canvas.mpp) == (4.0, (768, 256), 1.0)
    regions = build_regions("a", [read], canvas)
    expected = np.zeros((256, 768), bool)
    expected[80:88, 40:52] = True
    np.testing.assert_array_equal(shown(regions, 0), expected)
    assert regions.area_px.tolist() == [50]
    assert regions.box.tolist() == [[40, 80, 12, 8]]


def test_masks_of_all_documents_lie_on_one_canvas(tmp_path: Path) -> None:
    documents = read_segments(write_pickles(tmp_path / "a.pkl", first_document(), second_document()))
    canvas, remarks = common_canvas(documents, 0.5)
    # From (1000, 500) to (3512, 2268) at downsample 1.
    assert (canvas.origin_px, canvas.downsample, canvas.size_px, canvas.mpp) == ((1000, 500), 1.0, (2512, 1768), 0.5)
    assert "nearest neighbour" in remarks[0]
    regions = build_regions("a", documents, canvas)
    # Masks of document 0 become twice as large; document 1 lies 2000 to the right and 1000 below.
    boxes = [[0, 0, 512, 512], [600, 20, 800, 20], [0, 512, 1536, 512], [2100, 1600, 100, 100]]
    assert regions.box.tolist() == boxes
    assert regions.area_px.tolist() == [width * height for _, _, width, height in boxes]
    for region, (x, y, width, height) in enumerate(boxes):
        expected = np.zeros((1768, 2512), bool)
        expected[y : y + height, x : x + width] = True
        np.testing.assert_array_equal(shown(regions, region), expected)
    np.testing.assert_allclose(regions.predicted_iou, 0.9)
    np.testing.assert_allclose(regions.stability, 0.8)


def test_ragged_masks_keep_every_pixel(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((4, 30, 50)) < 0.2
    masks[0, 0, 0] = masks[1, -1, -1] = masks[2, -1, 0] = masks[3, 0, -1] = True
    records = [record(50, 30, 0, 0, 1, 1) | {"segmentation": mask, "area": int(mask.sum())} for mask in masks]
    other = [info(60, 40, 20, 10), record(20, 10, 5, 5, 1, 1)]
    documents = read_segments(write_pickles(tmp_path / "a.pkl", [info(0, 0, 50, 30), *records], other))
    canvas, remarks = common_canvas(documents, None)
    assert canvas.size_px == (80, 50)
    assert remarks == []
    regions = build_regions("a", documents, canvas)
    for region, mask in enumerate(masks):
        np.testing.assert_array_equal(shown(regions, region), np.pad(mask, ((0, 20), (0, 30))))
    assert regions.mask(4).area_px == 1
    assert shown(regions, 4)[45, 65]
    assert np.isnan(regions.area_um2).all()


def test_tissue_far_apart_gets_a_coarser_canvas_and_loses_no_mask(tmp_path: Path) -> None:
    far = [info(90_000, 41, 100, 60), record(100, 60, 33, 17, 1, 1)]
    documents = read_segments(write_pickles(tmp_path / "a.pkl", [info(0, 0, 64, 32), record(64, 32, 3, 5, 1, 1)], far))
    canvas, remarks = common_canvas(documents, None)
    # 90100 x 101 px fit into 2 ** 24 at once; a second piece far below does not.
    assert canvas.downsample == 1
    below = [info(0, 80_000, 64, 32), record(64, 32, 63, 31, 1, 1)]
    documents += read_segments(write_pickles(tmp_path / "b.pkl", below))
    canvas, remarks = common_canvas(documents, None)
    # 90100 x 80032 / 4 ** k <= 2 ** 24 from k = 5 on, 2816 x 2501.
    assert canvas.downsample == 32
    assert "too large" in remarks[0]
    assert "half a canvas pixel" in remarks[1]
    regions = build_regions("a", documents, canvas)
    # (90000 + 33) / 32 = 2813.5, (41 + 17) / 32 = 1.8; documents move to 2812 (or 2813) and 1 first.
    assert [regions.mask(region).area_px for region in range(3)] == [1, 1, 1]
    assert regions.box[1].tolist() == [2812 + 33 // 32, 1 + 17 // 32, 1, 1]
    assert regions.box[2].tolist() == [1, 2500, 1, 1]
    assert regions.area_px.tolist() == [1, 1, 1]


def test_three_to_two_scaling_takes_the_nearest_pixel(tmp_path: Path) -> None:
    # Downsamples 3 (level 3) and 2: each three canvas pixels show two mask pixels, at 0, 0 or 1, 1.
    ragged = [True, False, True, True, False, False, True]
    mask = np.zeros((834, 1333), bool)
    mask[3, 2:9] = ragged
    first = [info(0, 0, 3999, 2502, vis_level=1), record(1333, 834, 0, 0, 1, 1) | {"segmentation": mask, "area": 4}]
    second = [info(0, 0, 2000, 40, ratio=2), record(1000, 20, 0, 0, 1, 1)]
    documents = read_segments(write_pickles(tmp_path / "a.pkl", first, second))
    canvas, _ = common_canvas(documents, None)
    assert canvas.downsample == 2
    regions = build_regions("a", documents, canvas)
    seen = shown(regions, 0)
    source = np.floor((np.arange(2000) + 0.5) * 2 / 3).astype(int)
    expected = np.isin(source, 2 + np.flatnonzero(ragged))
    row = np.flatnonzero(np.floor((np.arange(canvas.size_px[1]) + 0.5) * 2 / 3) == 3)
    assert np.flatnonzero(seen.any(axis=1)).tolist() == row.tolist()
    np.testing.assert_array_equal(seen[row[0], :2000], expected)
    assert regions.area_px[0] == 9  # 4 * (3 / 2) ** 2


def test_documents_without_masks_are_left_out(tmp_path: Path) -> None:
    path = write_pickles(tmp_path / "a.pkl", [], [info(0, 0, 9, 9)], second_document())
    assert [document.number for document in read_segments(path)] == [2]


def test_another_area_than_recorded_is_said(tmp_path: Path) -> None:
    path = write_pickles(tmp_path / "a.pkl", [info(0, 0, 9, 7), record(9, 7, 1, 1, 2, 2) | {"area": 5}])
    assert read_segments(path)[0].remarks[0].startswith("1 masks have another area")


def edited(**changes: Any) -> list[Any]:
    return [info(0, 0, 90, 70), record(90, 70, 1, 1, 2, 2) | changes]


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"holes": [], "tissue": []}, "no list"),
        (["text"], "no list"),
        ([{"start_x": 0}, record(9, 7, 1, 1, 2, 2)], "downsample_ratio"),
        ([info(0, 0, 90, 70, ratio=0), record(90, 70, 1, 1, 2, 2)], "no sense"),
        ([info(0, 0, 90, 70), record(90, 70, 1, 1, 2, 2), record(70, 90, 1, 1, 2, 2)], "different sizes"),
        ([info(0, 0, 90, 70), record(45, 35, 1, 1, 2, 2)], "does not fit"),
        (edited(segmentation={"size": [70, 90], "counts": [0]}), "True and False"),
        (edited(segmentation=np.zeros((70, 90), np.uint8)), "True and False"),
        (edited(bbox=[1, 2]), "document 0"),
        (edited(area="large"), "document 0"),
        (edited(area=2**70), "larger than the picture"),
        (edited(area=float("nan")), "document 0"),
    ],
)
def test_other_contents_are_refused_by_name(tmp_path: Path, document: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        read_segments(write_pickles(tmp_path / "a.pkl", document))
