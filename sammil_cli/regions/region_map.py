"""Regions: the segments that SAM, or another proposer, sees on a canvas laid over the tissue."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_mask import Box, RegionMask, middles

PAPER_CANVAS_PX = 1024
OVERVIEW_PX = 2048  # no side of a picture of a whole canvas is longer


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A small picture of a part of the slide, on which regions are drawn.

    `origin_px`: level-0 position (x, y) of its top left corner; `downsample`: level-0 pixels per canvas pixel;
    `size_px`: width, height; `mpp`: µm per canvas pixel, NaN where a bag's slide is not here and nobody knows.
    """

    origin_px: tuple[int, int]
    downsample: float
    size_px: tuple[int, int]
    mpp: float

    @property
    def paper_downsample(self) -> int:
        """The downsample that `paper_canvas` gives the same box at 1024 px, whatever this canvas was made for.

        The sides were rounded up to whole canvas pixels, which changes nothing: 1024 r is a multiple of `downsample`
        (both are powers of two), so a box fits in 1024 r pixels if and only if its rounded sides do.
        """
        return _shrinkage(max(self.size_px) * self.downsample, PAPER_CANVAS_PX)

    def step_to(self, most_px: int) -> int:
        """Canvas pixels, in x and y, per pixel of a picture of the canvas with no side above `most_px`."""
        return -(-max(self.size_px) // most_px)


def paper_canvas(box_px: tuple[int, int, int, int], slide_mpp: float, canvas_px: int) -> Canvas:
    """The paper's canvas: the tissue's box, shrunk by a power of two until no side is longer than `canvas_px`.

    Source: docs/methods.md §10.1, r = 2 ** ceil(max(log2(w / 1024), log2(h / 1024), 0)).
    """
    x, y, width, height = box_px
    downsample = _shrinkage(max(width, height), canvas_px)
    size = (-(-width // downsample), -(-height // downsample))
    return Canvas(origin_px=(x, y), downsample=float(downsample), size_px=size, mpp=slide_mpp * downsample)


def canvas_at(box_px: tuple[int, int, int, int], slide_mpp: float, mpp: float) -> Canvas:
    """A canvas over a box with `mpp` µm per pixel exactly, whatever its size."""
    x, y, width, height = box_px
    downsample = mpp / slide_mpp
    size = (math.ceil(width / downsample), math.ceil(height / downsample))
    return Canvas(origin_px=(x, y), downsample=downsample, size_px=size, mpp=mpp)


def _shrinkage(side_px: float, canvas_px: int) -> int:
    """The smallest power of two, 1 or more, by which a side of `side_px` shrinks to `canvas_px` at most."""
    return 1 << max(0, math.ceil(math.log2(side_px / canvas_px)))


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as a proposer gives it, with its scores (1 if it gives none).

    `key`: proposals of several tiles with one key are parts of one region; None = the tiles' merge finds out.
    """

    mask: RegionMask
    predicted_iou: float = 1.0
    stability: float = 1.0
    key: int | None = None


@dataclass(frozen=True, kw_only=True)
class RegionMap:
    """m regions on a canvas; they may overlap and need not cover it. A region's id is its index.

    `runs`: all masks as run lengths one after the other (COCO: column by column, the first run is background);
    `offsets` (m + 1,): region i owns runs[offsets[i]:offsets[i + 1]].
    """

    slide_id: str
    canvas: Canvas
    runs: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    area_px: NDArray[np.int64]  # (m,) canvas pixels
    box: NDArray[np.int32]  # (m, 4) x, y, width, height in canvas pixels
    predicted_iou: NDArray[np.float32]  # (m,)
    stability: NDArray[np.float32]  # (m,)

    def __len__(self) -> int:
        return len(self.area_px)

    @property
    def area_um2(self) -> NDArray[np.float64]:
        """(m,) areas in µm²; NaN where `Canvas.mpp` is."""
        return np.asarray(self.area_px * self.canvas.mpp**2, np.float64)

    @property
    def paper_area_px(self) -> NDArray[np.int64]:
        """(m,) areas A of eq. 7: pixels of the paper's canvas (`canvas_px` = 1024), whole as the paper counts them.

        Rounded where this canvas is finer than the paper's; a region is never less than one pixel.
        """
        scaled = self.area_px * (self.canvas.downsample / self.canvas.paper_downsample) ** 2
        return np.asarray(np.maximum(np.rint(scaled), 1), np.int64)

    def mask(self, region: int) -> RegionMask:
        """The pixels of one region; decodes no other, and no canvas."""
        x, y, width, height = (int(v) for v in self.box[region])
        runs = self.runs[self.offsets[region] : self.offsets[region + 1]]
        return RegionMask.of_canvas_runs(runs, (x, y, width, height), self.canvas.size_px[1])

    def labels(self, window: Box | None = None, step: int = 1) -> NDArray[np.int32]:
        """The smallest region at each pixel of a window (of equals, the lower id), -1 outside of all regions.

        Args:
            window: x, y, width, height inside the canvas; None = all of it.
            step: each `step` x `step` pixels give one, the label of the middle one; at the right and lower edge there
                may be fewer.

        Returns:
            Labels (ceil(height / step), ceil(width / step)).
        """
        left, top, width, height = window or (0, 0, *self.canvas.size_px)
        columns, rows = middles(left, width, step), middles(top, height, step)
        labels = np.full((len(rows), len(columns)), -1, np.int32)
        for region in np.lexsort((-np.arange(len(self)), -self.area_px)).tolist():
            x, y, wide, high = self.box[region].tolist()
            first, last = np.searchsorted(columns, (x, x + wide))
            upper, lower = np.searchsorted(rows, (y, y + high))
            if last > first and lower > upper:
                mask = self.mask(region)
                if step > 1:
                    shown = mask.at(columns[first:last], rows[upper:lower])
                else:
                    shown = mask.within((left + int(first), top + int(upper), int(last - first), int(lower - upper)))
                labels[upper:lower, first:last][shown] = region
        return labels


def build(slide_id: str, canvas: Canvas, proposals: Sequence[Proposal]) -> RegionMap:
    """Packs proposals in the order given; their masks lie on the canvas."""
    encoded = [p.mask.canvas_runs(canvas.size_px) for p in proposals]
    return RegionMap(
        slide_id=slide_id,
        canvas=canvas,
        runs=np.concatenate(encoded) if encoded else np.empty(0, np.uint32),
        offsets=np.cumsum([0, *(len(runs) for runs in encoded)], dtype=np.int64),
        area_px=np.array([p.mask.area_px for p in proposals], np.int64),
        box=np.array([p.mask.box for p in proposals], np.int32).reshape(-1, 4),
        predicted_iou=np.array([p.predicted_iou for p in proposals], np.float32),
        stability=np.array([p.stability for p in proposals], np.float32),
    )
