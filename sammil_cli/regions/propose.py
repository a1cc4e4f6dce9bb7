"""From a slide and its tissue to its regions."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Proposal, RegionMap, build, paper_canvas
from sammil_cli.slides.slide import RGB, Slide
from sammil_cli.tissue.mask import TissueMask


@dataclass(frozen=True, kw_only=True)
class View:
    """A picture of a part of a slide, as a proposer sees it.

    `image` (h, w, 3); `tissue` (h, w); `origin_px`: level-0 position x, y of the picture's top left corner;
    `downsample`: level-0 pixels per pixel of the picture.
    """

    slide_id: str
    image: RGB
    tissue: NDArray[np.bool_]
    origin_px: tuple[float, float]
    downsample: float


class Proposer(Protocol):
    """What a file in `regions/proposers/` gives, by `make(settings, device)`; it names its settings in SETTINGS."""

    weights_sha256: str | None

    def propose(self, view: View) -> list[Proposal]:
        """The regions that it sees, in pixels of the view's picture."""
        ...


def propose_regions(slide: Slide, tissue: TissueMask, proposer: Proposer, canvas_px: int) -> tuple[RegionMap, RGB]:
    """Lays the paper's canvas over the tissue and lets the proposer see it; returns regions and canvas image."""
    canvas = paper_canvas(tissue.box_px, slide.mpp, canvas_px)
    width, height = canvas.size_px
    side = (round(width * canvas.downsample), round(height * canvas.downsample))
    image = slide.read_at(canvas.origin_px, side, canvas.size_px)
    inside = tissue.raster(canvas.origin_px, canvas.downsample, (height, width))
    x, y = canvas.origin_px
    view = View(slide_id=slide.slide_id, image=image, tissue=inside, origin_px=(x, y), downsample=canvas.downsample)
    return build(slide.slide_id, canvas, proposer.propose(view)), image
