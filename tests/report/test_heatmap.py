"""Where heat is painted, how it is ranked, and what the paper's view shows."""

import cv2
import numpy as np
import pytest

from sammil_cli.report.heatmap import SlideView, draw, paint, paper_view
from sammil_cli.report.scales import min_max, percentile_rank


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
        "positive": "tumour",
        "classes": 2,
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


def test_where_patches_overlap_their_mean_is_painted() -> None:
    canvas = paint((4, 8), np.array([[0.0, 0.0], [2.0, 0.0]]), 4.0, np.array([0.2, 0.6]))
    assert canvas[0, :6] == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6])
    assert np.isnan(canvas[:, 6:]).all()


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


GREEN = (10, 200, 30)


def green_of(image: np.ndarray) -> np.ndarray:
    """Places (row, column) of the colour that the top patches have."""
    return np.argwhere((image == GREEN[::-1]).all(axis=2))


@pytest.mark.parametrize("count", [1, 3, 6, 32])
@pytest.mark.parametrize("classes", [2, 3])
def test_top_patches_are_drawn_in_the_cells_that_are_left(count: int, classes: int) -> None:
    patch = np.full((16, 16, 3), GREEN, np.uint8)
    plain = decode(draw(make_view(classes=classes)))
    with_top = decode(draw(make_view(classes=classes, top=[(patch, 0.5)] * count)))
    assert with_top.shape == plain.shape
    assert len(green_of(plain)) == 0
    places = green_of(with_top)
    assert len(places) > 2000
    height, width = with_top.shape[:2]
    assert places[:, 0].min() > height / 2 - 20  # second row
    assert places[:, 1].min() > width * (2 if classes == 2 else 1) / 3
    assert places[:, 0].max() < height - 3
    assert places[:, 1].max() < width - 3


def test_equal_values_everywhere_can_be_drawn() -> None:
    flat = np.full(3, 0.25)
    assert len(np.unique(decode(draw(make_view(attention=flat, evidence=flat))).reshape(-1, 3), axis=0)) > 10


def test_a_tall_slide_has_its_panels_in_one_row() -> None:
    tall = np.full((220, 110, 3), GREEN, np.uint8)
    values = {"thumbnail": tall, "regions": tall, "evidence": np.full(3, 0.5), "attention": np.full(3, 0.2)}
    image = decode(draw(make_view(**values)))
    assert image.shape[1] > 2 * image.shape[0]
    places = green_of(image)  # slide, regions, and what no patch covers of attention and evidence
    starts = np.unique(places[:, 0])[0]
    row = np.sort(places[places[:, 0] == starts, 1])
    assert 1 + (np.diff(row) > 1).sum() == 4
    assert (np.diff(np.unique(places[:, 0])) == 1).all()  # no second row below


def test_panels_of_one_row_are_of_one_size() -> None:
    thumbnail = np.full((60, 110, 3), GREEN, np.uint8)
    image = decode(draw(make_view(thumbnail=thumbnail, regions=thumbnail)))
    places = green_of(image[: image.shape[0] // 2])  # slide, regions, attention
    columns = np.unique(places[:, 1])
    edges = np.flatnonzero(np.diff(columns) > 5)
    assert len(edges) == 2
    widths = [np.ptp(part) for part in np.split(columns, edges + 1)]
    assert max(widths) - min(widths) <= 1


def test_three_classes_have_no_view_of_the_paper() -> None:
    key = (255, 255, 0)  # BGR: cyan as in the legend, and nowhere else
    two, three = (decode(draw(make_view(classes=classes))) for classes in (2, 3))
    assert (two == key).all(axis=2).sum() > 50
    assert not (three == key).all(axis=2).any()


# ------------------------------------------------------------------------------------------ the paper's Fig. 11


def test_scaling_by_least_and_largest_by_hand() -> None:
    assert min_max(np.array([0.5, 0.1, 0.26])).tolist() == pytest.approx([1, 0, 0.4])
    assert min_max(np.array([0.25, 0.25])).tolist() == [0, 0]
    assert min_max(np.array([])).tolist() == []


def paper_colours(attention: list[float], evidence: list[float]) -> list[list[int]]:
    """The colours of patches in the paper's view of an evenly grey slide, and of the slide beside them."""
    count = len(attention)
    view = make_view(
        thumbnail=np.full((30, 10 * count + 10, 3), 200, np.uint8),
        xy=np.array([[10.0 * i, 5.0] for i in range(count)]),
        attention=np.array(attention),
        evidence=np.array(evidence),
    )
    picture = paper_view(view)
    assert (picture[:5] == 110).all()
    assert (picture[15:] == 110).all()
    inside = [picture[5:15, 10 * i : 10 * i + 10].reshape(-1, 3) for i in range(count + 1)]
    assert all((part == part[0]).all() for part in inside)
    return [part[0].tolist() for part in inside]


SLIDE = [110, 110, 110]  # 0.55 * 200
CYAN = [38, 204, 204]  # 0.35 * 110 + 0.65 * (0, 255, 255) = 38.5, 204.25
WHITE = [212, 212, 212]  # 0.3 * 110 + 0.7 * 255 = 211.5
BOTH = [190, 240, 240]  # 0.3 * (38.5, 204.25) + 178.5 = 190.05, 239.8


def test_a_patch_is_cyan_above_0_5001_only() -> None:
    evidence = [0.5, 0.5001, 0.50011, 0.9, 0.1]
    assert paper_colours([0.0, 0.0, 0.0, 0.0, 1.0], evidence) == [SLIDE, SLIDE, CYAN, CYAN, WHITE, SLIDE]


def test_a_patch_is_white_from_0_4_of_the_scaled_attention_on() -> None:
    # Least 0.01, largest 0.06: 0.03 is 0.4 of the way (0.029 less), whatever the share of the slide's attention.
    assert paper_colours([0.01, 0.06, 0.029, 0.0301], [0.5] * 4) == [SLIDE, WHITE, SLIDE, WHITE, SLIDE]


def test_white_lies_over_cyan() -> None:
    assert paper_colours([0.9, 0.1], [0.7, 0.7]) == [BOTH, CYAN, SLIDE]


def test_even_attention_stands_out_nowhere() -> None:
    assert paper_colours([0.5, 0.5], [0.5, 0.6]) == [SLIDE, CYAN, SLIDE]
