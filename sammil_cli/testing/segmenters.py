"""What every tissue segmenter keeps, whatever file it comes from."""

from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli import choices
from sammil_cli.config import SegmentSettings
from sammil_cli.jobs.segment import spec_of
from sammil_cli.slides.pixels import RGB
from sammil_cli.testing.drawn import GLASS
from sammil_cli.tissue.spec import TissueSpec

Mask = NDArray[np.bool_]


def _stained() -> tuple[RGB, Mask]:
    """A stained piece top left and a small one bottom right, and where they are."""
    where, rgb = np.zeros((90, 140), bool), np.full((90, 140, 3), GLASS, np.uint8)
    where[10:50, 15:75] = where[65:80, 110:130] = True
    rgb[where] = (200, 110, 170)
    return rgb, where


class SegmenterContract:
    """The tests of a tissue segmenter. A subclass has the fixture `word`: what the user types."""

    def found(self, word: str, rgb: RGB, median_px: int, excluded: bool = False) -> Mask:
        """The mask at the default thresholds; `excluded`: all of the picture is."""
        segmenter, out = choices.load(choices.SEGMENTERS, word), np.full(rgb.shape[:2], excluded)
        found: Mask = segmenter.foreground(rgb, out, spec_of(SegmentSettings(segmenter=word)), median_px=median_px)
        return found

    @pytest.mark.parametrize("median_px", [0, 1])
    def test_what_is_stained_is_found_and_glass_is_not(self, word: str, median_px: int) -> None:
        rgb, where = _stained()
        found = self.found(word, rgb, median_px)
        assert found.dtype == np.dtype(bool)
        np.testing.assert_array_equal(found, where)
        settings = choices.load(choices.SEGMENTERS, word).SETTINGS
        assert set(settings) <= {field.name for field in fields(TissueSpec)}

    @pytest.mark.parametrize("median_px", [2, 3, 5, 8, 21])
    def test_any_width_of_the_median_is_taken_and_specks_go(self, word: str, median_px: int) -> None:
        rgb, where = _stained()
        rgb[20, 100] = (200, 60, 120)
        kept, found = rgb.copy(), self.found(word, rgb, median_px)
        assert (found[20, 100], found[30, 45]) == (False, True)
        assert (found != where).mean() < 0.05
        np.testing.assert_array_equal(self.found(word, rgb, median_px), found)
        np.testing.assert_array_equal(rgb, kept)

    @pytest.mark.parametrize("grey", [128, 200, 243, 255])
    def test_glass_is_no_tissue_however_bright_nor_where_all_is_excluded(self, word: str, grey: int) -> None:
        picture = np.full((60, 80, 3), grey, np.uint8)
        assert not self.found(word, picture, 5).any()
        assert not self.found(word, picture, 5, excluded=True).any()
