"""From a slide and its tissue to its regions."""

from dataclasses import dataclass, replace
from itertools import chain
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli.errors import SlideError
from sammil_cli.regions.annotations import read_annotations
from sammil_cli.regions.merge import merge_tiles
from sammil_cli.regions.overview import Overview
from sammil_cli.regions.placed_patches import PlacedPatches
from sammil_cli.regions.region_map import OVERVIEW_PX, Canvas, Proposal, RegionMap, build, canvas_at, paper_canvas
from sammil_cli.regions.tiles import Tile, lay_tiles
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.mask import TissueMask

PIXELS, DRAWINGS, FEATURES = "pixels", "drawings", "features"  # what a proposer SEES


def seen_by(proposer: ModuleType) -> str:
    """What a proposer looks at: PIXELS of the slide where it does not say, else its SEES."""
    return str(getattr(proposer, "SEES", PIXELS))


class Pictured(Protocol):
    """A slide as it is seen: an open one, or what is drawn of one that is not here."""

    @property
    def slide_id(self) -> str:
        """Its name."""
        ...

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel; NaN where it is not known."""
        ...

    @property
    def remarks(self) -> list[str]:
        """Grows with what is found."""
        ...

    def read_at(self, xy: tuple[int, int], side_px0: tuple[int, int], out_px: tuple[int, int]) -> RGB:
        """A part of it, see `slides.slide.Slide.read_at`."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """A picture of a part of a slide, as a proposer sees it.

    `image` (h, w, 3); `tissue` (h, w); `origin_px`: level-0 position x, y of the picture's top left corner;
    `downsample`: level-0 pixels per pixel of the picture; `drawn`: what a person drew on the slide, level-0 pixels,
    for a proposer that has INPUTS.
    `around` (s, s, 3), for a proposer that is `wider`, with s the longest side of `image`: twice the field of the
    square of s pixels at the top left of `image`, around the same middle, at half the resolution, white outside of the
    scan. A point p of `image`, counted from its corner, is at p / 2 + s / 4.
    `patches`, for a proposer that SEES `features`: the patches of a bag; `image` then shows their features, in colours.
    """

    slide_id: str
    image: RGB
    tissue: NDArray[np.bool_]
    origin_px: tuple[float, float]
    downsample: float
    drawn: tuple[MultiPolygon, ...] = ()
    around: RGB | None = None
    patches: PlacedPatches | None = None


class Proposer(Protocol):
    """What a file in `regions/proposers/` gives, by `make(settings, device)`; it names its settings in SETTINGS.

    SEES says what it looks at: `pixels` of the slide (where it does not say), `drawings` (of the user's, see INPUTS,
    and no pixel), or `features` of a bag's patches.
    `partition`: whether its regions tile the tissue; they stay so where tiles of a large canvas meet.
    `wider`, where it has it and it is true: views show what lies around them, `View.around`.
    """

    weights_sha256: str | None
    partition: bool

    def propose(self, view: View) -> list[Proposal]:
        """The regions that it sees, in pixels of the view's picture."""
        ...


def propose_regions(
    slide: Pictured,
    tissue: TissueMask,
    proposer: Proposer,
    *,
    canvas_px: int,
    mpp: float | None = None,
    overlap: float = 0.25,
    drawing: DrawingPath | None = None,
) -> tuple[RegionMap, RGB]:
    """Lays a canvas over the tissue and lets the proposer see it.

    Args:
        canvas_px: longest side of a picture that the proposer sees.
        mpp: µm per canvas pixel. The canvas is seen in overlapping tiles, each read by itself, and the regions of the
            tiles are merged (see `regions.merge`); tiles without tissue are neither read nor seen. None = the paper's
            canvas, small enough to be seen at once.
        overlap: share of a tile's side that its neighbour sees, too.
        drawing: the slide's file of annotations, for a proposer that has INPUTS.

    Returns:
        Regions, in the proposer's order, or largest first where tiles were merged; and the canvas as a picture,
        shrunk by `Canvas.step_to(OVERVIEW_PX)`, white where nothing was read.

    Raises:
        SlideError: `E_EDIT` or `E_ANNOTATION`, see `regions.annotations`; `E_COARSE`, see `lay_views`.
    """
    drawn, notices = read_annotations(drawing, tissue) if drawing else ((), [])
    slide.remarks.extend(notices)
    canvas, tiles = lay_views(tissue, slide.mpp, canvas_px=canvas_px, mpp=mpp, overlap=overlap)
    overview = Overview(canvas.size_px, canvas.step_to(OVERVIEW_PX))
    seen, found = [], []
    for tile in tiles:
        if view := _look(slide, tissue, canvas, tile, drawn):
            if getattr(proposer, "wider", False):
                view = replace(view, around=_around(slide, view))
            x, y = tile.window[:2]
            overview.add(tile, view.image)
            seen.append(tile)
            found.append([replace(p, mask=p.mask.moved(x, y)) for p in proposer.propose(view)])
    if mpp is None:
        regions = list(chain.from_iterable(found))
    else:
        regions = merge_tiles(seen, found, size_px=canvas.size_px, partition=proposer.partition)
    keys = {one.key for one in regions} - {None}
    if keys and len(keys) < len(drawn):
        slide.remarks.append(
            f"annotations: {len(drawn) - len(keys)} of {len(drawn)} cover no pixel of {canvas.mpp:.3g} µm and are no "
            "regions; set sam_mpp, or a smaller one"
        )
    return build(slide.slide_id, canvas, regions), overview.picture()


def lay_views(
    tissue: TissueMask, slide_mpp: float, *, canvas_px: int, mpp: float | None, overlap: float
) -> tuple[Canvas, list[Tile]]:
    """The canvas of a slide and the tiles in which it is seen, those without tissue, too; see `propose_regions`.

    Raises:
        SlideError: `E_COARSE`, the slide is coarser than `mpp` by more than 1 %: pixels are never made up.
    """
    if mpp is None:
        canvas = paper_canvas(tissue.box_px, slide_mpp, canvas_px)
        return canvas, lay_tiles(canvas.size_px, max(canvas.size_px), 0)
    if slide_mpp > mpp * 1.01:
        raise SlideError(
            "E_COARSE",
            f"the slide has {slide_mpp:g} µm per pixel, coarser than sam_mpp {mpp:g}",
            remedy="use a sam_mpp that all slides reach, or null for the paper's canvas",
        )
    canvas = canvas_at(tissue.box_px, slide_mpp, mpp)
    return canvas, lay_tiles(canvas.size_px, canvas_px, overlap)


def _look(
    slide: Pictured, tissue: TissueMask, canvas: Canvas, tile: Tile, drawn: tuple[MultiPolygon, ...]
) -> View | None:
    """What a tile shows; None where it holds no tissue."""
    x, y, width, height = tile.window
    place = (canvas.origin_px[0] + x * canvas.downsample, canvas.origin_px[1] + y * canvas.downsample)
    inside = tissue.raster(place, canvas.downsample, (height, width))
    if not inside.any():
        return None
    corner = (round(place[0]), round(place[1]))
    side = (round(width * canvas.downsample), round(height * canvas.downsample))
    image = slide.read_at(corner, side, (width, height))
    return View(
        slide_id=slide.slide_id, image=image, tissue=inside, origin_px=place, downsample=canvas.downsample, drawn=drawn
    )


def _around(slide: Pictured, view: View) -> RGB:
    """`View.around`, in whole level-0 pixels: its middle is the view's to half of one."""
    side = max(view.tissue.shape)
    half = round(side * view.downsample / 2)
    x, y = (round(at) for at in view.origin_px)
    return slide.read_at((x - half, y - half), (4 * half, 4 * half), (side, side))
