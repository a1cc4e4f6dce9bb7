"""A large slide that is drawn where it is read, from ellipses and rings: no array of its size is ever made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.mask import TissueMask

SIDE_PX = 20_000
MPP = 0.5
GROUND = 230
GREYS = (180, 110, 40)  # one in another, darker and darker


@dataclass(frozen=True, kw_only=True)
class Blob:
    """An ellipse, level-0 pixels; with a `hole`, the share of its axes that is left out, a ring."""

    centre: tuple[float, float]
    axes: tuple[float, float]
    angle: float
    grey: int
    hole: float = 0.0


def draw_blobs() -> list[Blob]:
    """About 240: specks, cells in cells, threads over many tiles, rings and fields larger than a tile."""
    rng = np.random.default_rng(11)

    def anywhere(edge: float) -> tuple[float, float]:
        x, y = rng.uniform(edge, SIDE_PX - edge, 2)
        return x, y

    blobs = [
        Blob(centre=(5600, 5200), axes=(3400, 2700), angle=0.5, grey=GREYS[0]),  # larger than a tile of 1024
        Blob(centre=(13_500, 6200), axes=(3300, 3300), angle=0, grey=GREYS[0], hole=0.93),  # a gland: a thin ring
        Blob(centre=(13_500, 6200), axes=(1500, 1100), angle=1, grey=GREYS[0], hole=0.6),
        Blob(centre=(6000, 14_500), axes=(5200, 70), angle=0.35, grey=GREYS[0]),  # threads
        Blob(centre=(15_000, 14_000), axes=(60, 4800), angle=0.1, grey=GREYS[0]),
        Blob(centre=(10_000, 18_200), axes=(9000, 90), angle=-0.02, grey=GREYS[0]),
    ]
    for _ in range(60):  # a cell, its nucleus, and every other time a nucleolus
        centre, size = anywhere(900), rng.uniform(100, 700)
        angle, flat = rng.uniform(0, 3), rng.uniform(0.5, 1)
        for depth in range(int(rng.integers(2, 4))):
            shrunk = size * 0.55**depth
            blobs.append(Blob(centre=centre, axes=(shrunk, shrunk * flat), angle=angle, grey=GREYS[depth]))
    for _ in range(90):
        size = rng.uniform(20, 120)
        blobs.append(Blob(centre=anywhere(200), axes=(size, size * rng.uniform(0.6, 1)), angle=0, grey=GREYS[0]))
    return blobs


@dataclass
class DrawnReader:
    """See `slides.slide.Reader`; keeps what was read."""

    blobs: Sequence[Blob]
    size_px: tuple[int, int] = (SIDE_PX, SIDE_PX)
    bounds_px: tuple[int, int, int, int] = (0, 0, SIDE_PX, SIDE_PX)
    mpp: tuple[float, float] | None = (MPP, MPP)
    mpp_source: str = "drawn"
    downsamples: Sequence[float] = (1.0, 4.0)
    kind: str = "drawn"
    tiles_px: Sequence[tuple[int, int]] = ((256, 256), (256, 256))
    objective: float | None = None
    remarks: Sequence[str] = ()
    reads: list[tuple[tuple[int, int], int, tuple[int, int]]] = field(default_factory=list)

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        self.reads.append((xy, level, size_px))
        return np.repeat(paint(self.blobs, xy, self.downsamples[level], size_px)[..., None], 3, axis=2)

    def close(self) -> None:
        pass


def paint(blobs: Sequence[Blob], xy: tuple[int, int], downsample: float, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """The grey of each pixel's centre; where blobs overlap, the darkest."""
    width, height = size_px
    image = np.full((height, width), GROUND, np.uint8)
    centres = (np.array([blob.centre for blob in blobs]) - xy) / downsample
    reach = np.array([max(blob.axes) for blob in blobs])[:, None] / downsample + 1
    lows, highs = (np.clip(centres + side, 0, size_px).astype(int) for side in (-reach, reach + 1))
    for index in np.flatnonzero((highs > lows).all(1)):
        blob, centre, low, high = blobs[index], centres[index], lows[index], highs[index]
        y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
        x, y = ((x + 0.5 - centre[0]) * downsample, (y + 0.5 - centre[1]) * downsample)
        cos, sin = np.cos(blob.angle), np.sin(blob.angle)
        distance = ((x * cos + y * sin) / blob.axes[0]) ** 2 + ((y * cos - x * sin) / blob.axes[1]) ** 2
        part = image[low[1] : high[1], low[0] : high[0]]
        part[(distance <= 1) & (distance >= blob.hole**2) & (part > blob.grey)] = blob.grey
    return image


def drawn_slide(blobs: Sequence[Blob]) -> tuple[Slide, DrawnReader]:
    """The slide, open."""
    reader = DrawnReader(blobs)
    slide = Slide(slide_id="drawn", path=Path("drawn.tif"), reader=reader, mpp=MPP, mpp_source="drawn")
    return slide, reader


def tissue_of(slide: Slide, *boxes: tuple[int, int, int, int]) -> TissueMask:
    """Tissue in boxes left, top, right, bottom; all of the slide where none is given."""
    return TissueMask(
        slide_id=slide.slide_id,
        polygons=shapely.MultiPolygon([shapely.box(*box) for box in boxes or [(0, 0, *slide.size_px)]]),
        slide_mpp=slide.mpp,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
    )


class Shades:
    """Proposes each connected piece that is as dark as one of GREYS: nested masks, and what the picture cuts."""

    partition = False
    weights_sha256: str | None = None

    def propose(self, view: View) -> list[Proposal]:
        return [Proposal(mask=mask, predicted_iou=0.9) for mask in pieces_of(view.image[..., 0])]


def pieces_of(image: NDArray[np.uint8]) -> list[RegionMask]:
    """The connected pieces of each shade."""
    found = []
    for grey in GREYS:
        dark = image < grey + 20
        if not dark.any():
            continue
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
        for label in range(1, count):
            x, y, width, height, _ = boxes[label].tolist()
            found.append(RegionMask.of(labels[y : y + height, x : x + width] == label, (x, y)))
    return found
