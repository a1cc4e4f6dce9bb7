"""Rows that are zero, doubled or missing: reported, left out or refused."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sammil_cli.errors import SlideError
from sammil_cli.legacy.bags import Converted, convert_slide, from_patch_list
from sammil_cli.legacy.layout import Source
from sammil_cli.legacy.patch_lists import PatchList

XY = np.array([(512, 0), (1024, 0), (512, 512), (0, 512)], np.int64)
FEATURES = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32)


def convert(folder: Path, features: Any, coords: Any, **options: Any) -> Converted:
    with h5py.File(folder / "s.h5", "w") as file:
        file["features"], file["coords"] = features, coords
    source = Source(slide_id="s", features=folder / "s.h5", coords=None)
    return convert_slide(source, slide_mpp=0.5, patch_px_level0=None, min_share=0.0, **options)


def code(folder: Path, features: Any, coords: Any, message: str) -> str:
    with pytest.raises(SlideError, match=message) as caught:
        convert(folder, features, coords)
    assert caught.value.remedy
    return caught.value.code


def test_patches_that_stand_there_twice_come_once_in_their_order(tmp_path: Path) -> None:
    order = [3, 0, 0, 1, 3, 2]
    converted = convert(tmp_path, FEATURES[order], XY[order])
    assert converted.bag.xy.tolist() == XY[[3, 0, 1, 2]].tolist()
    np.testing.assert_array_equal(converted.bag.features, FEATURES[[3, 0, 1, 2]])
    assert "2 patches stood there twice and were left out" in converted.remarks


def test_rounding_is_no_difference_and_other_features_are_refused(tmp_path: Path) -> None:
    coords = XY[[0, 1, 2, 3, 1]]
    near = np.concatenate([FEATURES, FEATURES[1:2] + 1e-4])
    assert len(convert(tmp_path, near, coords).bag.features) == 4
    other = np.concatenate([FEATURES, FEATURES[1:2] + 0.5])
    assert (
        code(tmp_path, other, coords, r"1 patches with other features .* first at \(1024, 0\)") == "E_LEGACY_MISMATCH"
    )
    assert len(convert(tmp_path, other, coords, with_coords=False).bag.features) == 5


def test_rows_of_zeros_that_fill_up_are_left_out(tmp_path: Path) -> None:
    features = np.concatenate([FEATURES, np.zeros((3, 3), np.float32)])
    for place in ((0, 0), tuple(XY[0])):  # none of the patches', and one of them
        converted = convert(tmp_path, features, np.concatenate([XY, [place] * 3]))
        np.testing.assert_array_equal(converted.bag.features, FEATURES)
        assert "3 rows of zeros at the places of other rows (padding)" in " ".join(converted.remarks)


def test_a_patch_of_zeros_at_its_own_place_is_kept_and_told(tmp_path: Path) -> None:
    features = FEATURES.copy()
    features[2] = 0
    converted = convert(tmp_path, features, XY)
    np.testing.assert_array_equal(converted.bag.features, features)
    assert "the features of 1 patches are all zero; they are kept" in converted.remarks


def test_nothing_but_zeros_and_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    assert code(tmp_path, np.zeros((4, 3), np.float32), XY, "all 4 patches of s are zero") == "E_LEGACY_DAMAGED"
    assert code(tmp_path, np.zeros((0, 3), np.float32), XY[:0], "has no patches") == "E_LEGACY_MISMATCH"


def test_without_places_copies_are_counted_and_kept(tmp_path: Path) -> None:
    order = [0, 1, 2, 3, 1, 1]
    converted = convert(tmp_path, FEATURES[order], XY[order], with_coords=False)
    assert len(converted.bag.features) == 6
    assert "2 of 6 rows are copies of others; they are kept" in converted.remarks


def test_sound_rows_get_no_remark(tmp_path: Path) -> None:
    assert not any("zero" in remark or "twice" in remark for remark in convert(tmp_path, FEATURES, XY).remarks)


def test_a_pickle_of_patch_lists_is_checked_too() -> None:
    order = [0, 1, 1]
    patches = PatchList(features=FEATURES[order], xy=XY[order].astype(np.int32), side_px0=512)
    converted = from_patch_list("s", patches, 0.5, None, None, True)
    assert converted.bag.xy.tolist() == XY[:2].tolist()
