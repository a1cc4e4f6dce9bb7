"""Settings of tissue finding that tests share (`dataclasses.replace` makes others of them), and finding in one go."""

from dataclasses import replace

from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.segment import find_tissue, look
from sammil_cli.tissue.spec import TissueSpec

# The mask as the segmenter gives it: nothing smoothed, closed or dropped.
BARE = TissueSpec(
    segmenter="saturation",
    mpp=8.0,
    threshold=8,
    od_threshold=0.06,
    without_pen=True,
    without_borders=True,
    median_um=0.0,
    close_um=0.0,
    min_area_um2=0.0,
    min_hole_um2=0.0,
    max_holes=8,
)
# As on real slides.
CLEANED = replace(BARE, median_um=60.0, close_um=30.0, min_area_um2=250_000.0, min_hole_um2=60_000.0)


def segment(slide: Slide, spec: TissueSpec) -> tuple[TissueMask, RGB]:
    """The mask, and the thumbnail that it was found on."""
    picture = look(slide, spec.mpp)
    return find_tissue(picture, spec), picture.thumbnail
