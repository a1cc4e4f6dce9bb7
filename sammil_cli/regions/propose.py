"""From a slide and its tissue to its regions."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Proposal, RegionMap, build, paper_canvas
from sammil_cli.slides.slide import RGB, Slide
from sammil_cli.tissue.mask import TissueMask


class Proposer(Protocol):
    """What a file in `regions/proposers/` gives, by `make(settings, device)`; it names its settings in SETTINGS."""

    weights_sha256: str | None

    def propose(self, image: RGB, tissue: NDArray[np.bool_]) -> list[Proposal]:
        """Canvas image (h, w, 3) and tissue (h, w) -> regions."""
        ...


def propose_regions(slide: Slide, tissue: TissueMask, proposer: Proposer, canvas_px: int) -> tuple[RegionMap, RGB]:
    """Lays the paper's canvas over the tissue and lets the proposer see it; returns regions and canvas image."""
    canvas = paper_canvas(tissue.box_px, slide.mpp, canvas_px)
    width, height = canvas.size_px
    side = (round(width * canvas.downsample), round(height * canvas.downsample))
    image = slide.read_at(canvas.origin_px, side, canvas.size_px)
    inside = tissue.raster(canvas.origin_px, canvas.downsample, (height, width))
    return build(slide.slide_id, canvas, proposer.propose(image, inside)), image
