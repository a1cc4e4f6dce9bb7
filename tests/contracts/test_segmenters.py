"""Our own segmenters keep what every tissue segmenter keeps: `sammil_cli.testing.segmenters`."""

import pytest

from sammil_cli import choices
from sammil_cli.testing.segmenters import SegmenterContract

SEGMENTERS = choices.names(choices.SEGMENTERS)


class TestOwnSegmenters(SegmenterContract):
    @pytest.fixture(params=SEGMENTERS)
    def word(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


def test_the_folder_holds_the_segmenters_of_this_release() -> None:
    assert {"saturation", "otsu", "od"} <= set(SEGMENTERS)
