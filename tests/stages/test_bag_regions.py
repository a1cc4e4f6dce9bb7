"""Regions for features in hand: sammil sam and extract with --features, with and without slides."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from csv_rows import by_slide
from inline_executor import open_inline
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.features.bag import EncoderFacts, FeatureBag, MadeWith, read_bag, write_bag
from sammil_cli.features.making import read_making
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.membership import Membership
from sammil_cli.runner import per_slide
from sammil_cli.storage.geojson import Shape, write_geojson
from sammil_cli.storage.hdf5 import read_provenance
from sammil_cli.tissue.mask import TissueMask, write_tissue

Sammil = Callable[..., Any]
FEATURES = ("--features", "artifacts/features")
BY_FEATURES = (*FEATURES, "-S", "proposer=features")
SIDE, COLUMNS, ROWS = 64, 8, 6
SLIDES = ("a", "b")


def make_bag(slide: str, folder: str = "artifacts/features", **changes: Any) -> FeatureBag:
    """48 patches of 64 px, the left half of another tissue than the right one."""
    row, column = np.divmod(np.arange(COLUMNS * ROWS), COLUMNS)
    features = np.random.default_rng(len(slide)).standard_normal((COLUMNS * ROWS, 5)).astype(np.float32) / 10
    features[column < 4, :3] += 3
    empty: dict[str, Any] = {
        "region": np.full(len(row), -1, np.int32),
        "region_area": np.empty(0, np.int64),
        "region_area_um2": np.empty(0),
        "group_features": np.empty((0, 5), np.float32),
        "group_region": np.empty(0, np.int32),
        "members": Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32)),
    }
    encoder = EncoderFacts(name="uni", weights_sha256=None, dim=5, patch_px=SIDE, patch_mpp=0.5, patch_px_level0=SIDE)
    xy = (np.stack([column, row], 1) * SIDE).astype(np.int32)
    bag = replace(FeatureBag(slide_id=slide, features=features, xy=xy, encoder=encoder, **empty), **changes)
    write_bag(Path(folder, f"{slide}.h5"), bag, {"stage": "convert-legacy", "key": {}})
    return bag


@pytest.fixture
def bags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FeatureBag]:
    """A folder of bags in a project of nothing else, and the bags."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    Path("params.yaml").write_text("feature_region_patches: 24\n")
    return {slide: make_bag(slide) for slide in SLIDES}


def rows(stage: str) -> dict[str, dict[str, str]]:
    return by_slide(Path(f"artifacts/process_lists/{stage}.csv"))


def states(stage: str) -> dict[str, str]:
    return {slide: row["status"] for slide, row in rows(stage).items()}


def test_regions_end_where_features_change_and_bags_are_grouped_by_them(
    bags: dict[str, FeatureBag], sammil: Sammil
) -> None:
    """No slide, no tissue, no weights: the encoder of the settings is a ResNet-50 that is not here."""
    assert sammil("sam", *BY_FEATURES).code == 0
    assert sorted(path.name for path in Path("artifacts/regions").glob("a.*")) == [
        "a.geojson",
        "a.h5",
        "a.json",
        "a.png",
    ]
    regions = read_regions(Path("artifacts/regions/a.h5"))
    assert (len(regions), regions.canvas.mpp) == (2, 8.0)
    quality = json.loads(Path("artifacts/regions/a.json").read_text())
    assert (quality["coverage"], quality["overlap"]) == (1, 1)
    assert sammil("extract", *FEATURES).code == 0
    made, before = read_bag(Path("artifacts/bags/a.h5")), bags["a"]
    np.testing.assert_array_equal(made.features, before.features)
    left = before.xy[:, 0] < 4 * SIDE
    assert {tuple(np.unique(made.region[half])) for half in (left, ~left)} == {(0,), (1,)}
    for region in (0, 1):
        mean = before.features[made.region == region].mean(axis=0)
        np.testing.assert_allclose(made.group_features[region], mean, rtol=1e-5)
    assert made.region_area_um2.tolist() == [24 * 32.0**2] * 2
    assert made.region_area.tolist() == [24 * 64**2] * 2  # the paper's canvas is not shrunk for a slide of 512 px


def test_the_bag_says_what_it_was_made_with(bags: dict[str, FeatureBag], sammil: Sammil) -> None:
    make_bag("b", made_with={"patch": {"patch_px": 64}, "extract": {"encoder_input_px": 224}})
    sammil("sam", *BY_FEATURES)
    sammil("extract", *FEATURES)
    membership = {"membership_min_share": 0.0, "membership_rule": "overlap"}
    sam = {"proposer": "features", "feature_region_patches": 24}
    expected: MadeWith = {"patch": {"patch_px": 64}, "extract": {"encoder_input_px": 224, **membership}, "sam": sam}
    assert read_making(Path("artifacts/bags/b.h5")).made_with == expected
    assert read_making(Path("artifacts/bags/a.h5")).made_with == {"extract": membership, "sam": sam}


def test_a_setting_finds_regions_anew_and_bags_are_grouped_where_these_changed(
    bags: dict[str, FeatureBag], sammil: Sammil
) -> None:
    def run(*asked: str) -> tuple[set[str], set[str]]:
        sammil("sam", *BY_FEATURES, *asked)
        sammil("extract", *FEATURES, *asked)
        return set(states("sam").values()), set(states("extract").values())

    assert run() == ({"done"}, {"done"})
    assert run() == ({"reused"}, {"reused"})
    assert run("-S", "sam_canvas_px=512", "-S", "encoder=texture") == ({"reused"}, {"reused"})  # decide nothing here
    assert run("-S", "feature_region_patches=12") == ({"done"}, {"done"})
    assert run() == ({"reused"}, {"reused"})
    assert run("-S", "membership_min_share=0.5") == ({"reused"}, {"done"})
    make_bag("b", features=bags["b"].features[::-1].copy())
    run()
    assert (states("sam"), states("extract")) == ({"a": "reused", "b": "done"}, {"a": "reused", "b": "done"})


def test_a_bag_without_coordinates_is_set_aside_and_the_others_are_done(
    bags: dict[str, FeatureBag], sammil: Sammil
) -> None:
    make_bag("b", xy=np.full((COLUMNS * ROWS, 2), -1, np.int32))
    answer = sammil("sam", *BY_FEATURES)
    assert answer.code == 1
    row = rows("sam")["b"]
    assert (row["status"], row["code"]) == ("set-aside", "E_INPUT")
    assert "no coordinates" in row["message"]
    assert "--coords" in row["remedy"]
    sammil("extract", *FEATURES)
    assert states("extract") == {"a": "done", "b": "set-aside"}
    assert rows("extract")["b"]["code"] == "E_UPSTREAM"


def test_without_a_resolution_areas_are_those_of_the_canvas_and_none_in_um2(
    bags: dict[str, FeatureBag], sammil: Sammil
) -> None:
    make_bag("b", encoder=replace(bags["b"].encoder, patch_mpp=float("nan")))
    assert sammil("sam", *BY_FEATURES).code == 0
    assert "area_um2" not in Path("artifacts/regions/b.geojson").read_text()
    assert json.loads(Path("artifacts/regions/b.json").read_text())["area_um2_q50"] is None
    sammil("extract", *FEATURES)
    bag = read_bag(Path("artifacts/bags/b.h5"))
    assert bag.region_area.tolist() == [24 * 64**2] * 2
    assert np.isnan(bag.region_area_um2).all()
    Path("data").mkdir()
    Path("data/slides.csv").write_text("slide_id,mpp\nb,0.25\n")
    sammil("sam", *BY_FEATURES)
    assert read_regions(Path("artifacts/regions/b.h5")).area_um2.tolist() == [24 * 16.0**2] * 2


def test_drawings_are_regions_of_bags_without_their_slide(bags: dict[str, FeatureBag], sammil: Sammil) -> None:
    drawn = [shapely.box(0, 0, 192, 128), shapely.box(256, 0, 512, 384)]
    write_geojson(
        Path("data/annotations/a.geojson"),
        [(Shape(geometry=shape, class_name="Tumour"), {}) for shape in drawn],
        offset_px=(0, 0),
        provenance={},
    )
    answer = sammil("sam", *FEATURES, "-S", "proposer=geojson")
    assert answer.code == 1
    assert (states("sam"), rows("sam")["b"]["code"]) == ({"a": "done", "b": "set-aside"}, "E_ANNOTATION")
    assert read_regions(Path("artifacts/regions/a.h5")).area_px.tolist() == [192 * 128, 256 * 384]
    sammil("extract", *FEATURES, "--only", "a")
    assert read_bag(Path("artifacts/bags/a.h5")).members.size.tolist() == [6, 24]


def test_a_proposer_of_pixels_wants_the_slide_and_sees_the_tissue_that_was_found(
    bags: dict[str, FeatureBag], sammil: Sammil
) -> None:
    superpixels = (*FEATURES, "-S", "proposer=superpixels", "-S", "superpixel_area_px=200")
    none = sammil("sam", *superpixels)
    assert none.code == 2
    assert "proposer=features" in none.err
    write_pyramid(Path("data/slides/a.tif"), draw_asymmetric(), mpp=0.5)
    answer = sammil("sam", *superpixels)
    assert answer.code == 1
    assert states("sam") == {"a": "done", "b": "set-aside"}
    assert (rows("sam")["b"]["code"], rows("sam")["b"]["message"]) == ("E_UPSTREAM", "its slide is not in data/slides")
    assert read_regions(Path("artifacts/regions/a.h5")).canvas.size_px == (512, 384)  # where its patches lie
    half = TissueMask(
        slide_id="a",
        polygons=shapely.MultiPolygon([shapely.box(0, 0, 256, 384)]),
        slide_mpp=0.5,
        slide_size_px=(640, 448),
        bounds_px=(0, 0, 640, 448),
    )
    write_tissue(Path("artifacts/tissue/a.geojson"), half, {})
    sammil("sam", *superpixels)
    assert read_regions(Path("artifacts/regions/a.h5")).canvas.size_px == (256, 384)


def test_patches_that_lie_outside_of_the_slide_are_another_ones(bags: dict[str, FeatureBag], sammil: Sammil) -> None:
    write_pyramid(Path("data/slides/a.tif"), draw_asymmetric()[:320, :320], mpp=0.5)
    sammil("sam", *BY_FEATURES)
    row = rows("sam")["a"]
    assert (row["status"], row["code"]) == ("set-aside", "E_INPUT")
    assert "begin outside of the slide, which has 320 x 320 px" in row["message"]


def test_regions_of_an_older_run_are_replaced_with_a_remark(bags: dict[str, FeatureBag], sammil: Sammil) -> None:
    sammil("sam", *BY_FEATURES)
    sammil("extract", *FEATURES)
    again = ("--features", "artifacts/bags", "--out", "artifacts/bags_again")
    assert sammil("extract", *again).code == 0
    assert "its bag had 2 regions of its own; these 2 are in their place" in rows("extract")["a"]["remarks"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("sam", "-S", "proposer=features"), "sammil sam --features DIR"),
        (("sam", "--features", "nowhere", "-S", "proposer=features"), "nowhere does not exist"),
        (("sam", "--features", "empty", "-S", "proposer=features"), "there is no bag in empty"),
        (("sam", *BY_FEATURES, "--estimate"), "--estimate measures slides"),
        (("extract", "--features", "artifacts/bags"), "artifacts/bags does not exist"),
        (("extract", *FEATURES, "--out", "artifacts/features"), "is read, and lies in"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(
    bags: dict[str, FeatureBag], sammil: Sammil, asked: tuple[str, ...], told: str
) -> None:
    Path("empty").mkdir()
    sammil("sam", *BY_FEATURES)
    answer = sammil(*asked)
    assert answer.code == 2
    assert told in answer.err
    assert len(list(Path("artifacts/features").glob("*.h5"))) == 2


def test_what_is_stored_of_a_key_names_the_bag_and_no_slide(bags: dict[str, FeatureBag], sammil: Sammil) -> None:
    sammil("sam", *BY_FEATURES)
    record = read_provenance(Path("artifacts/regions/a.h5"))
    assert record["stage"] == "sam"
    assert record["key"]["slide"] is None
    assert record["key"]["settings"] == {"proposer": "features", "feature_region_patches": 24}
    assert len(record["key"]["bag"]) == 64
