"""The scanned area: what lies outside of it is white, and an area beyond the file is cut."""

import numpy as np
import pytest
from slide_maker import array_slide

from sammil_cli.slides import slide as slide_module
from sammil_cli.slides.slide import Slide

BLACK = np.zeros((60, 80, 3), np.uint8)  # a file that is black outside of its scanned area, too


@pytest.fixture
def bounded() -> Slide:
    return array_slide(BLACK, bounds_px=(20, 10, 40, 30))  # x 20..60, y 10..40


def test_reads_outside_of_the_scanned_area_are_white(bounded: Slide) -> None:
    for corner in ((0, 0), (60, 0), (0, 40), (500, 500), (-50, 20)):
        assert (bounded.read_at(corner, (20, 10), (20, 10)) == 255).all()
    assert (bounded.read_at((20, 10), (40, 30), (40, 30)) == 0).all()


def test_a_read_across_the_border_shows_the_scanned_part(bounded: Slide) -> None:
    image = bounded.read_at((10, 30), (30, 20), (30, 20))
    expected = np.full((20, 30, 3), 255, np.uint8)
    expected[:10, 10:] = 0  # x 20..40, y 30..40
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("at_once", [16_000_000, 100])
def test_the_thumbnail_is_white_around_the_scanned_area(
    bounded: Slide, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(slide_module, "_MOST_AT_ONCE_PX", at_once)
    expected = np.full((30, 40, 3), 255, np.uint8)
    expected[5:20, 10:30] = 0
    np.testing.assert_array_equal(bounded.thumbnail(2.0), expected)


@pytest.mark.parametrize(
    ("stated", "inside"),
    [
        ((-10, -5, 40, 30), (0, 0, 30, 25)),
        ((50, 40, 100, 100), (50, 40, 30, 20)),
        ((0, 0, 80, 60), (0, 0, 80, 60)),
        ((200, 10, 5, 5), (0, 0, 80, 60)),  # nonsense: the whole file counts
        ((10, 10, 0, 20), (0, 0, 80, 60)),
    ],
)
def test_an_area_beyond_the_file_is_cut(stated: tuple[int, int, int, int], inside: tuple[int, int, int, int]) -> None:
    opened = array_slide(BLACK, bounds_px=stated)
    assert opened.bounds_px == inside
    x, y, width, height = inside
    assert (opened.read_at((x, y), (width, height), (width, height)) == 0).all()
