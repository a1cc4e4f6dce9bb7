"""The region map, its labels, and the canvas that regions are drawn on."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build, paper_canvas
from sammil_cli.regions.region_mask import RegionMask

CANVAS = Canvas(origin_px=(100, 40), downsample=4.0, size_px=(6, 4), mpp=2.0)
WHOLE = (0, 0, 6, 4)


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])


MASKS = [
    drawn("####..", "####..", "####..", "......"),
    drawn("......", ".##...", ".##.##", "......"),
    drawn("......", "......", "...###", "...###"),
]


@pytest.fixture
def regions() -> RegionMap:
    scores = [(0.9, 0.8), (0.7, 0.6), (0.5, 0.4)]
    proposals = [
        Proposal(mask=RegionMask.of(m), predicted_iou=p, stability=s) for m, (p, s) in zip(MASKS, scores, strict=True)
    ]
    return build("s", CANVAS, proposals)


def test_a_map_holds_masks_areas_boxes_and_scores_in_the_given_order(regions: RegionMap) -> None:
    assert len(regions) == 3
    for region, mask in enumerate(MASKS):
        np.testing.assert_array_equal(regions.mask(region).within(WHOLE), mask)
    assert regions.area_px.tolist() == [12, 6, 6]
    assert regions.area_um2.tolist() == [48, 24, 24]  # 2 µm per canvas pixel
    assert regions.box.tolist() == [[0, 0, 4, 3], [1, 1, 5, 2], [3, 2, 3, 2]]
    np.testing.assert_allclose(regions.predicted_iou, [0.9, 0.7, 0.5])
    np.testing.assert_allclose(regions.stability, [0.8, 0.6, 0.4])


def test_a_mask_is_decoded_without_touching_the_others(regions: RegionMap) -> None:
    runs = regions.runs.copy()
    runs[: regions.offsets[1]] = 0  # region 0 is ruined
    ruined = replace(regions, runs=runs)
    np.testing.assert_array_equal(ruined.mask(1).within(WHOLE), MASKS[1])
    np.testing.assert_array_equal(ruined.mask(2).within(WHOLE), MASKS[2])
    assert ruined.mask(0).area_px == 0


def test_the_label_map_shows_the_smallest_region_and_of_equals_the_lower_id(regions: RegionMap) -> None:
    assert regions.labels().tolist() == [
        [0, 0, 0, 0, -1, -1],
        [0, 1, 1, 0, -1, -1],
        [0, 1, 1, 2, 1, 1],
        [-1, -1, -1, 2, 2, 2],
    ]


def overlapping_regions() -> tuple[RegionMap, NDArray[np.int32]]:
    """Random regions on a canvas of 37 x 23, and their labels drawn one by one."""
    rng = np.random.default_rng(9)
    proposals, masks = [], []
    for _ in range(40):
        mask = np.zeros((23, 37), bool)
        x, y = rng.integers(0, (36, 22)).tolist()
        mask[y : y + int(rng.integers(1, 14)), x : x + int(rng.integers(1, 20))] = True
        mask &= rng.random(mask.shape) < rng.choice([0.5, 1.0])
        mask[y, x] = True
        masks.append(mask)
        proposals.append(Proposal(mask=RegionMask.of(mask)))
    labels = np.full((23, 37), -1, np.int32)
    for row in range(23):
        for column in range(37):
            here = [(mask.sum(), region) for region, mask in enumerate(masks) if mask[row, column]]
            labels[row, column] = min(here)[1] if here else -1
    return build("s", replace(CANVAS, size_px=(37, 23)), proposals), labels


def test_labels_of_a_window_or_of_every_few_pixels_are_those_of_the_whole() -> None:
    regions, expected = overlapping_regions()
    np.testing.assert_array_equal(regions.labels(), expected)
    np.testing.assert_array_equal(regions.labels(window=(5, 3, 20, 11)), expected[3:14, 5:25])
    # Every third pixel from the second on; the last column, the 37th, has a block of its own.
    np.testing.assert_array_equal(regions.labels(step=3), expected[1::3][:, [*range(1, 37, 3), 36]])
    np.testing.assert_array_equal(regions.labels(window=(5, 3, 20, 11), step=4), expected[[5, 9, 13]][:, 7:25:4])


def test_a_picture_of_the_canvas_is_never_larger_than_asked_for() -> None:
    for width, height in ((1, 1), (2048, 7), (2049, 3), (4096, 4096), (4097, 100), (90_001, 40_000)):
        canvas = replace(CANVAS, size_px=(width, height))
        step = canvas.step_to(2048)
        assert -(-max(width, height) // step) <= 2048
        assert step == 1 or -(-max(width, height) // (step - 1)) > 2048


def test_a_map_may_be_empty() -> None:
    empty = build("s", CANVAS, [])
    assert (len(empty), empty.box.shape, empty.offsets.tolist()) == (0, (0, 4), [0])
    assert (empty.labels() == -1).all()
    assert empty.labels(step=4).shape == (1, 2)


@pytest.mark.parametrize(
    ("width", "height", "downsample", "size_px"),
    [
        # r = 2 ** ceil(max(log2(w / 1024), log2(h / 1024), 0))
        (700, 300, 1, (700, 300)),
        (1024, 1000, 1, (1024, 1000)),
        (1025, 10, 2, (513, 5)),
        (2048, 100, 2, (1024, 50)),
        (3000, 5000, 8, (375, 625)),  # log2(5000 / 1024) = 2.29
        (97_792, 221_184, 256, (382, 864)),  # log2(216) = 7.75
    ],
)
def test_the_papers_canvas_is_shrunk_by_a_power_of_two(
    width: int, height: int, downsample: int, size_px: tuple[int, int]
) -> None:
    canvas = paper_canvas((37, 19, width, height), 0.25, 1024)
    assert canvas.origin_px == (37, 19)
    assert canvas.downsample == downsample
    assert canvas.size_px == size_px
    assert canvas.mpp == 0.25 * downsample
    assert max(canvas.size_px) <= 1024


def areas_on(canvas: Canvas, area_px: list[int]) -> NDArray[np.int64]:
    """The areas that eq. 7 takes of regions that count so many pixels of `canvas`."""
    nothing = build("s", canvas, [])
    return replace(nothing, area_px=np.array(area_px, np.int64)).paper_area_px


def test_every_canvas_of_a_box_knows_the_papers_downsample() -> None:
    rng = np.random.default_rng(5)
    powers = [2**k + d for k in range(6, 19) for d in (-1, 0, 1)]  # where rounding up could tip the scale
    longer = [*rng.integers(1, 250_000, 400).tolist(), *powers]
    for side in longer:
        box = (11, 7, side, int(rng.integers(1, side + 1)))
        expected = paper_canvas(box, 0.25, 1024).downsample
        for canvas_px in (64, 200, 320, 512, 1000, 1024, 1500, 2048, 8192):
            assert paper_canvas(box, 0.25, canvas_px).paper_downsample == expected, (box, canvas_px)


@pytest.mark.parametrize(("canvas_px", "scale"), [(1024, 1), (2048, 4), (4096, 16), (512, 1 / 4), (100_000, 64)])
def test_the_area_of_eq_7_is_on_the_papers_canvas(canvas_px: int, scale: float) -> None:
    # The box of 5000 x 3001 px is shrunk by 8 in the paper; 100 000 px leave it as it is.
    canvas = paper_canvas((0, 0, 5000, 3001), 0.25, canvas_px)
    assert areas_on(canvas, [5000, 320, 6400, 64]).tolist() == [round(a / scale) for a in (5000, 320, 6400, 64)]


def test_areas_are_rounded_to_pixels_and_never_to_none() -> None:
    canvas = paper_canvas((0, 0, 5000, 3001), 0.25, 2048)
    # Quarters: 0.25, 0.75, 1, 1.25, 1.75, 2500.25
    assert areas_on(canvas, [1, 3, 4, 5, 7, 10_001]).tolist() == [1, 1, 1, 1, 2, 2500]


def test_the_same_region_has_the_same_area_on_a_canvas_twice_as_fine() -> None:
    coarse, fine = (paper_canvas((0, 0, 1600, 1200), 0.5, side) for side in (1024, 2048))
    assert (coarse.size_px, fine.size_px) == ((800, 600), (1600, 1200))
    small = np.random.default_rng(2).random((600, 800)) < 0.3
    maps = [
        build("s", canvas, [Proposal(mask=RegionMask.of(np.kron(small, np.ones((zoom, zoom), bool))))])
        for canvas, zoom in ((coarse, 1), (fine, 2))
    ]
    assert maps[1].area_px[0] == 4 * maps[0].area_px[0]
    assert maps[0].paper_area_px.tolist() == maps[1].paper_area_px.tolist() == [int(small.sum())]
    np.testing.assert_allclose(maps[0].area_um2, maps[1].area_um2)
