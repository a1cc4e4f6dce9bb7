"""What every tissue segmenter has to keep; a new file in `tissue/segmenters/` is tested at once."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import blank
from tissue_specs import BARE

from sammil_cli import choices

SPEC = replace(BARE, segmenter="any")
NAMES = choices.names(choices.SEGMENTERS)


def blob() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A stained piece top left and a small one bottom right, and where they are."""
    where = np.zeros((90, 140), bool)
    where[10:50, 15:75] = True
    where[65:80, 110:130] = True
    rgb = blank(140, 90)
    rgb[where] = (200, 110, 170)
    return rgb, where


def foreground(
    name: str, rgb: NDArray[np.uint8], median_px: int, excluded: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    nothing = np.zeros(rgb.shape[:2], bool)
    segmenter = choices.load(choices.SEGMENTERS, name)
    found: NDArray[np.bool_] = segmenter.foreground(
        rgb, nothing if excluded is None else excluded, SPEC, median_px=median_px
    )
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("median_px", [0, 1])
def test_what_is_stained_is_found_and_glass_is_not(name: str, median_px: int) -> None:
    rgb, where = blob()
    found = foreground(name, rgb, median_px)
    assert (found.dtype, found.shape) == (bool, (90, 140))
    np.testing.assert_array_equal(found, where)


@pytest.mark.parametrize("name", NAMES)
def test_any_width_of_the_median_is_taken_and_specks_go(name: str) -> None:
    rgb, where = blob()
    rgb[20, 100] = (200, 60, 120)
    for median_px in (2, 3, 8, 21):
        found = foreground(name, rgb, median_px)
        assert not found[20, 100]
        assert found[30, 45]
        assert (found != where).mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grey", [128, 200, 243, 255])
def test_glass_is_no_tissue_however_bright(name: str, grey: int) -> None:
    assert not foreground(name, np.full((60, 80, 3), grey, np.uint8), 5).any()


@pytest.mark.parametrize("name", NAMES)
def test_where_all_is_excluded_nothing_is_tissue_and_nothing_breaks(name: str) -> None:
    white = np.full((60, 80, 3), 255, np.uint8)
    assert not foreground(name, white, 5, np.ones((60, 80), bool)).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_left_as_it_is_and_the_answer_is_the_same_again(name: str) -> None:
    rgb, _ = blob()
    kept = rgb.copy()
    one, two = (foreground(name, rgb, 5) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(rgb, kept)
