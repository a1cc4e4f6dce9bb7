"""A bag seen by its features: colours, canvas, and regions to which each patch belongs once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoded_project import write_random_bag
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.features.feature_view import colours, look_at_features
from sammil_cli.regions.members import find_members
from sammil_cli.regions.proposers.features import make
from sammil_cli.regions.region_map import RegionMap, build


@pytest.fixture
def bag(tmp_path: Path) -> FeatureBag:
    write_random_bag(tmp_path, "slide_01", 1)
    return read_bag(tmp_path / "slide_01.h5")


def at(bag: FeatureBag, xy: NDArray[np.int64]) -> FeatureBag:
    """The bag with patches at these corners, 128 px wide."""
    features = np.random.default_rng(0).standard_normal((len(xy), 6)).astype(np.float32)
    return replace(bag, features=features, xy=xy.astype(np.int32))


def regions_of(bag: FeatureBag) -> RegionMap:
    canvas, view = look_at_features(bag, 0.5)
    return build(bag.slide_id, canvas, make({"feature_region_patches": 4}, "cpu").propose(view))


def square(columns: int, rows: int, step: int, corner: tuple[int, int] = (0, 0)) -> NDArray[np.int64]:
    row, column = np.divmod(np.arange(columns * rows), columns)
    return np.stack([column, row], 1) * step + np.array(corner)


@pytest.mark.parametrize(
    "xy",
    [
        square(8, 6, 128),
        np.concatenate([square(5, 5, 128, (40, 8)), square(5, 5, 128, (1000, 75))]),  # CLAM: a grid for each section
        np.concatenate([square(5, 5, 128), square(5, 5, 128, (640, 50))]),  # which may touch
        square(8, 6, 256),  # every other place
    ],
    ids=["one grid", "two grids", "two that touch", "apart"],
)
def test_each_patch_belongs_to_one_region_whatever_the_grid(bag: FeatureBag, xy: NDArray[np.int64]) -> None:
    placed = at(bag, xy)
    regions = regions_of(placed)
    members = find_members(regions, placed.xy, 128, 0.0)
    assert sorted(members.patch.tolist()) == list(range(len(xy)))
    assert len(regions) >= 10


def test_patches_that_overlap_belong_to_what_they_reach_into(bag: FeatureBag) -> None:
    placed = at(bag, square(8, 6, 64))
    members = find_members(regions_of(placed), placed.xy, 128, 0.0)
    assert set(members.patch.tolist()) == set(range(48))
    assert len(members.patch) > 48


def test_patches_around_cells_have_no_grid_and_all_a_place(bag: FeatureBag) -> None:
    placed = at(bag, np.random.default_rng(1).integers(0, 4000, (60, 2)))
    canvas, _ = look_at_features(placed, 0.5)
    assert canvas.downsample == 32  # a quarter of the side
    members = find_members(regions_of(placed), placed.xy, 128, 0.0)
    assert len(set(members.patch.tolist())) >= 55  # one may lie under others


def test_a_few_patches_at_a_common_distance_by_chance_make_no_grid(bag: FeatureBag) -> None:
    scattered = np.array([[0, 0], [1000, 0], [0, 1000], [333, 77], [650, 410], [90, 760], [777, 801]])
    canvas, _ = look_at_features(at(bag, scattered), 0.5)
    assert canvas.downsample == 32


def test_areas_are_those_of_the_papers_canvas(bag: FeatureBag) -> None:
    regions = regions_of(at(bag, square(100, 6, 128)))  # 12 800 px wide: the paper's canvas shrinks it by 16
    patches = regions.area_px / 16
    np.testing.assert_array_equal(regions.paper_area_px, patches * (128 / 16) ** 2)
    np.testing.assert_allclose(regions.area_um2, patches * 64**2)


def test_colours_are_one_to_a_patch_and_glass_is_white(bag: FeatureBag) -> None:
    xy = square(3, 3, 128)[[0, 1, 2, 3, 5, 6, 7, 8]]  # a hole in the middle
    _, view = look_at_features(at(bag, xy), 0.5)
    assert view.image.shape == (12, 12, 3)
    assert (view.image[4:8, 4:8] == 255).all()
    assert not view.tissue[4:8, 4:8].any()
    assert len(np.unique(view.image[view.tissue], axis=0)) == 8
    flat = colours(np.zeros((4, 2), np.float32))
    assert len(np.unique(flat, axis=0)) == 1
