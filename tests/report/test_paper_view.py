"""The panel that shows patches as the paper's Fig. 11 does."""

import numpy as np
import pytest

from sammil_cli.report.paper_view import paper_view
from sammil_cli.report.scales import min_max

SLIDE = [110, 110, 110]  # 0.55 * 200
CYAN = [38, 204, 204]  # 0.35 * 110 + 0.65 * (0, 255, 255) = 38.5, 204.25
WHITE = [212, 212, 212]  # 0.3 * 110 + 0.7 * 255 = 211.5
BOTH = [190, 240, 240]  # 0.3 * (38.5, 204.25) + 178.5 = 190.05, 239.8


def paper_colours(attention: list[float], evidence: list[float]) -> list[list[int]]:
    """The colours of patches in the paper's view of an evenly grey slide, and of the slide beside them."""
    count = len(attention)
    image = np.full((30, 10 * count + 10, 3), 200, np.uint8)
    xy = np.array([[10.0 * i, 5.0] for i in range(count)])
    picture = paper_view(image, xy, 10.0, np.array(attention), np.array(evidence))
    assert (picture[:5] == 110).all()
    assert (picture[15:] == 110).all()
    inside = [picture[5:15, 10 * i : 10 * i + 10].reshape(-1, 3) for i in range(count + 1)]
    assert all((part == part[0]).all() for part in inside)
    return [part[0].tolist() for part in inside]


def test_scaling_by_least_and_largest_by_hand() -> None:
    assert min_max(np.array([0.5, 0.1, 0.26])).tolist() == pytest.approx([1, 0, 0.4])
    assert min_max(np.array([0.25, 0.25])).tolist() == [0, 0]
    assert min_max(np.array([])).tolist() == []


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
