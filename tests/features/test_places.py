"""Where patches lie on their grid: steps that are measured, and what cannot be known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.features.places import grid_places, read_places
from sammil_cli.regions.membership import Membership
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.bag_survey import look
from sammil_cli.training.bags import BagFolder

NOWHERE = np.full((4, 2), -1, np.int32)


def grid(columns: int, rows: int, step: int, corner: tuple[int, int] = (0, 0)) -> NDArray[np.int32]:
    """Corners of a whole grid, row by row: (rows · columns, 2)."""
    row, column = np.divmod(np.arange(columns * rows), columns)
    return (np.stack([column, row], 1) * step + corner).astype(np.int32)


def found(xy: NDArray[np.int32], side: int) -> list[list[float]]:
    places = grid_places(xy, side)
    assert places is not None
    assert places.dtype == np.float32
    assert places.shape == xy.shape
    return places.tolist()


@pytest.mark.parametrize("side", [512, 0], ids=["side known", "side not known"])
@pytest.mark.parametrize("corner", [(0, 0), (10_240, 77), (3, 90_001)])
def test_on_a_grid_places_are_columns_and_rows_from_the_first_on(side: int, corner: tuple[int, int]) -> None:
    assert found(grid(3, 2, 512, corner), side) == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]


def test_overlapping_patches_count_by_their_grid_and_not_by_their_side() -> None:
    assert found(grid(4, 3, 256), 512) == grid(4, 3, 1).tolist()
    assert found(grid(4, 3, 128), 512) == grid(4, 3, 1).tolist()


def test_patches_with_room_between_them_count_by_their_grid() -> None:
    assert found(grid(4, 3, 700), 512) == grid(4, 3, 1).tolist()


def test_a_few_patches_far_apart_are_not_made_neighbours() -> None:
    xy = np.array([[0, 0], [3584, 0], [512, 2048], [4096, 2048]], np.int32)
    assert found(xy, 512) == [[0, 0], [7, 0], [1, 4], [8, 4]]
    assert found(xy[:2], 0) == [[0, 0], [1, 0]]  # nothing else says how large a patch is
    assert found(grid(8, 8, 1024), 512) == grid(8, 8, 1).tolist()  # every other patch: this is no chance agreement


def test_holes_and_lost_patches_leave_the_others_where_they_are() -> None:
    xy = grid(9, 9, 300, (600, 900))
    kept = np.random.default_rng(0).random(81) < 0.6
    kept[[0, 80]] = True  # the first and the last corner
    assert found(xy[kept], 300) == grid(9, 9, 1)[kept].tolist()


def test_the_order_of_the_patches_does_not_matter() -> None:
    xy, order = grid(5, 6, 256, (40, 50)), np.random.default_rng(1).permutation(30)
    assert found(xy[order], 0) == grid(5, 6, 1)[order].tolist()


def test_a_piece_with_a_grid_of_its_own_lies_between_the_places_of_the_other() -> None:
    pieces = np.concatenate([grid(4, 4, 512), grid(4, 4, 512, (4096 + 128, 256))])
    places = np.array(found(pieces, 512))
    assert places[:16].tolist() == grid(4, 4, 1).tolist()
    assert places[16:].tolist() == (grid(4, 4, 1) + np.array([8.25, 0.5])).tolist()


def test_patches_that_keep_no_common_distance_count_by_their_side() -> None:
    xy = np.array([[100, 50], [131, 50], [300, 50], [100, 99], [100, 213]], np.int32)
    assert found(xy, 100) == pytest.approx(np.array([[0, 0], [0.31, 0], [2, 0], [0, 0.49], [0, 1.63]]))
    assert grid_places(xy, 0) is None  # neither step nor side


def test_patches_that_share_no_row_and_no_column_count_by_their_side() -> None:
    diagonal = np.stack([np.arange(4), np.arange(4)], 1).astype(np.int32) * 128
    assert found(diagonal, 128) == [[n, n] for n in range(4)]
    assert grid_places(diagonal, 0) is None


def test_patches_twice_in_a_place_do_not_hide_the_step() -> None:
    xy = np.repeat(grid(3, 3, 224), 2, axis=0)
    assert found(xy, 0) == np.repeat(grid(3, 3, 1), 2, axis=0).tolist()


def test_places_that_an_older_tool_did_not_keep_are_not_known() -> None:
    assert grid_places(NOWHERE, 512) is None
    assert grid_places(NOWHERE, 0) is None


def test_a_single_patch_lies_at_the_origin() -> None:
    assert found(np.array([[900, 40]], np.int32), 256) == [[0, 0]]


def test_slides_of_the_largest_size_do_not_overflow() -> None:
    xy = np.array([[0, 0], [2**31 - 2, 2**31 - 2]], np.int32)
    assert found(xy, 1) == [[0, 0], [float(np.float32(2**31 - 2))] * 2]


# ------------------------------------------------------------------------------------- of bags on disk


def write(path: Path, xy: NDArray[np.int32], side: int) -> BagPath:
    count = len(xy)
    bag = FeatureBag(
        slide_id=path.stem,
        features=np.ones((count, 3), np.float32),
        xy=xy,
        region=np.array([0] * (count - 1) + [-1], np.int32),
        region_area=np.array([5]),
        region_area_um2=np.array([5.0]),
        group_features=np.ones((1, 3), np.float32),
        group_region=np.zeros(1, np.int32),
        members=Membership(start=np.array([0, count - 1]), patch=np.arange(count - 1, dtype=np.int32)),
        encoder=EncoderFacts(
            name="texture", weights_sha256=None, dim=3, patch_px=256, patch_mpp=0.5, patch_px_level0=side
        ),
    )
    write_bag(BagPath(path), bag, {})
    return BagPath(path)


@pytest.mark.parametrize(
    ("xy", "side", "known"),
    [
        (grid(2, 2, 256), 256, True),
        (grid(2, 2, 128), 256, True),  # overlapping
        (grid(2, 2, 256), 0, True),  # converted, its side not known
        (np.array([[0, 0], [7, 90], [300, 11], [41, 500]], np.int32), 0, False),
        (NOWHERE, 256, False),
    ],
    ids=["grid", "overlap", "no side", "no side, no grid", "no places"],
)
def test_a_bag_on_disk_says_its_places_to_all_who_ask(
    tmp_path: Path, xy: NDArray[np.int32], side: int, known: bool
) -> None:
    path = write(tmp_path / "s.h5", xy, side)
    places = read_places(path)
    assert look(path).placed == known == (places is not None)
    bag = BagFolder(tmp_path, "cpu").load("s", places=True)
    if places is None:
        assert bag.places is None
    else:
        assert bag.places is not None
        assert bag.places.tolist() == places.tolist() == grid(2, 2, 1).tolist()
        assert bag.instance_places(True)[-1].tolist() == pytest.approx([1 / 3, 1 / 3])  # of the first three patches


def test_places_are_read_for_models_that_look_at_them_only(tmp_path: Path) -> None:
    write(tmp_path / "s.h5", grid(2, 2, 256), 256)
    folder = BagFolder(tmp_path, "cpu")
    assert folder.load("s").places is None
    assert folder.load("s", places=True).places is not None
    assert folder.load("s").places is None
