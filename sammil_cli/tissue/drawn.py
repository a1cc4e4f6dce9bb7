"""A slide that is not here, as far as its tissue is known: grey on white."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import GLASS, RGB
from sammil_cli.tissue.mask import TissueMask

_TISSUE = 205


def draw_tissue(inside: NDArray[np.bool_]) -> RGB:
    """A picture (h, w, 3) of a mask (h, w)."""
    return np.where(inside[..., None], _TISSUE, GLASS).astype(np.uint8).repeat(3, axis=2)


@dataclass(frozen=True, kw_only=True)
class DrawnTissue:
    """Looks like an open slide to what reads one part after the other; shows its tissue only."""

    tissue: TissueMask
    remarks: list[str] = field(default_factory=list)

    @property
    def slide_id(self) -> str:
        """The slide's name."""
        return self.tissue.slide_id

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel; NaN where it is not known."""
        return self.tissue.slide_mpp

    def read_at(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]) -> RGB:
        """The box at `xy` of `side_px0` (width, height) level-0 pixels as an image of `out_px` (width, height)."""
        width, height = out_px
        return draw_tissue(self.tissue.raster(xy, side_px0[0] / width, (height, width)))
