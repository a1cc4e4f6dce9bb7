"""From a slide to its tissue mask."""

from dataclasses import dataclass

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.slide import RGB, Slide
from sammil_cli.tissue.mask import TissueMask, clean


@dataclass(frozen=True, kw_only=True)
class TissueSpec:
    """How tissue is found. Lengths in µm and areas in µm², so that they mean the same on every slide."""

    segmenter: str
    mpp: float  # resolution of the thumbnail that is segmented
    threshold: int  # saturation, 0-255
    median_um: float
    close_um: float
    min_area_um2: float
    min_hole_um2: float
    max_holes: int


_MOST_PX = 16384  # side of the largest thumbnail: bounds memory on slides whose mpp is far below the spec's


def segment(slide: Slide, spec: TissueSpec) -> tuple[TissueMask, RGB]:
    """Finds tissue on a thumbnail; returns the mask and the thumbnail (h, w, 3).

    Raises:
        SlideError: `E_NO_TISSUE`, nothing is left after the filters.
    """
    width, height = slide.size_px
    mpp = max(spec.mpp, slide.mpp * max(width, height) / _MOST_PX)
    thumbnail = slide.thumbnail(mpp)
    shown_mpp = slide.mpp * width / thumbnail.shape[1]
    module = choices.load(choices.SEGMENTERS, spec.segmenter)
    foreground = module.foreground(thumbnail, median_px=_pixels(spec.median_um, shown_mpp), threshold=spec.threshold)
    polygons = clean(
        foreground,
        scale_px0=(width / thumbnail.shape[1], height / thumbnail.shape[0]),
        mpp=slide.mpp,
        close_px=_pixels(spec.close_um, shown_mpp),
        min_area_um2=spec.min_area_um2,
        min_hole_um2=spec.min_hole_um2,
        max_holes=spec.max_holes,
    )
    if polygons.is_empty:
        share = foreground.mean()
        raise SlideError(
            "E_NO_TISSUE",
            f"no tissue found: {share:.1%} of the slide passes the {spec.segmenter} segmenter, "
            f"no piece is as large as {spec.min_area_um2:g} µm²",
            remedy="look at the slide; for faint stains lower tissue_threshold or use segmenter: otsu",
        )
    mask = TissueMask(
        slide_id=slide.slide_id,
        polygons=polygons,
        slide_mpp=slide.mpp,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
    )
    return mask, thumbnail


def _pixels(length_um: float, mpp: float) -> int:
    return round(length_um / mpp)
