"""Run lengths, the region map built from them, and the canvas that regions are drawn on."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.regions.region_map import (
    Canvas,
    Proposal,
    RegionMap,
    bounding_box,
    build,
    decode,
    encode,
    paper_canvas,
)

CANVAS = Canvas(origin_px=(100, 40), downsample=4.0, size_px=(6, 4), mpp=2.0)


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows])


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        # Column by column: 001 110 011 000
        ((".#..", ".##.", "#.#."), [2, 3, 2, 2, 3]),
        # 101 000: the first pixel is set, so the first run, background, is empty
        (("#.", "..", "#."), [0, 1, 1, 1, 3]),
        (("...", "..."), [6]),
        (("###", "###"), [0, 6]),
        ((".", "#"), [1, 1]),
        (("..#",), [2, 1]),
    ],
)
def test_run_lengths_go_column_by_column_with_background_first(rows: tuple[str, ...], runs: list[int]) -> None:
    mask = drawn(*rows)
    encoded = encode(mask)
    assert encoded.dtype == np.uint32
    assert encoded.tolist() == runs
    np.testing.assert_array_equal(decode(encoded, mask.shape), mask)


def test_random_masks_come_back_from_their_run_lengths() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 24, 2)) < rng.choice([0.02, 0.5, 0.98])
        runs = encode(mask)
        assert (runs[1:] > 0).all()
        assert runs.sum() == mask.size
        np.testing.assert_array_equal(decode(runs, mask.shape), mask)


def test_the_box_of_a_mask_is_x_y_width_height() -> None:
    assert bounding_box(drawn("......", "...#..", "..##..", ".....#")) == (2, 1, 4, 3)


MASKS = [
    drawn("####..", "####..", "####..", "......"),
    drawn("......", ".##...", ".##.##", "......"),
    drawn("......", "......", "...###", "...###"),
]


@pytest.fixture
def regions() -> RegionMap:
    scores = [(0.9, 0.8), (0.7, 0.6), (0.5, 0.4)]
    proposals = [Proposal(mask=m, predicted_iou=p, stability=s) for m, (p, s) in zip(MASKS, scores, strict=True)]
    return build("s", CANVAS, proposals)


def test_a_map_holds_masks_areas_boxes_and_scores_in_the_given_order(regions: RegionMap) -> None:
    assert len(regions) == 3
    for region, mask in enumerate(MASKS):
        np.testing.assert_array_equal(regions.mask(region), mask)
    assert regions.area_px.tolist() == [12, 6, 6]
    assert regions.area_um2.tolist() == [48, 24, 24]  # 2 µm per canvas pixel
    assert regions.box.tolist() == [[0, 0, 4, 3], [1, 1, 5, 2], [3, 2, 3, 2]]
    np.testing.assert_allclose(regions.predicted_iou, [0.9, 0.7, 0.5])
    np.testing.assert_allclose(regions.stability, [0.8, 0.6, 0.4])


def test_a_mask_is_decoded_without_touching_the_others(regions: RegionMap) -> None:
    runs = regions.runs.copy()
    runs[: regions.offsets[1]] = 0  # region 0 is ruined
    ruined = replace(regions, runs=runs)
    np.testing.assert_array_equal(ruined.mask(1), MASKS[1])
    np.testing.assert_array_equal(ruined.mask(2), MASKS[2])
    with pytest.raises(ValueError, match="reshape"):
        ruined.mask(0)


def test_the_label_map_shows_the_smallest_region_and_of_equals_the_lower_id(regions: RegionMap) -> None:
    assert regions.label_map.tolist() == [
        [0, 0, 0, 0, -1, -1],
        [0, 1, 1, 0, -1, -1],
        [0, 1, 1, 2, 1, 1],
        [-1, -1, -1, 2, 2, 2],
    ]


def test_empty_masks_are_left_out_and_a_map_may_be_empty() -> None:
    nothing = np.zeros((4, 6), bool)
    regions = build("s", CANVAS, [Proposal(mask=nothing), Proposal(mask=MASKS[1]), Proposal(mask=nothing)])
    assert regions.area_px.tolist() == [6]
    empty = build("s", CANVAS, [])
    assert (len(empty), empty.box.shape, empty.offsets.tolist()) == (0, (0, 4), [0])
    assert (empty.label_map == -1).all()


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


@pytest.mark.parametrize(
    ("canvas_px", "scale"),
    [(1024, 1), (2048, 4), (4096, 16), (512, 1 / 4), (100_000, 64)],
)
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
        build("s", canvas, [Proposal(mask=np.kron(small, np.ones((zoom, zoom), bool)))])
        for canvas, zoom in ((coarse, 1), (fine, 2))
    ]
    assert maps[1].area_px[0] == 4 * maps[0].area_px[0]
    assert maps[0].paper_area_px.tolist() == maps[1].paper_area_px.tolist() == [int(small.sum())]
    np.testing.assert_allclose(maps[0].area_um2, maps[1].area_um2)
