"""The feature bag: group features by hand, and the file it lives in."""

import mmap
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import (
    EncoderFacts,
    FeatureBag,
    check_finite,
    mean_group_features,
    read_bag,
    read_encoder,
    write_bag,
)
from sammil_cli.regions.membership import Membership

FEATURES = np.array([[1, 10], [3, 20], [8, 60], [100, 7]], np.float32)
# Region 0 holds patches 0, 1, 2; region 1 none; region 2 patches 1, 2; region 3 patch 0. Patch 3 lies in none.
MEMBERS = Membership(start=np.array([0, 3, 3, 5, 6], np.int64), patch=np.array([0, 1, 2, 1, 2, 0], np.int32))


def test_a_group_feature_is_the_mean_of_its_member_patches() -> None:
    features, region = mean_group_features(FEATURES, MEMBERS)
    assert features.tolist() == [[4, 30], [5.5, 40], [1, 10]]
    assert region.tolist() == [0, 2, 3]
    assert (features.dtype, region.dtype) == (np.float32, np.int32)


def test_half_precision_features_are_summed_in_single_precision() -> None:
    patches = np.full((3000, 1), 40_000, np.float16)
    all_of_them = Membership(start=np.array([0, 3000]), patch=np.arange(3000, dtype=np.int32))
    features, _ = mean_group_features(patches, all_of_them)
    assert features[0, 0] == pytest.approx(float(patches[0, 0]))


def test_without_regions_there_are_no_group_features() -> None:
    none = Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32))
    features, region = mean_group_features(FEATURES, none)
    assert (features.shape, region.shape) == ((0, 2), (0,))
    empty = Membership(start=np.zeros(4, np.int64), patch=np.empty(0, np.int32))
    assert mean_group_features(FEATURES, empty)[0].shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused_with_the_first_patch(value: float) -> None:
    features = FEATURES.copy()
    features[[1, 3], [1, 0]] = value
    with pytest.raises(
        SlideError, match="2 of 4 patches have NaN or infinite features, the first is patch 1"
    ) as caught:
        check_finite(features)
    assert (caught.value.code, caught.value.set_aside) == ("E_NAN", False)
    assert "float32" not in caught.value.remedy  # they are
    with pytest.raises(SlideError) as caught:
        check_finite(features.astype(np.float16))
    assert "set feature_dtype: float32" in caught.value.remedy
    check_finite(FEATURES)


def bag_of(dtype: type[np.floating] = np.float32) -> FeatureBag:
    group_features, group_region = mean_group_features(FEATURES, MEMBERS)
    return FeatureBag(
        slide_id="s-1",
        features=FEATURES.astype(dtype),
        xy=np.array([[0, 0], [256, 0], [0, 256], [512, 768]], np.int32),
        region=np.array([3, 2, 2, -1], np.int32),
        region_area=np.array([900, 50, 300, 20], np.int64),
        region_area_um2=np.array([3600.0, 200.0, 1200.0, 80.0]),
        group_features=group_features.astype(dtype),
        group_region=group_region,
        members=MEMBERS,
        encoder=EncoderFacts(
            name="resnet50", weights_sha256="ab" * 32, dim=2, patch_px=128, patch_mpp=0.5, patch_px_level0=256
        ),
    )


def test_a_bag_says_of_its_encoder_what_is_known(tmp_path: Path) -> None:
    details = {"revision": "v1", "precision": "bfloat16", "pooling": "cls", "preparation": "224 px", "mpp": 0.5}
    old = bag_of()
    known = replace(old, encoder=replace(old.encoder, **details))
    for bag in (old, known):
        write_bag(tmp_path / "s-1.h5", bag, {})
        assert read_encoder(tmp_path / "s-1.h5") == bag.encoder


ARRAYS = ("features", "xy", "region", "region_area", "region_area_um2", "group_features", "group_region")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_bag_comes_back_as_it_was(tmp_path: Path, dtype: type[np.floating]) -> None:
    bag = bag_of(dtype)
    write_bag(tmp_path / "s-1.h5", bag, {"step": "extract"})
    back = read_bag(tmp_path / "s-1.h5")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(bag, name))
        assert getattr(back, name).dtype == getattr(bag, name).dtype, name
    np.testing.assert_array_equal(back.members.start, MEMBERS.start)
    np.testing.assert_array_equal(back.members.patch, MEMBERS.patch)
    assert (back.slide_id, back.encoder) == ("s-1", bag.encoder)


def test_features_stay_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    write_bag(tmp_path / "s-1.h5", bag_of(np.float16), {"step": "extract"})
    back = read_bag(tmp_path / "s-1.h5")
    for name in ("features", "group_features"):
        array = getattr(back, name)
        assert isinstance(array.base, mmap.mmap), name
        assert array.flags.writeable, name  # torch warns of others


def test_an_encoder_without_weights_comes_back_without(tmp_path: Path) -> None:
    bag = bag_of()
    bag = replace(bag, encoder=replace(bag.encoder, name="texture", weights_sha256=None))
    write_bag(tmp_path / "s-1.h5", bag, {"step": "extract"})
    assert read_bag(tmp_path / "s-1.h5").encoder == bag.encoder


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    write_bag(tmp_path / "s-1.h5", bag_of(), {"step": "extract"})
    with h5py.File(tmp_path / "s-1.h5") as file:
        assert set(file) == {*ARRAYS, "member_start", "member_patch"}
        assert all(file[name].chunks is None for name in file)  # contiguous
        assert {name: file.attrs[f"encoder_{name}"] for name in ("name", "dim", "patch_px", "patch_mpp")} == {
            "name": "resnet50",
            "dim": 2,
            "patch_px": 128,
            "patch_mpp": 0.5,
        }
        assert file.attrs["kind"] == "bag"


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bag(tmp_path / name / "s-1.h5", bag_of(), {"step": "extract"})
    assert (tmp_path / "a" / "s-1.h5").read_bytes() == (tmp_path / "b" / "s-1.h5").read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "clam.h5", "w") as file:
        file["features"] = FEATURES
    with pytest.raises(InputError, match="no bag file"):
        read_bag(tmp_path / "clam.h5")
