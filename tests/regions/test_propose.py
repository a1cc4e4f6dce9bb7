"""Regions are proposed on the paper's canvas over the tissue."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from slide_maker import GLASS, PINK, array_slide, draw_asymmetric

from sammil_cli.regions.propose import propose_regions
from sammil_cli.regions.region_map import Proposal
from sammil_cli.tissue.mask import TissueMask


class Echo:
    """Proposes the tissue itself and keeps what it was shown."""

    weights_sha256 = None

    def __init__(self) -> None:
        self.shown: list[Sequence[NDArray[np.generic]]] = []

    def propose(self, image: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> list[Proposal]:
        self.shown.append((image, tissue))
        return [Proposal(mask=tissue)]


def test_the_proposer_sees_the_tissues_box_at_the_canvas_scale() -> None:
    slide = array_slide(draw_asymmetric(), mpp=2.0)
    large = shapely.box(40, 40, 320, 260).difference(shapely.box(120, 100, 200, 160))
    tissue = TissueMask(
        slide_id="array",
        polygons=shapely.MultiPolygon([large]),
        slide_mpp=2.0,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
    )
    echo = Echo()
    regions, image = propose_regions(slide, tissue, echo, 100)
    # The box is 280 x 220: a quarter of it, 70 x 55, is the first with no side above 100.
    assert regions.canvas.origin_px == (40, 40)
    assert (regions.canvas.downsample, regions.canvas.mpp, regions.canvas.size_px) == (4.0, 8.0, (70, 55))
    assert image.shape == (55, 70, 3)
    expected = np.ones((55, 70), bool)
    expected[15:30, 20:40] = False
    np.testing.assert_array_equal(echo.shown[0][0], image)
    np.testing.assert_array_equal(echo.shown[0][1], expected)
    np.testing.assert_array_equal(regions.mask(0), expected)
    assert (image[expected] == PINK).all()
    assert (image[~expected] == GLASS).all()
