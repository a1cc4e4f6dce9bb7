"""A placebo of regions: as many and as large, but each where chance put it (own design, no paper's).

What regions give a model is of two kinds: that patches are grouped at all, and which patches are together. The placebo
keeps the first and leaves the second to chance. So it keeps of the regions it is made of

- their number, their scores, and the area of each, on tissue and beside it, to the pixel;
- their shapes, as far as they fit: each is turned by a multiple of 90 degrees, mirrored or not, and laid where few of
  its pixels lie on others. For those that do, and for what falls beside the tissue, it has the pixels nearest to the
  shape instead, so that regions that tile the tissue go on to cover most of it;
- their nesting: a region that lies in a larger one by more than half is laid anew into that one's new place.

A region as large as the tissue can be moved nowhere: `Moved` says how much the placebo still agrees with its model.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import Box, RegionMask, middles, shared
from sammil_cli.tissue.mask import TissueMask

_MOST_PX = 4096  # of a side: a finer canvas is as much coarser, and areas are whole pixels of that
_PLACES = 24  # that are tried for a region
_LOOKED_AT = 4 * _PLACES

Bits = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What moving has kept and what not; shares are from 0 to 1.

    `area_ratio`: area of all regions, after through before; `tissue_before`, `tissue_after`: share of the tissue that
    lies in any region; `as_drawn`: share of the regions' pixels that lie in their moved shape, the others lie beside
    it; `agreement`: adjusted Rand index of the smallest regions around each pixel of the tissue, before and after:
    1 = nothing was moved. Regions are compact, so chance alone gives more than 0: 4/9 with squares of one size.
    """

    regions: int
    area_ratio: float | None
    tissue_before: float
    tissue_after: float
    as_drawn: float | None
    agreement: float


def move_at_random(regions: RegionMap, tissue: TissueMask, seed: int) -> tuple[RegionMap, Moved]:
    """Lays the regions of a slide anew. The same regions, tissue, slide id and seed give the same.

    Args:
        regions: on a canvas over the tissue.

    Returns:
        As many regions in the same order, on the same canvas (a coarser one where that is longer than 4096 px), and
        what became of them.
    """
    canvas, step = _coarser(regions.canvas)
    width, height = canvas.size_px
    on_tissue = tissue.raster(canvas.origin_px, canvas.downsample, (height, width))
    shapes = list(_shapes(regions, step))
    rng = np.random.default_rng([seed, *regions.slide_id.encode()])
    laid, kept = _lay(shapes, on_tissue, rng)
    proposals = [
        Proposal(mask=mask, predicted_iou=float(iou), stability=float(stability))
        for mask, iou, stability in zip(laid, regions.predicted_iou, regions.stability, strict=True)
    ]
    found = build(regions.slide_id, canvas, proposals)
    before, after = (one.labels(step=s)[on_tissue] for one, s in ((regions, step), (found, 1)))
    pixels = int(found.area_px.sum())
    return found, Moved(
        regions=len(found),
        area_ratio=float(pixels * step**2 / regions.area_px.sum()) if len(found) else None,
        tissue_before=float((before >= 0).mean()) if before.size else 0.0,
        tissue_after=float((after >= 0).mean()) if after.size else 0.0,
        as_drawn=kept / pixels if pixels else None,
        agreement=float(adjusted_rand_score(before, after)) if before.size else 1.0,
    )


@dataclass(frozen=True)
class _Shape:
    """A region's pixels (h, w) on the canvas, and how many it is to have."""

    corner: tuple[int, int]
    pixels: Bits
    size: int

    @property
    def box(self) -> Box:
        rows, columns = self.pixels.shape
        return (*self.corner, columns, rows)


class _Room:
    """Where regions are laid: pixels of the tissue, and which of them are free yet."""

    def __init__(self, corner: tuple[int, int], inside: Bits) -> None:
        self._corner, self._free, self._inside = corner, inside.copy(), inside
        self._places = np.flatnonzero(inside if inside.any() else ~inside)

    @property
    def is_empty(self) -> bool:
        return not self._inside.any()

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """(k, 2) places x, y on the canvas, free ones as long as any are found; at least one."""
        drawn = rng.integers(len(self._places), size=_LOOKED_AT)
        free = self._free.ravel()[self._places[drawn]]
        if free.mean() < 0.5 and (left := np.flatnonzero(self._free)).size:
            self._places = left
            drawn, free = rng.integers(len(left), size=_LOOKED_AT), np.ones(_LOOKED_AT, bool)
        chosen = self._places[drawn[free] if free.any() else drawn][:_PLACES]
        rows, columns = np.divmod(chosen, self._free.shape[1])
        return np.asarray(np.stack([columns, rows], 1) + self._corner, np.int64)

    def free(self, window: Box) -> Bits:
        """What is free of a window of the canvas (h, w)."""
        return _seen(self._free, self._corner, window)

    def inside(self, window: Box) -> Bits:
        """What belongs to the room of a window of the canvas (h, w)."""
        return _seen(self._inside, self._corner, window)

    def take(self, window: Box, pixels: Bits) -> None:
        """These are not free any more."""
        rows, columns = self._free.shape
        part = shared(window, (*self._corner, columns, rows))
        if part is not None:
            left, top, wide, high = part
            x, y = left - self._corner[0], top - self._corner[1]
            own = pixels[top - window[1] :, left - window[0] :][:high, :wide]
            self._free[y : y + high, x : x + wide] &= ~own


def _lay(shapes: Sequence[_Shape], tissue: Bits, rng: np.random.Generator) -> tuple[list[RegionMask], int]:
    """Each shape at a new place, largest first; and how many pixels lie in the moved shapes."""
    order = sorted(range(len(shapes)), key=lambda region: -shapes[region].size)
    around = _around(shapes, order, tissue.shape)
    parents = set(around.values())
    slide = _Room((0, 0), tissue)
    rooms: dict[int, _Room] = {}
    laid: dict[int, RegionMask] = {}
    kept = 0
    for region in order:
        room = rooms.get(around.get(region, -1), slide)
        room = slide if room.is_empty else room
        window, pixels, drawn = _place(shapes[region], room, tissue, rng)
        kept += drawn
        room.take(window, pixels)
        laid[region] = RegionMask.of(pixels, window[:2])
        if region in parents:
            rooms[region] = _Room(window[:2], pixels & _seen(tissue, (0, 0), window))
    return [laid[region] for region in range(len(shapes))], kept


def _around(shapes: Sequence[_Shape], order: Sequence[int], shape: tuple[int, ...]) -> dict[int, int]:
    """The smallest region that holds more than half of each region, of those that come before it in the order."""
    on_top = np.full(shape, -1, np.int32)
    rank = {region: place for place, region in enumerate(order)}
    parent: dict[int, int] = {}
    for region in order:
        one = shapes[region]
        part = on_top[one.corner[1] :, one.corner[0] :][: one.pixels.shape[0], : one.pixels.shape[1]]
        held: dict[int, int] = {}
        for label, count in zip(*np.unique(part[one.pixels], return_counts=True), strict=True):
            node = int(label)
            while node >= 0:
                held[node] = held.get(node, 0) + int(count)
                node = parent.get(node, -1)
        half = np.count_nonzero(one.pixels) / 2
        holders = [node for node, count in held.items() if count > half]
        if holders:
            parent[region] = max(holders, key=lambda node: rank[node])
        part[one.pixels] = region
    return parent


def _place(one: _Shape, room: _Room, tissue: Bits, rng: np.random.Generator) -> tuple[Box, Bits, int]:
    """A window of the canvas, the region's new pixels in it, and how many of these lie in the moved shape."""
    own = np.count_nonzero(_seen(tissue, (0, 0), one.box) & one.pixels)
    on_tissue = round(one.size * own / np.count_nonzero(one.pixels))
    turned, corner = _best(one.pixels, room, tissue, rng)
    rows, columns = turned.shape
    price = 2 * math.sqrt(one.size / math.pi)
    reach = math.ceil(2 * price) + 2
    whole = (0, 0, tissue.shape[1], tissue.shape[0])
    near = (corner[0] - reach, corner[1] - reach, columns + 2 * reach, rows + 2 * reach)
    for window in (shared(near, whole) or whole, whole):  # all of it only where the tissue near by is too little
        seen = _seen(tissue, (0, 0), window)
        ground = int(np.count_nonzero(seen))
        if ground >= on_tissue and seen.size - ground >= one.size - on_tissue:
            break
    shape = _seen(turned, corner, window)
    far = _distance(~shape) - _distance(shape)
    # Rather as far beside the shape as it is wide than on another region, and rather there than outside of the room.
    cost = far + np.asarray(price * (~room.free(window)) + price * (~room.inside(window)), np.float32)
    pixels = np.zeros(shape.shape, bool)
    for ground_there, count, by in ((seen, on_tissue, cost), (~seen, one.size - on_tissue, far)):
        there = np.flatnonzero(ground_there)
        pixels.ravel()[there[np.argsort(by.ravel()[there], kind="stable")[:count]]] = True
    return window, pixels, int(np.count_nonzero(pixels & shape))


def _best(pixels: Bits, room: _Room, tissue: Bits, rng: np.random.Generator) -> tuple[Bits, tuple[int, int]]:
    """The shape turned at random, and the corner x, y of the place, of several, where most of it is free."""
    height, width = tissue.shape
    forms = [turned for turned in _turns(pixels) if turned.shape[0] <= height and turned.shape[1] <= width]
    turned = forms[int(rng.integers(len(forms)))]
    rows, columns = turned.shape
    set_rows, set_columns = np.nonzero(turned)
    best, found = (-1, -1), (0, 0)
    for x, y in room.draw(rng).tolist():
        anchor = int(rng.integers(len(set_rows)))
        left = min(max(x - int(set_columns[anchor]), 0), width - columns)
        top = min(max(y - int(set_rows[anchor]), 0), height - rows)
        window = (left, top, columns, rows)
        ground = _seen(tissue, (0, 0), window) & turned
        score = (int(np.count_nonzero(room.free(window) & turned)), int(np.count_nonzero(ground)))
        if score > best:
            best, found = score, (left, top)
    return turned, found


def _turns(pixels: Bits) -> Iterator[Bits]:
    for quarter in range(4):
        turned = np.rot90(pixels, quarter)
        yield turned
        yield turned[:, ::-1]


def _distance(mask: Bits) -> NDArray[np.float32]:
    """How far each True pixel is from the nearest False one; 0 at those, and everywhere where there is no False."""
    if mask.all():
        return np.zeros(mask.shape, np.float32)
    found = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found, np.float32)


def _seen(pixels: Bits, corner: tuple[int, int], window: Box) -> Bits:
    """What a window of the canvas (h, w) shows of pixels that lie at `corner`; it may be larger, or elsewhere."""
    shown = np.zeros((window[3], window[2]), bool)
    part = shared((*corner, pixels.shape[1], pixels.shape[0]), window)
    if part is not None:
        left, top, wide, high = part
        own = pixels[top - corner[1] :, left - corner[0] :][:high, :wide]
        shown[top - window[1] : top - window[1] + high, left - window[0] : left - window[0] + wide] = own
    return shown


def _coarser(canvas: Canvas) -> tuple[Canvas, int]:
    """The canvas with no side above `_MOST_PX`, and how many of its pixels are one of that."""
    step = canvas.step_to(_MOST_PX)
    width, height = canvas.size_px
    coarse = Canvas(
        origin_px=canvas.origin_px,
        downsample=canvas.downsample * step,
        size_px=(-(-width // step), -(-height // step)),
        mpp=canvas.mpp * step,
    )
    return (canvas if step == 1 else coarse), step


def _shapes(regions: RegionMap, step: int) -> Iterator[_Shape]:
    """The regions on a canvas whose pixels are `step` x `step` of theirs."""
    width, height = regions.canvas.size_px
    columns, rows = middles(0, width, step), middles(0, height, step)
    for region in range(len(regions)):
        mask = regions.mask(region)
        x, y, wide, high = mask.box
        if step == 1:
            yield _Shape((x, y), mask.array(), mask.area_px)
            continue
        first, last = np.searchsorted(columns, (x, x + wide)).tolist()
        upper, lower = np.searchsorted(rows, (y, y + high)).tolist()
        pixels = mask.at(columns[first:last], rows[upper:lower])
        if pixels.any():
            yield _Shape((first, upper), pixels, max(1, round(mask.area_px / step**2)))
        else:  # a speck between the middles
            yield _Shape(((x + wide // 2) // step, (y + high // 2) // step), np.ones((1, 1), bool), 1)
