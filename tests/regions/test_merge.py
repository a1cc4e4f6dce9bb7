"""What overlapping tiles show of one region becomes one region."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.regions.merge import merge_tiles
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import Box, RegionMask
from sammil_cli.regions.tiles import Tile, lay_tiles

# Columns 0-99 and 60-159; both see 60-99, and the cores meet at 80.
PAIR = lay_tiles((160, 100), 100, 0.4)


def filled(*boxes: Box, iou: float = 1.0, stability: float = 1.0) -> Proposal:
    """Boxes x, y, width, height on the canvas; a later box takes away what is there."""
    mask = np.zeros((400, 400), bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] ^= True
    return Proposal(mask=RegionMask.of(mask), predicted_iou=iou, stability=stability)


def seen(tiles: list[Tile], *regions: Proposal) -> list[list[Proposal]]:
    """What each tile sees of regions that are there."""
    return [
        [
            Proposal(mask=part, predicted_iou=region.predicted_iou, stability=region.stability)
            for region in regions
            if (part := region.mask.cut(tile.window))
        ]
        for tile in tiles
    ]


def merged(shown: list[list[Proposal]], *, partition: bool = False) -> list[Proposal]:
    """Of the two tiles of PAIR."""
    return merge_tiles(PAIR, shown, size_px=(160, 100), partition=partition)


def pixels(found: list[Proposal]) -> list[NDArray[np.bool_]]:
    return [proposal.mask.within((0, 0, 400, 400)) for proposal in found]


def assert_same(found: list[Proposal], *expected: Proposal) -> None:
    assert [p.mask.box for p in found] == [p.mask.box for p in expected]
    for one, other in zip(pixels(found), pixels(list(expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tiles_are_what_the_tests_say() -> None:
    assert [(tile.window, tile.core) for tile in PAIR] == [
        ((0, 0, 100, 100), (0, 0, 80, 100)),
        ((60, 0, 100, 100), (80, 0, 80, 100)),
    ]


@pytest.mark.parametrize(("first", "second", "kept"), [(0.7, 0.9, 1), (0.9, 0.7, 0), (0.8, 0.8, 0)])
def test_of_two_whole_masks_the_one_rated_higher_is_kept(first: float, second: float, kept: int) -> None:
    masks = [filled((70, 10, 20, 20), iou=first), filled((71, 10, 20, 20), iou=second)]
    assert_same(merged([[masks[0]], [masks[1]]]), masks[kept])


def test_a_whole_mask_stands_for_a_cut_one() -> None:
    whole = filled((40, 10, 50, 20), iou=0.6)
    cut = filled((60, 10, 32, 20), iou=0.99)  # at the second tile's left border, and it leaks to the right
    (found,) = merged([[whole], [cut]])
    assert_same([found], whole)
    assert found.predicted_iou == 0.6


def test_two_cut_masks_are_joined_and_get_the_lower_scores() -> None:
    left = filled((20, 10, 80, 20), iou=0.7, stability=0.9)
    right = filled((60, 12, 70, 20), iou=0.8, stability=0.6)
    (found,) = merged([[left], [right]])
    np.testing.assert_array_equal(pixels([found])[0], pixels([left])[0] | pixels([right])[0])
    assert (found.predicted_iou, found.stability) == (0.7, 0.6)


def test_masks_that_overlap_to_less_than_a_half_stay_two() -> None:
    masks = [filled((62, 10, 16, 20)), filled((68, 10, 16, 20))]  # 10 of 22 columns
    assert len(merged([[masks[0]], [masks[1]]])) == 2


def test_nested_masks_find_their_counterparts() -> None:
    regions = [filled((30, 10, 100, 60)), filled((32, 12, 96, 52)), filled((64, 20, 30, 30)), filled((70, 25, 8, 8))]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        shown = seen(PAIR, *regions)
        shown[1] = [shown[1][index] for index in order]
        assert_same(merged(shown), *regions)


def test_a_region_over_many_tiles_is_one() -> None:
    tiles = lay_tiles((400, 400), 100, 0.25)
    assert len(tiles) == 25
    diagonal = np.zeros((400, 400), bool)
    for step in range(370):
        diagonal[step + 5 : step + 14, step + 10 : step + 19] = True
    thread, field = Proposal(mask=RegionMask.of(diagonal)), filled((3, 3, 390, 390), (150, 150, 90, 60))
    assert_same(merge_tiles(tiles, seen(tiles, field, thread), size_px=(400, 400), partition=False), field, thread)


def test_a_region_that_one_tile_sees_as_two_pieces_is_one() -> None:
    # A fork: the first tile sees its handle, the second one two tines of different length and breadth.
    fork = filled((30, 20, 20, 40), (50, 20, 90, 8), (50, 56, 60, 4))
    shown = seen(PAIR, fork)
    tines = [filled((60, 20, 80, 8)), filled((60, 56, 50, 4))]
    assert_same(merged([shown[0], tines]), fork)


def test_a_chain_never_joins_what_a_tile_shows_to_be_nested() -> None:
    # The second tile sees one mask where the first one sees two; it is like both.
    outer, inner = filled((20, 10, 80, 40)), filled((24, 12, 76, 34))
    between = filled((60, 11, 60, 37))
    found = merged([[outer, inner], [between]])
    assert len(found) == 2
    assert {found[1].mask.area_px} == {inner.mask.area_px}


@pytest.mark.parametrize(
    ("box", "is_kept"),
    [
        ((75, 10, 25, 20), False),  # from 75 to the border at 100: 5 columns in the own core
        ((30, 10, 70, 20), True),  # longer than the overlap
        ((61, 10, 39, 20), False),  # 19 columns of 39
        ((60, 10, 40, 20), True),  # 20 of 40
        ((75, 10, 20, 20), True),  # it ends 5 px before the border: whole
    ],
)
def test_a_cut_mask_that_nobody_else_saw_stays_where_it_is_seen_best(box: Box, is_kept: bool) -> None:
    other = filled((130, 60, 20, 20))
    found = merged([[filled(box)], [other]])
    assert len(found) == 1 + is_kept


def test_nothing_is_dropped_beside_tissue_that_was_not_read() -> None:
    alone = filled((75, 10, 25, 20))
    assert len(merge_tiles(PAIR[:1], [[alone]], size_px=(160, 100), partition=False)) == 1


def test_the_order_is_by_area_then_place_whatever_the_tiles() -> None:
    regions = [filled((5, 60, 10, 10)), filled((110, 5, 10, 10)), filled((70, 5, 10, 10)), filled((10, 10, 60, 40))]
    expected = [(10, 10, 60, 40), (70, 5, 10, 10), (110, 5, 10, 10), (5, 60, 10, 10)]
    shown = seen(PAIR, *regions)
    for tiles, masks in ((PAIR, shown), (PAIR[::-1], shown[::-1]), (PAIR, [some[::-1] for some in shown])):
        assert [p.mask.box for p in merge_tiles(tiles, masks, size_px=(160, 100), partition=False)] == expected


def labelled(labels: NDArray[np.int64], tile: Tile) -> list[Proposal]:
    """The regions of a label map (0 = none) on a tile."""
    x, y, width, height = tile.window
    part = labels[y : y + height, x : x + width]
    return [Proposal(mask=RegionMask.of(part == label, (x, y))) for label in np.unique(part[part > 0])]


def test_a_partition_stays_one_though_tiles_disagree() -> None:
    rng = np.random.default_rng(3)
    tissue = rng.random((40, 40)).repeat(8, 0).repeat(8, 1) < 0.9
    tiles = lay_tiles((320, 320), 120, 0.25)
    shown = []
    y, x = np.mgrid[:320, :320]
    for tile in tiles:  # each has its own random cells
        seeds = rng.integers(0, 320, (40, 2))
        nearest = ((x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2).argmin(2) + 1
        shown.append(labelled(np.where(tissue, nearest, 0), tile))
    found = merge_tiles(tiles, shown, size_px=(320, 320), partition=True)
    counted = np.sum([p.mask.within((0, 0, 320, 320)) for p in found], axis=0)
    np.testing.assert_array_equal(counted, tissue.astype(int))


def test_a_partition_on_which_tiles_agree_comes_back() -> None:
    labels = 1 + np.arange(320)[:, None] // 53 * 10 + np.arange(320) // 41
    tiles = lay_tiles((320, 320), 120, 0.25)
    found = merge_tiles(tiles, [labelled(labels, tile) for tile in tiles], size_px=(320, 320), partition=True)
    counted = {p.mask.box: p.mask.area_px for p in found}
    expected = {RegionMask.of(labels == k).box: int((labels == k).sum()) for k in np.unique(labels)}
    assert counted == expected


def test_no_sliver_is_left_along_the_border_of_the_cores() -> None:
    # The first tile's right mask begins 3 columns before the cores' border at 80; the second tile draws it elsewhere.
    first = [filled((0, 0, 77, 100)), filled((77, 0, 23, 100))]
    second = [filled((60, 0, 30, 100)), filled((90, 0, 70, 100))]
    found = merged([first, second], partition=True)
    assert sum(p.mask.area_px for p in found) == 160 * 100
    assert sorted(p.mask.box[2] for p in found) == [70, 90]
