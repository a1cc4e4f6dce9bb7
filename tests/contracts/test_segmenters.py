"""What every tissue segmenter has to keep; a new file in `tissue/segmenters/` is tested at once."""

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import blank

from sammil_cli import choices

NAMES = choices.names(choices.SEGMENTERS)


def blob() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A stained piece top left and a small one bottom right, and where they are."""
    where = np.zeros((90, 140), bool)
    where[10:50, 15:75] = True
    where[65:80, 110:130] = True
    rgb = blank(140, 90)
    rgb[where] = (200, 110, 170)
    return rgb, where


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("median_px", [0, 1])
def test_what_is_stained_is_found_and_glass_is_not(name: str, median_px: int) -> None:
    rgb, where = blob()
    found = choices.load(choices.SEGMENTERS, name).foreground(rgb, median_px=median_px, threshold=8)
    assert (found.dtype, found.shape) == (bool, (90, 140))
    np.testing.assert_array_equal(found, where)


@pytest.mark.parametrize("name", NAMES)
def test_any_width_of_the_median_is_taken_and_specks_go(name: str) -> None:
    rgb, where = blob()
    rgb[20, 100] = (200, 60, 120)
    for median_px in (2, 3, 8, 21):
        found = choices.load(choices.SEGMENTERS, name).foreground(rgb, median_px=median_px, threshold=8)
        assert not found[20, 100]
        assert found[30, 45]
        assert (found != where).mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grey", [0, 128, 243, 255])
def test_what_has_no_colour_is_no_tissue(name: str, grey: int) -> None:
    rgb = np.full((60, 80, 3), grey, np.uint8)
    assert not choices.load(choices.SEGMENTERS, name).foreground(rgb, median_px=5, threshold=8).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_left_as_it_is_and_the_answer_is_the_same_again(name: str) -> None:
    rgb, _ = blob()
    kept = rgb.copy()
    segmenter = choices.load(choices.SEGMENTERS, name)
    one, two = (segmenter.foreground(rgb, median_px=5, threshold=8) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(rgb, kept)
