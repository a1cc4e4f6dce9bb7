"""Bags that no model can take are found by what is wrong with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.regions.membership import Membership

ROWS = 1500  # more than are looked at together


def whole(dtype: str = "float32", bad: float = 1.0) -> FeatureBag:
    features = np.ones((ROWS, 3), dtype)
    features[ROWS - 2, 1] = bad
    return FeatureBag(
        slide_id="a",
        features=features,
        xy=np.zeros((ROWS, 2), np.int32),
        region=np.zeros(ROWS, np.int32),
        region_area=np.array([70], np.int64),
        region_area_um2=np.array([280.0]),
        group_features=np.ones((1, 3), dtype),
        group_region=np.zeros(1, np.int32),
        members=Membership(start=np.array([0, 1]), patch=np.array([0], np.int32)),
        encoder=EncoderFacts(name="x", weights_sha256=None, dim=3, patch_px=64, patch_mpp=0.5, patch_px_level0=64),
    )


def nothing_in(bag: FeatureBag) -> FeatureBag:
    arrays = {name: getattr(bag, name)[:0] for name in ("features", "xy", "region", "group_features", "group_region")}
    return replace(bag, **arrays)


def write_as_it_is(path: Path, bag: FeatureBag) -> None:
    """A bag as the first version wrote it, whatever it holds: without sums."""
    with h5py.File(path, "w", libver="v110") as file:
        for name in ("features", "xy", "region", "region_area", "region_area_um2", "group_features", "group_region"):
            file[name] = getattr(bag, name)
        file["member_start"], file["member_patch"] = bag.members.start, bag.members.patch
        facts = {f"encoder_{name}": value for name, value in vars(bag.encoder).items() if value is not None}
        file.attrs.update({"kind": "bag", "schema": 1, "slide_id": bag.slide_id, "provenance": "{}", **facts})


BROKEN: dict[str, tuple[Callable[[], FeatureBag], str, str]] = {
    "nan": (
        lambda: whole(bad=np.nan),
        "E_NAN",
        "1 of 1500 patches have NaN or infinite features, the first is patch 1498",
    ),
    "float16 nan": (lambda: whole("float16", np.nan), "E_NAN", "the first is patch 1498"),
    "float16 -inf": (lambda: whole("float16", -np.inf), "E_NAN", "the first is patch 1498"),
    "float64 inf": (lambda: whole("float64", np.inf), "E_NAN", "the first is patch 1498"),
    "group feature": (lambda: replace(whole(), group_features=np.full((1, 3), np.nan)), "E_NAN", "group features"),
    "no patch": (lambda: nothing_in(whole()), "E_DAMAGED", "it holds no patch"),
    "dimension": (
        lambda: replace(whole(), encoder=replace(whole().encoder, dim=4)),
        "E_DAMAGED",
        "3-d, and its encoder x",
    ),
    "whole numbers": (lambda: whole("int64"), "E_DAMAGED", "features is of the type int64"),
    "region": (
        lambda: replace(whole(), region=np.full(ROWS, 1, np.int32)),
        "E_DAMAGED",
        "regions that it does not have",
    ),
    "group region": (
        lambda: replace(whole(), group_region=np.array([-1], np.int32)),
        "E_DAMAGED",
        "group_region holds -1",
    ),
    "places": (lambda: replace(whole(), xy=np.zeros((4, 2), np.int32)), "E_DAMAGED", "xy has the shape (4, 2)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_bag_is_named_with_the_way_to_make_it_again(tmp_path: Path, kind: str) -> None:
    make, code, said = BROKEN[kind]
    write_as_it_is(tmp_path / "a.h5", make())
    with pytest.raises(SlideError) as caught:
        read_checked(tmp_path / "a.h5")
    assert caught.value.code == code
    assert str(tmp_path / "a.h5") in caught.value.message
    assert said in caught.value.message
    assert "sammil extract --only a" in caught.value.remedy


@pytest.mark.parametrize("largest", [("float16", 65504.0), ("float16", -65504.0), ("float32", 3e38)])
def test_large_numbers_are_no_trouble(tmp_path: Path, largest: tuple[str, float]) -> None:
    write_bag(tmp_path / "a.h5", whole(*largest), {})
    assert read_checked(tmp_path / "a.h5").features.max() >= 1
