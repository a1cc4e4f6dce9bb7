"""From a slide to its tissue mask."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB, Box
from sammil_cli.slides.shrink import shrink_whole
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.artefacts import border_mask
from sammil_cli.tissue.mask import TissueMask, clean
from sammil_cli.tissue.pen import pen_mask
from sammil_cli.tissue.spec import TissueSpec

_MOST_PX = 16_384  # side and
_MOST_AREA_PX = 48_000_000  # area of the largest thumbnail: bounds memory where mpp is far below the spec's
_PIECE_UM2 = 1000.0  # a few cells; anything smaller is noise


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A slide's thumbnail (h, w, 3), and what on it is known to be no tissue."""

    slide_id: str
    thumbnail: RGB
    pen: NDArray[np.bool_]  # (h, w)
    borders: NDArray[np.bool_]  # (h, w)
    slide_mpp: float
    slide_size_px: tuple[int, int]  # level-0 width, height
    bounds_px: Box
    scene: int | None = None  # of the slide file, where that holds several

    @property
    def mpp(self) -> float:
        """µm per pixel of the thumbnail."""
        return self.slide_mpp * self.scale_px0[0]

    @property
    def scale_px0(self) -> tuple[float, float]:
        """Level-0 pixels per thumbnail pixel in x and y."""
        height, width = self.thumbnail.shape[:2]
        return (self.slide_size_px[0] / width, self.slide_size_px[1] / height)

    def shrunk(self, side_px: int) -> "Picture":
        """The same with a thumbnail whose longest side is about `side_px`, or as it is where that is shorter."""
        factor = max(self.thumbnail.shape[:2]) // side_px
        if factor < 2:
            return self
        height, width = (side // factor * factor for side in self.thumbnail.shape[:2])
        step = np.s_[factor // 2 : height : factor, factor // 2 : width : factor]
        cut = (self.scale_px0[0] * width, self.scale_px0[1] * height)
        return replace(
            self,
            thumbnail=shrink_whole(self.thumbnail, factor),
            pen=self.pen[step],
            borders=self.borders[step],
            slide_size_px=(round(cut[0]), round(cut[1])),
        )

    def mask_of(self, polygons: MultiPolygon) -> TissueMask:
        """The tissue mask with these polygons, level-0 pixels."""
        return TissueMask(
            slide_id=self.slide_id,
            polygons=polygons,
            slide_mpp=self.slide_mpp,
            slide_size_px=self.slide_size_px,
            bounds_px=self.bounds_px,
            scene=self.scene,
        )


def look(slide: Slide, mpp: float) -> Picture:
    """Reads the whole slide at about `mpp` µm per pixel.

    Raises:
        SlideError: `E_READ`, the pixels cannot be decoded.
    """
    width, height = slide.size_px
    coarser = max(max(width, height) / _MOST_PX, math.sqrt(width * height / _MOST_AREA_PX))
    thumbnail = slide.thumbnail(max(mpp, slide.mpp * coarser))
    return Picture(
        slide_id=slide.slide_id,
        thumbnail=thumbnail,
        pen=pen_mask(thumbnail, slide.mpp * width / thumbnail.shape[1]),
        borders=border_mask(thumbnail),
        slide_mpp=slide.mpp,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
        scene=slide.scene,
    )


def find_tissue(picture: Picture, spec: TissueSpec) -> TissueMask:
    """Finds tissue on a picture of a slide.

    A segmenter has `foreground(rgb, excluded, spec, *, median_px) -> mask`: rgb (h, w, 3) with what is excluded
    painted white, excluded and mask (h, w), the width of the median filter in pixels.

    Raises:
        SlideError: `E_NO_TISSUE`, nothing is left after the filters; the message has the share left at each step.
    """
    excluded = np.zeros(picture.thumbnail.shape[:2], np.bool_)
    if spec.without_pen:
        excluded |= picture.pen
    if spec.without_borders:
        excluded |= picture.borders
    rgb = picture.thumbnail
    if excluded.any():  # white, so that no filter spreads it over its surroundings
        rgb = rgb.copy()
        rgb[excluded] = 255
    module = choices.load(choices.SEGMENTERS, spec.segmenter)
    found = module.foreground(rgb, excluded, spec, median_px=round(spec.median_um / picture.mpp)) & ~excluded

    def cleaned(min_area_um2: float) -> MultiPolygon:
        return clean(
            found,
            excluded=excluded,
            scale_px0=picture.scale_px0,
            mpp=picture.slide_mpp,
            close_px=round(spec.close_um / picture.mpp),
            min_area_um2=min_area_um2,
            min_hole_um2=spec.min_hole_um2,
            max_holes=spec.max_holes,
        )

    polygons = cleaned(spec.min_area_um2)
    if polygons.is_empty:
        largest = max((piece.area for piece in cleaned(0.0).geoms), default=0.0) * picture.slide_mpp**2
        left_out = f" ({excluded.mean():.1%} is pen or black border)" if excluded.any() else ""
        small = f"if they are tissue, set tissue_min_area_um2 below {largest:.0f}"
        faint = "for faint stains lower tissue_threshold or use segmenter: od"
        raise SlideError(
            "E_NO_TISSUE",
            f"no tissue found: {found.mean():.1%} of the slide passes the {spec.segmenter} segmenter{left_out}, "
            f"no piece is as large as {spec.min_area_um2:g} µm² (the largest has {largest:.0f})",
            remedy=f"sammil segment --tune --only {picture.slide_id} draws it under many settings; "
            + (small if largest > _PIECE_UM2 else faint),
        )
    return picture.mask_of(polygons)
