"""From a slide to its tissue mask."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB, Box, is_grey
from sammil_cli.slides.shrink import shrink_whole
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.artefacts import border_mask
from sammil_cli.tissue.mask import TissueMask, clean
from sammil_cli.tissue.pen import pen_mask
from sammil_cli.tissue.spec import TissueSpec, setting_key

_MOST_PX = 16_384  # side and
_MOST_AREA_PX = 48_000_000  # area of the largest thumbnail: bounds memory where mpp is far below the spec's
_PIECE_UM2 = 1000.0  # a few cells; anything smaller is noise
_MOSTLY = 0.5  # of the slide: no border is that broad
_MUCH_PEN = 0.05  # of the slide: strokes are less
_TRIED_PX = 1024  # longest side of the picture on which other settings are tried
_MOST_SHARE = 0.9  # of the slide: more is glass taken for tissue


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A slide's thumbnail (h, w, 3), and what on it is known to be no tissue.

    `grey`: there is no colour on it; its three channels are the same then.
    """

    slide_id: str
    thumbnail: RGB
    pen: NDArray[np.bool_]  # (h, w)
    borders: NDArray[np.bool_]  # (h, w)
    slide_mpp: float
    slide_size_px: tuple[int, int]  # level-0 width, height
    bounds_px: Box
    grey: bool = False
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
    grey = is_grey(thumbnail)
    if grey:  # what compression makes of it is no colour
        thumbnail = np.repeat(thumbnail[..., 1:2], 3, axis=2)
    return Picture(
        slide_id=slide.slide_id,
        thumbnail=thumbnail,
        pen=pen_mask(thumbnail, slide.mpp * width / thumbnail.shape[1]),
        borders=border_mask(thumbnail),
        slide_mpp=slide.mpp,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
        grey=grey,
        scene=slide.scene,
    )


def find_tissue(picture: Picture, spec: TissueSpec) -> TissueMask:
    """Finds tissue on a picture of a slide.

    A segmenter has `foreground(rgb, excluded, spec, *, median_px) -> mask`: rgb (h, w, 3) with what is excluded
    painted white, excluded and mask (h, w), the width of the median filter in pixels.

    Raises:
        SlideError: `E_NO_TISSUE`, nothing is left after the filters; the message has the share left at each step, the
            remedy names a setting that finds some, where there is one.
    """
    found, excluded = _foreground(picture, spec)
    polygons = _cleaned(picture, spec, found, excluded)
    if polygons.is_empty:
        largest = max(
            (piece.area for piece in _cleaned(picture, replace(spec, min_area_um2=0.0), found, excluded).geoms),
            default=0.0,
        )
        largest *= picture.slide_mpp**2
        grey = " of a slide without colour" if picture.grey else " of the slide"
        left_out = f" ({excluded.mean():.1%} is pen or black border)" if excluded.any() else ""
        raise SlideError(
            "E_NO_TISSUE",
            f"no tissue found: {found.mean():.1%}{grey} passes the {spec.segmenter} segmenter{left_out}, "
            f"no piece is as large as {spec.min_area_um2:g} µm² (the largest has {largest:.0f})",
            remedy=f"{_advice(picture, spec, largest)}; "
            f"sammil segment --tune --only {picture.slide_id} draws it under many settings",
        )
    return picture.mask_of(polygons)


def _foreground(picture: Picture, spec: TissueSpec) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What the segmenter takes for tissue, and what was excluded beforehand: both (h, w)."""
    wanted = ((spec.without_pen, picture.pen), (spec.without_borders, picture.borders))
    masks = [mask for without, mask in wanted if without and mask.any()]
    excluded = masks[0] if len(masks) == 1 else np.zeros(picture.thumbnail.shape[:2], np.bool_)
    for mask in masks if len(masks) > 1 else ():
        excluded |= mask
    module = choices.load(choices.SEGMENTERS, spec.segmenter)
    with _painted_white(picture.thumbnail, excluded) as rgb:  # so that no filter spreads it over its surroundings
        found = module.foreground(rgb, excluded, spec, median_px=round(spec.median_um / picture.mpp))
    found = np.array(found, np.bool_)
    found[excluded] = False
    return found, excluded


@contextmanager
def _painted_white(rgb: RGB, where: NDArray[np.bool_]) -> Iterator[RGB]:
    """A picture painted white in places for a while: a copy of it would be the largest thing in memory."""
    places = np.nonzero(where)
    under = rgb[places]
    rgb[places] = 255
    try:
        yield rgb
    finally:
        rgb[places] = under


def _cleaned(picture: Picture, spec: TissueSpec, found: NDArray[np.bool_], excluded: NDArray[np.bool_]) -> MultiPolygon:
    return clean(
        found,
        excluded=excluded,
        scale_px0=picture.scale_px0,
        mpp=picture.slide_mpp,
        close_px=round(spec.close_um / picture.mpp),
        min_area_um2=spec.min_area_um2,
        min_hole_um2=spec.min_hole_um2,
        max_holes=spec.max_holes,
    )


def _advice(picture: Picture, spec: TissueSpec, largest_um2: float) -> str:
    """What to do about a slide on which `spec` finds no tissue, its largest piece having `largest_um2`.

    Other settings are tried on the picture: one is named that is not set already, and finds tissue.
    """
    if largest_um2 > _PIECE_UM2:
        return f"if they are tissue, set tissue_min_area_um2 below {largest_um2:.0f}"
    if spec.without_borders and picture.borders.mean() > _MOSTLY:
        return "most of it is black: if it is fluorescence or dark field, take it out, for sammil reads brightfield"
    if spec.without_pen and picture.pen.mean() > _MUCH_PEN:
        return "if what was taken for pen is tissue (blue and green stains look like it), set tissue_without_pen: false"
    picture = picture.shrunk(_TRIED_PX)
    area = picture.slide_size_px[0] * picture.slide_size_px[1]
    for other in (other for other in _alternatives(spec) if other != spec):
        share = _cleaned(picture, other, *_foreground(picture, other)).area / area
        if 0 < share < _MOST_SHARE:
            return f"set {_changes(spec, other)}, which finds {share:.1%} tissue"
    return "no other segmenter and no half threshold finds any: if it is not blank, draw its tissue (docs/tissue.md)"


def _alternatives(spec: TissueSpec) -> list[TissueSpec]:
    """Other segmenters under the same settings, then this one with half its threshold, then `od` with half of its."""
    others = [replace(spec, segmenter=name) for name in ("od", "otsu", "saturation") if name != spec.segmenter]
    half_od = replace(spec, segmenter="od", od_threshold=spec.od_threshold / 2)
    if spec.segmenter == "saturation":
        return [*others, replace(spec, threshold=spec.threshold // 2), half_od]
    return [half_od, *others] if spec.segmenter == "od" else [*others, half_od]


def _changes(spec: TissueSpec, other: TissueSpec) -> str:
    """The lines of params.yaml that make one of the other."""
    changed = {name: value for name, value in asdict(other).items() if value != getattr(spec, name)}
    return ", ".join(f"{setting_key(name)}: {value}" for name, value in changed.items())
