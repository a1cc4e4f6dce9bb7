"""Bags with other regions: what is grouped anew is what `sammil extract` would have made of these regions."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from encoded_project import SLIDES, write_random_bag
from inline_executor import open_inline

from sammil_cli.config import ExtractSettings
from sammil_cli.features import grouping
from sammil_cli.features.bag import FeatureBag, Instances, read_bag, write_bag
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.runner import per_slide
from sammil_cli.studies import regroup as study

SLIDE = SLIDES[1]
ANY_OVERLAP = ExtractSettings()


def squares(slide: str = SLIDE) -> RegionMap:
    """On a canvas of 1/128: patch i, at (i, i) x 128 px, is canvas pixel (i, i)."""
    canvas = Canvas(origin_px=(0, 0), downsample=128.0, size_px=(24, 24), mpp=128.0)
    masks = [
        RegionMask.of(np.ones((10, 10), bool), (0, 0)),  # patches 0 to 9
        RegionMask.of(np.ones((3, 3), bool), (8, 8)),  # patches 8 to 10
        RegionMask.of(np.ones((2, 2), bool), (20, 0)),  # none
    ]
    return build(slide, canvas, [Proposal(mask=mask) for mask in masks])


def regroup(bag: FeatureBag, regions: RegionMap, settings: ExtractSettings) -> FeatureBag:
    return grouping.regroup(bag, regions, min_share=settings.membership_min_share, rule=settings.membership_rule)


def run(
    bags: Path, regions: Path, out: Path, settings: ExtractSettings, slides: list[str], *, workers: int
) -> list[Row]:
    place = Project(regions=regions, bags=out, process_lists=out.parent / "process_lists")
    return study.run(bags, place, settings, slides, RunOptions(workers=workers))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Bags and regions of two slides, and where to write; the result store is one of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    for number, slide in enumerate(SLIDES[:2]):
        write_random_bag(tmp_path / "bags", slide, number)
        write_regions(tmp_path / "regions" / f"{slide}.h5", squares(slide), {})
    return tmp_path / "bags", tmp_path / "regions", tmp_path / "out"


def same(one: FeatureBag, other: FeatureBag) -> None:
    for field in fields(Instances):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "members":
            continue  # two arrays, below
        assert mine.dtype == theirs.dtype, field.name
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
    for name in ("xy", "region_area_um2"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.members.start, other.members.start)
    np.testing.assert_array_equal(one.members.patch, other.members.patch)
    assert (one.slide_id, one.encoder) == (other.slide_id, other.encoder)


def test_the_same_regions_give_the_bag_that_extract_wrote(done: Path) -> None:
    paths = sorted((done / "artifacts/bags").glob("*.h5"))
    assert len(paths) == 6
    for path in paths:
        bag = read_bag(path)
        assert len(bag.members.patch) > 0
        same(regroup(bag, read_regions(done / "artifacts/regions" / path.name), ANY_OVERLAP), bag)


def test_group_features_are_the_means_of_the_patches_under_the_new_regions(folders: tuple[Path, Path, Path]) -> None:
    bag = read_bag(folders[0] / f"{SLIDE}.h5")
    made = regroup(bag, squares(), ANY_OVERLAP)
    np.testing.assert_array_equal(made.region, [0] * 8 + [1] * 3 + [-1] * 13)  # the smaller one wins
    assert made.members.size.tolist() == [10, 3, 0]
    assert made.group_region.tolist() == [0, 1]
    np.testing.assert_allclose(made.group_features[0], bag.features[:10].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.group_features[1], bag.features[8:11].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.features, bag.features)
    assert made.region_area_um2.tolist() == [100 * 128**2, 9 * 128**2, 4 * 128**2]


def test_bags_of_half_precision_stay_so_and_their_means_are_of_rounded_features(
    folders: tuple[Path, Path, Path],
) -> None:
    bag = read_bag(folders[0] / f"{SLIDE}.h5")
    half = regroup(replace(bag, features=bag.features.astype(np.float16)), squares(), ANY_OVERLAP)
    assert half.features.dtype == half.group_features.dtype == np.float16
    exact = bag.features.astype(np.float16).astype(np.float64)[:10].mean(0)
    np.testing.assert_allclose(half.group_features[0], exact, rtol=1e-3)


def test_membership_follows_the_settings(folders: tuple[Path, Path, Path]) -> None:
    canvas = Canvas(origin_px=(0, 0), downsample=64.0, size_px=(48, 48), mpp=64.0)
    quarter = build(SLIDE, canvas, [Proposal(mask=RegionMask.of(np.ones((1, 1), bool), (0, 0)))])
    bag = read_bag(folders[0] / f"{SLIDE}.h5")
    assert regroup(bag, quarter, ANY_OVERLAP).members.size.tolist() == [1]
    assert regroup(bag, quarter, ExtractSettings(membership_min_share=0.3)).members.size.tolist() == [0]


def test_a_second_call_writes_nothing_and_what_has_changed_is_made_again(folders: tuple[Path, Path, Path]) -> None:
    bags, regions, out = folders

    def states(slides: list[str], settings: ExtractSettings = ANY_OVERLAP) -> list[str]:
        return [row.status for row in run(bags, regions, out, settings, slides, workers=2)]

    assert states(SLIDES[:2]) == ["done", "done"]
    assert states(SLIDES[:2]) == ["reused", "reused"]
    write_random_bag(bags, SLIDE, 99)
    assert states(SLIDES[:2]) == ["reused", "done"]
    same(read_bag(out / f"{SLIDE}.h5"), regroup(read_bag(bags / f"{SLIDE}.h5"), squares(), ANY_OVERLAP))
    assert states(SLIDES[:2], ExtractSettings(membership_min_share=0.5)) == ["done", "done"]
    (out / f"{SLIDE}.json").unlink()
    assert states(SLIDES[:2], ExtractSettings(membership_min_share=0.5)) == ["reused", "reused"]  # from the store
    assert (out / f"{SLIDE}.json").is_file()
    assert states([SLIDE], ExtractSettings(membership_min_share=0.5)) == ["reused"]
    assert sorted(path.name for path in out.iterdir()) == [f"{SLIDE}.h5", f"{SLIDE}.json"]


def test_a_slide_that_cannot_be_done_is_a_row_and_leaves_no_older_bag(folders: tuple[Path, Path, Path]) -> None:
    bags, regions, out = folders
    run(bags, regions, out, ANY_OVERLAP, SLIDES[:2], workers=1)
    (regions / f"{SLIDES[0]}.h5").unlink()
    bag = read_bag(bags / f"{SLIDE}.h5")
    write_bag(bags / f"{SLIDE}.h5", replace(bag, xy=np.full_like(bag.xy, -1)), {})
    rows = run(bags, regions, out, ANY_OVERLAP, SLIDES[:2], workers=1)
    assert [(row.code, row.done) for row in rows] == [("E_UPSTREAM", False), ("E_INPUT", False)]
    assert "no coordinates" in rows[1].message
    assert list(out.iterdir()) == []
