"""Where heat is painted, and how it is ranked."""

import cv2
import numpy as np
import pytest

from sammil_cli.report.heatmap import SlideView, draw, paint, percentile_rank


def decode(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def make_view(**changes: object) -> SlideView:
    """A slide wider than high, with three patches at its top left."""
    thumbnail = np.full((60, 110, 3), 240, np.uint8)
    thumbnail[5:30, 10:80] = (200, 120, 160)
    values = {
        "title": "slide_1",
        "thumbnail": thumbnail,
        "regions": thumbnail[:, ::-1].copy(),
        "xy": np.array([[10.0, 5.0], [20.0, 5.0], [10.0, 15.0]]),
        "side": 10.0,
        "attention": np.array([0.7, 0.1, 0.2]),
        "evidence": np.array([0.9, 0.4, 0.5]),
        "evidence_label": "evidence for tumour",
        "outlines": [],
        "top": [],
        "patch_um": 128.0,
    }
    return SlideView(**{**values, **changes})


def test_ranks_by_hand() -> None:
    assert percentile_rank(np.array([30.0, 10.0, 20.0])).tolist() == [1.0, 0.0, 0.5]


def test_ties_share_their_mean_rank() -> None:
    # Ranks 0..4: 1 -> 0; the three 2s -> (1 + 2 + 3) / 3 = 2; 9 -> 4
    assert percentile_rank(np.array([2.0, 9.0, 2.0, 1.0, 2.0])).tolist() == [0.5, 1.0, 0.5, 0.0, 0.5]


def test_one_huge_value_does_not_flatten_the_others() -> None:
    assert percentile_rank(np.array([1e-6, 2e-6, 3e-6, 1e3])).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("values", "ranks"), [([], []), ([5.0], [0.0]), ([5.0, 5.0], [0.5, 0.5])])
def test_ranks_of_few_values(values: list[float], ranks: list[float]) -> None:
    assert percentile_rank(np.array(values)).tolist() == ranks


def test_a_patch_is_painted_at_its_column_and_row() -> None:
    canvas = paint((20, 50), np.array([[30.0, 4.0]]), 6.0, np.array([0.25]))
    assert canvas.shape == (20, 50)
    painted = ~np.isnan(canvas)
    assert np.argwhere(painted)[0].tolist() == [4, 30]
    assert np.argwhere(painted)[-1].tolist() == [9, 35]
    assert painted.sum() == 36
    assert canvas[4, 30] == 0.25


def test_patches_of_broken_size_leave_no_gap_between_them() -> None:
    side = 3.3
    xy = np.array([[column * side, row * side] for row in range(4) for column in range(7)])
    canvas = paint((13, 23), xy, side, np.arange(28.0))
    assert not np.isnan(canvas).any()
    assert canvas[0, 0] == 0
    assert canvas[12, 22] == 27
    assert canvas[0, 22] == 6


def test_a_patch_smaller_than_a_pixel_still_shows() -> None:
    canvas = paint((4, 4), np.array([[2.1, 1.2]]), 0.2, np.array([0.9]))
    assert np.argwhere(~np.isnan(canvas)).tolist() == [[1, 2]]


def test_a_patch_over_the_edge_is_cut() -> None:
    canvas = paint((10, 12), np.array([[9.0, 8.0]]), 6.0, np.array([1.0]))
    assert np.argwhere(~np.isnan(canvas)).tolist() == [[r, c] for r in (8, 9) for c in (9, 10, 11)]


def test_the_picture_is_a_png_of_many_colours() -> None:
    image = decode(draw(make_view()))
    assert image.shape[1] > 1000
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


def test_the_picture_follows_attention_evidence_and_outlines() -> None:
    pictures = [
        draw(make_view(**changes))
        for changes in (
            {},
            {"attention": np.array([0.1, 0.7, 0.2])},
            {"evidence": np.array([0.4, 0.9, 0.5])},
            {"outlines": [np.array([[10.0, 5.0], [30.0, 5.0], [30.0, 25.0], [10.0, 5.0]])]},
        )
    ]
    assert len(set(pictures)) == 4
    assert draw(make_view()) == pictures[0]


@pytest.mark.parametrize("count", [1, 3])
def test_top_patches_are_drawn_below(count: int) -> None:
    patch = np.zeros((16, 16, 3), np.uint8)
    patch[:, 8:] = (10, 200, 30)
    plain, with_top = decode(draw(make_view())), decode(draw(make_view(top=[(patch, 0.5)] * count)))
    assert with_top.shape[0] > plain.shape[0] + 100
    green = (with_top == (30, 200, 10)).all(axis=2)
    assert green.sum() > 500
    assert np.argwhere(green)[:, 0].min() > plain.shape[0] * 0.6


def test_equal_values_everywhere_can_be_drawn() -> None:
    flat = np.full(3, 0.25)
    assert len(np.unique(decode(draw(make_view(attention=flat, evidence=flat))).reshape(-1, 3), axis=0)) > 10


def test_a_tall_slide_gives_a_taller_picture() -> None:
    tall = np.full((220, 110, 3), 240, np.uint8)
    assert decode(draw(make_view(thumbnail=tall, regions=tall))).shape[0] > decode(draw(make_view())).shape[0] + 200
