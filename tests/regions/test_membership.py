"""Which patches lie in which regions, by hand and against plain loops."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

import sammil_cli.regions.members as finding
from sammil_cli.regions.members import find_members, released_members, smallest_region
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask

SIZE = (10, 8)  # canvas width, height
ORIGIN = (100, 40)


def regions_of(*boxes: tuple[int, int, int, int], downsample: float = 4.0) -> RegionMap:
    """Regions that are boxes x, y, width, height on the canvas."""
    proposals = []
    for x, y, width, height in boxes:
        mask = np.zeros(SIZE[::-1], bool)
        mask[y : y + height, x : x + width] = True
        proposals.append(Proposal(mask=RegionMask.of(mask)))
    return build("s", Canvas(origin_px=ORIGIN, downsample=downsample, size_px=SIZE, mpp=1.0), proposals)


def members(
    regions: RegionMap, *corners: tuple[float, float], side: int = 8, min_share: float = 0.0, rule: str = "overlap"
) -> list[list[int]]:
    """Patches of each region; corners are in canvas pixels, `side` in level-0 pixels."""
    xy = (np.array(corners) * regions.canvas.downsample + ORIGIN).astype(np.int32)
    found = find_members(regions, xy, side, min_share, rule)
    return [found.patch[a:b].tolist() for a, b in zip(found.start, found.start[1:], strict=False)]


REGION = (4, 2, 3, 3)  # columns 4-6, rows 2-4


def test_a_patch_inside_around_and_beside_a_region() -> None:
    around, inside, beside = (3, 1), (4, 3), (7, 2)
    assert members(regions_of(REGION), around, inside, beside) == [[0, 1]]


@pytest.mark.parametrize(
    "corner", [(3, 3), (5, 1), (3, 1), (6, 4)], ids=["from the right", "from below", "from both", "from its corner"]
)
def test_a_region_that_enters_a_patch_from_any_side_has_it_as_member(corner: tuple[int, int]) -> None:
    assert members(regions_of(REGION), corner) == [[0]]


@pytest.mark.parametrize("corner", [(2, 2), (7, 3), (4, 0), (4, 5)], ids=["left", "right", "above", "below"])
def test_a_patch_that_only_touches_the_border_is_no_member(corner: tuple[int, int]) -> None:
    assert members(regions_of(REGION), corner) == [[]]


def test_a_region_far_inside_a_patch_has_it_as_member() -> None:
    # The published code loses this one: the patch's corner is outside of the region's box.
    assert members(regions_of((5, 3, 1, 1)), (2, 0), side=32) == [[0]]


@pytest.mark.parametrize(("min_share", "found"), [(0.0, [0, 1, 2]), (0.24, [0, 1, 2]), (0.25, [1, 2]), (0.5, [2])])
def test_a_member_is_covered_by_more_than_the_share(min_share: float, found: list[int]) -> None:
    # Of 2 x 2 canvas pixels the region covers 1, 2 and 4.
    assert members(regions_of(REGION), (3, 1), (3, 3), (5, 3), min_share=min_share) == [found]


def test_a_patch_off_the_pixel_grid_touches_all_pixels_it_reaches() -> None:
    # A patch from 2.5 to 4.5 touches columns 2, 3 and 4; of 3 x 3 pixels (rows 2-4) 3 are in the region.
    assert members(regions_of(REGION), (2.5, 2.5)) == [[0]]
    assert members(regions_of(REGION), (2.5, 2.5), min_share=0.33) == [[0]]
    assert members(regions_of(REGION), (2.5, 2.5), min_share=0.34) == [[]]


def test_a_patch_smaller_than_a_canvas_pixel_belongs_to_that_pixel() -> None:
    regions = regions_of(REGION, downsample=16.0)
    corners = ((3.75, 2), (4, 2), (6.75, 4.75), (7, 2), (6.5, 5))
    assert members(regions, *corners, side=4) == [[1, 2]]
    assert members(regions, *corners, side=4, min_share=0.99) == [[1, 2]]


def test_patches_outside_of_the_canvas_are_in_no_region() -> None:
    whole = regions_of((0, 0, *SIZE))
    assert members(whole, (-2, 0), (10, 0), (0, -2), (0, 8), (-50, -50), (500, 500)) == [[]]


def test_what_lies_outside_of_the_canvas_counts_as_not_covered() -> None:
    whole = regions_of((0, 0, *SIZE))
    assert members(whole, (-1, 2), (9, 2), (9, 7), (3, 3), min_share=0.3) == [[0, 1, 3]]
    assert members(whole, (-1, 2), (9, 2), (9, 7), (3, 3), min_share=0.6) == [[3]]


def test_a_patch_may_lie_in_several_regions_and_in_none() -> None:
    regions = regions_of((0, 0, 6, 6), (9, 7, 1, 1), (4, 2, 3, 3))
    found = members(regions, (0, 0), (4, 3), (5, 5), (0, 6))
    assert found == [[0, 1, 2], [], [1]]


def test_no_regions_and_no_patches_give_no_members() -> None:
    none = find_members(regions_of(), np.array([[100, 40]], np.int32), 8, 0.0)
    assert (none.start.tolist(), none.patch.tolist()) == ([0], [])
    empty = find_members(regions_of(REGION), np.empty((0, 2), np.int32), 8, 0.0)
    assert (empty.start.tolist(), empty.patch.tolist()) == ([0, 0], [])


# By the published rule, `REGION` has the box that SAM records: columns 4 and 5, rows 2 and 3.
@pytest.mark.parametrize(
    ("corner", "released"),
    [((4, 2), True), ((5, 3), True), ((3, 2), False), ((4, 1), False), ((6, 3), False), ((5, 4), False)],
    ids=["its corner", "inside", "from the left", "from above", "in its last column", "in its last row"],
)
def test_the_published_rule_asks_for_the_corner_in_the_box(corner: tuple[int, int], released: bool) -> None:
    assert members(regions_of(REGION), corner) == [[0]]
    assert members(regions_of(REGION), corner, rule="released") == [[0] if released else []]


def test_a_region_that_starts_inside_a_patch_is_lost_by_the_published_rule() -> None:
    # The worked example of docs/methods.md §10.1: a region of 3 x 3 pixels inside a patch of 8 has no patch.
    regions = regions_of((5, 3, 3, 3))
    assert members(regions, (1, 0), side=32) == [[0]]
    assert members(regions, (1, 0), side=32, rule="released") == [[]]


def test_the_published_rule_asks_for_a_pixel_in_the_patch_besides() -> None:
    ring = np.zeros(SIZE[::-1], bool)
    ring[1:7, 1:8] = True
    ring[2:6, 2:7] = False
    canvas = regions_of(REGION).canvas
    regions = build("s", canvas, [Proposal(mask=RegionMask.of(ring))])
    in_the_hole, on_the_ring, reaches_it = (3, 3), (1, 1), (5, 4)
    assert members(regions, in_the_hole, on_the_ring, reaches_it, rule="released") == [[1]]
    assert members(regions, in_the_hole, on_the_ring, reaches_it, side=12, rule="released") == [[1, 2]]


def test_the_published_rule_rounds_corners_and_cuts_windows() -> None:
    # 4.5 rounds to the even 4 and 5.5 to 6, which is outside; windows of 11 px at downsample 4 are 2 pixels wide.
    assert members(regions_of(REGION), (4.5, 2), (5.5, 2), (3.75, 2), rule="released") == [[0, 2]]
    dot = regions_of((6, 2, 1, 1), (4, 2, 3, 1))
    assert members(dot, (4, 2), side=11, rule="released") == [[], []]
    flat = RegionMask.of(np.eye(3, dtype=bool)[::-1], (4, 2))  # its first row is set in its last column only
    corner = np.array([[4, 2]])
    assert released_members(flat, (4, 2, 2, 2), corner, 1).tolist() == []
    assert released_members(flat, (4, 2, 2, 2), corner, 2).tolist() == [0]


def test_patches_smaller_than_a_canvas_pixel_are_in_no_region_by_the_published_rule() -> None:
    regions = regions_of(REGION, downsample=16.0)
    assert members(regions, (4, 2), side=15, rule="released") == [[]]
    assert members(regions, (4, 2), side=16, rule="released") == [[0]]


def test_the_share_is_no_part_of_the_published_rule() -> None:
    assert members(regions_of(REGION), (5, 3), side=32, min_share=0.9) == [[]]
    assert members(regions_of(REGION), (5, 3), side=32, min_share=0.9, rule="released") == [[0]]


def brute_force(masks: NDArray[np.bool_], xy: NDArray[np.int32], side: int, d: float, share: float) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in masks]
    for index, (x, y) in enumerate(xy - ORIGIN):
        columns = range(int(np.floor(x / d)), max(int(np.ceil((x + side) / d)), int(np.floor(x / d)) + 1))
        rows = range(int(np.floor(y / d)), max(int(np.ceil((y + side) / d)), int(np.floor(y / d)) + 1))
        for region, mask in enumerate(masks):
            if set_pixels(mask, columns, rows) > share * len(rows) * len(columns):
                found[region].add(index)
    return found


def brute_force_released(masks: NDArray[np.bool_], xy: NDArray[np.int32], side: int, d: float) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in masks]
    for index, (x, y) in enumerate(xy - ORIGIN):
        x, y = round(x / d), round(y / d)
        for region, mask in enumerate(masks):
            rows, columns = np.nonzero(mask)
            in_box = columns.min() <= x < columns.max() and rows.min() <= y < rows.max()
            window = int(side // d)
            if in_box and set_pixels(mask, range(x, x + window), range(y, y + window)):
                found[region].add(index)
    return found


def set_pixels(mask: NDArray[np.bool_], columns: range, rows: range) -> int:
    height, width = mask.shape
    return sum(bool(mask[y, x]) for y in rows for x in columns if 0 <= y < height and 0 <= x < width)


@pytest.mark.parametrize(("downsample", "side"), [(4.0, 13), (8.0, 8), (16.0, 5), (2.0, 16)])
@pytest.mark.parametrize(("rule", "min_share"), [("overlap", 0.0), ("overlap", 0.4), ("released", 0.4)])
@pytest.mark.parametrize("strip_px", [1, 37, 1 << 22])
def test_random_regions_agree_with_plain_loops(
    downsample: float, side: int, rule: str, min_share: float, strip_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_STRIP_PX", strip_px)
    rng = np.random.default_rng(int(downsample) + side)
    shape = (23, 31)
    masks = np.zeros((6, *shape), bool)
    for mask in masks:
        y, x = rng.integers(0, (18, 24))
        mask[y : y + rng.integers(1, 12), x : x + rng.integers(1, 15)] = True
        mask &= rng.random(shape) < 0.8
    masks = masks[masks.any(axis=(1, 2))]
    canvas = Canvas(origin_px=ORIGIN, downsample=downsample, size_px=shape[::-1], mpp=1.0)
    regions = build("s", canvas, [Proposal(mask=RegionMask.of(mask)) for mask in masks])
    extent = (np.array(shape[::-1]) * downsample).astype(int)
    xy = (rng.integers((-20, -20), extent + 20, (60, 2)) + ORIGIN).astype(np.int32)
    found = find_members(regions, xy, side, min_share, rule)
    if rule == "released":
        expected = brute_force_released(masks, xy, side, downsample)
    else:
        expected = brute_force(masks, xy, side, downsample, min_share)
    parts = [found.patch[a:b] for a, b in zip(found.start, found.start[1:], strict=False)]
    assert [set(part.tolist()) for part in parts] == expected
    assert all((np.diff(part) > 0).all() for part in parts)
    assert found.size.tolist() == [len(part) for part in expected]
    assert (0 if side < downsample and rule == "released" else 1) <= len(found.patch) < len(masks) * len(xy)


def test_a_region_as_large_as_a_slide_takes_little_memory() -> None:
    # 8000 x 8000 pixels at once would take 64 MB, and their sums 256 MB more.
    side = 8000
    whole = RegionMask(box=(0, 0, side, side), runs=np.array([0, side * side], np.uint32))
    canvas = Canvas(origin_px=(0, 0), downsample=1.0, size_px=(side, side), mpp=1.0)
    regions = build("s", canvas, [Proposal(mask=whole)])
    xy = np.stack(np.meshgrid(np.arange(0, side, 128), np.arange(0, side, 128)), -1).reshape(-1, 2).astype(np.int32)
    tracemalloc.start()
    found = find_members(regions, xy, 128, 0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.patch) == 62 * 62  # the last row and column of patches are half outside
    assert peak < 50e6


def test_a_patch_stands_for_its_smallest_region_and_of_equals_for_the_lower_id() -> None:
    # Regions 0-3 hold patches {0, 1, 2}, {1, 2}, {2, 3}, {3}.
    found = Membership(start=np.array([0, 3, 5, 7, 8]), patch=np.array([0, 1, 2, 1, 2, 2, 3, 3], np.int32))
    assert smallest_region(found, np.array([90, 20, 20, 50]), 5).tolist() == [0, 1, 1, 2, -1]
    assert smallest_region(found, np.array([10, 20, 20, 5]), 5).tolist() == [0, 0, 0, 3, -1]
    assert smallest_region(found, np.array([7, 7, 7, 7]), 5).tolist() == [0, 0, 0, 2, -1]
    none = Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32))
    assert smallest_region(none, np.empty(0, np.int64), 3).tolist() == [-1, -1, -1]
