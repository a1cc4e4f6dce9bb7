"""Regions of overlapping tiles -> regions of the canvas, the same whatever the tiles (own design, no paper's).

Two tiles that overlap show the same place twice, their window. What a mask shows there falls into pieces (the arms of
a U whose bend only one tile sees), and two masks are the same region when

- a piece of one is a piece of the other to more than half (IoU > 0.5: no piece is that like two disjoint others, so
  that regions which do not overlap match in one way only), and
- that piece is at least half of what the window shows of one of the two.

Sameness goes from tile to tile, so that a region over five of them becomes one. The most alike are joined first, and
never two masks of one tile that lie on each other: so nested ones find their own counterparts.

A mask that reaches a border inside of the canvas is cut there. Of those that are the same region

- one that is not cut, and holds more than half of each of the others, stands for all (of several, the one with the
  highest predicted IoU, then of the first tile);
- else their union, whose scores are the lowest of theirs.

A cut mask without a like is kept where its own tile shows the larger part of it best, so that no region that is longer
than the overlap is lost; else it is dropped, as SAM drops what reaches the edge of a crop: a tile that sees more of
that place found no such region.

Masks of a proposer that tiles the tissue (`partition`) are cut to what their tile shows best, its core; the parts of
the same region are joined. What is left so of less than half a mask joins the mask that covers most of the rest: no
sliver stays along the cores' borders. The result tiles the tissue again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import Box, RegionMask, shared
from sammil_cli.regions.tiles import Tile

_SAME_IOU = 0.5
_BORDER_PX = 4  # so near, a mask counts as cut: SAM draws masks on a grid of 256, 4 px of a tile of 1024
_MOST_PIECES = 32  # of a mask in a window, the largest; the rest of a ragged mask is dust

_Link = tuple[float, int, int]  # IoU and two masks


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A proposal on the canvas, the tile that it is of, and whether the tile cuts it."""

    proposal: Proposal
    tile: int
    is_cut: bool

    @property
    def mask(self) -> RegionMask:
        return self.proposal.mask


def merge_tiles(
    tiles: Sequence[Tile], proposals: Sequence[Sequence[Proposal]], *, size_px: tuple[int, int], partition: bool
) -> list[Proposal]:
    """Joins what tiles show of the same region; where proposals have keys, these alone say which.

    Args:
        tiles: those that were seen; where they leave tissue-free ones out, nobody saw better.
        proposals: of each tile, their masks in canvas pixels.
        size_px: width and height of the canvas.
        partition: whether the masks of a tile are disjoint and are to stay so.

    Returns:
        Largest first; of equals, by the top left corner of the box, then by predicted IoU: an order that the tiles
        have no part in. Those with keys come first, by their keys.
    """
    keyed: dict[int, list[Proposal]] = {}
    for one in chain.from_iterable(proposals):
        if one.key is not None:
            keyed.setdefault(one.key, []).append(one)
    known = [replace(_join(keyed[key]), key=key) for key in sorted(keyed)]
    proposals = [[one for one in found if one.key is None] for found in proposals]
    seen = [
        _Seen(proposal=proposal, tile=index, is_cut=_is_cut(proposal.mask.box, tile.window, size_px))
        for index, (tile, found) in enumerate(zip(tiles, proposals, strict=True))
        for proposal in found
    ]
    of_tile: list[list[int]] = [[] for _ in tiles]
    for number, shown in enumerate(seen):
        of_tile[shown.tile].append(number)
    links = chain.from_iterable(
        _links(seen, of_tile[a], of_tile[b], window) for a, b, window in _overlapping([tile.window for tile in tiles])
    )
    groups = _Groups(seen)
    for _, first, second in sorted(links, key=lambda link: (-link[0], *link[1:])):
        groups.join(first, second)
    merged = _partition(tiles, seen, groups) if partition else _resolve(tiles, seen, groups)
    order = sorted(merged, key=lambda p: (-p.mask.area_px, p.mask.box[1], p.mask.box[0], -p.predicted_iou))
    return [*known, *order]


def _is_cut(box: Box, window: Box, size_px: tuple[int, int]) -> bool:
    """Whether a mask reaches a border of its window that lies inside of the canvas."""
    return any(
        (window[axis] > 0 and box[axis] - window[axis] < _BORDER_PX)
        or (
            window[axis] + window[axis + 2] < size_px[axis]
            and window[axis] + window[axis + 2] - box[axis] - box[axis + 2] < _BORDER_PX
        )
        for axis in (0, 1)
    )


def _overlapping(windows: Sequence[Box]) -> Iterator[tuple[int, int, Box]]:
    """Pairs of boxes that share pixels, and what they share."""
    boxes = _boxes(windows)
    for a, window in enumerate(windows):
        for b in _near(window, boxes):
            if a < b and (part := shared(window, windows[b])):
                yield a, b, part


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A connected piece of mask number `mask` in a window: its pixels (h, w) in `box`."""

    mask: int
    box: Box
    pixels: NDArray[np.bool_]
    area: int
    is_main: bool  # at least half of what the window shows of the mask


def _links(seen: Sequence[_Seen], first: Sequence[int], second: Sequence[int], window: Box) -> list[_Link]:
    """Which masks of two tiles are the same in the window that both see."""
    one, other = (
        [piece for mask in masks for piece in _pieces(mask, seen[mask].mask, window)] for masks in (first, second)
    )
    if not one or not other:
        return []
    links: dict[tuple[int, int], float] = {}
    for i, j in np.argwhere(_may_match(one, other)).tolist():
        iou = _iou(one[i], other[j])
        if iou > _SAME_IOU and (one[i].is_main or other[j].is_main):
            pair = (one[i].mask, other[j].mask)
            links[pair] = max(iou, links.get(pair, 0.0))
    return [(iou, a, b) for (a, b), iou in links.items()]


def _pieces(number: int, mask: RegionMask, window: Box) -> list[_Piece]:
    part = mask.cut(window)
    if part is None:
        return []
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(part.array().astype(np.uint8), connectivity=8)
    largest = np.argsort(-boxes[1:, cv2.CC_STAT_AREA], kind="stable")[:_MOST_PIECES] + 1
    pieces = []
    for label in largest.tolist():
        x, y, width, height, area = boxes[label].tolist()
        pixels = labels[y : y + height, x : x + width] == label
        box = (part.box[0] + x, part.box[1] + y, width, height)
        pieces.append(_Piece(mask=number, box=box, pixels=pixels, area=area, is_main=2 * area >= part.area_px))
    return pieces


def _may_match(one: Sequence[_Piece], other: Sequence[_Piece]) -> NDArray[np.bool_]:
    """(len(one), len(other)) whether areas and boxes leave room for an IoU above the bound."""
    area, low, high = [], [], []
    for pieces in (one, other):
        box = np.array([piece.box for piece in pieces])
        area.append(np.array([piece.area for piece in pieces]))
        low.append(box[:, :2])
        high.append(box[:, :2] + box[:, 2:])
    sides = np.minimum(high[0][:, None], high[1]) - np.maximum(low[0][:, None], low[1])
    room = np.maximum(sides, 0).prod(2)
    smaller, total = np.minimum(area[0][:, None], area[1]), area[0][:, None] + area[1]
    common = np.minimum(room, smaller)
    return np.asarray(common > _SAME_IOU * (total - common))


def _iou(a: _Piece, b: _Piece) -> float:
    box = shared(a.box, b.box)
    if box is None:
        return 0.0
    x, y, width, height = box
    part = [piece.pixels[y - piece.box[1] :, x - piece.box[0] :][:height, :width] for piece in (a, b)]
    common = int(np.count_nonzero(part[0] & part[1]))
    return common / (a.area + b.area - common)


class _Groups:
    """Masks that are the same region: each mask is in one group."""

    def __init__(self, seen: Sequence[_Seen]) -> None:
        self._seen = seen
        self._group = list(range(len(seen)))
        self._members = {index: {one.tile: [index]} for index, one in enumerate(seen)}

    def join(self, first: int, second: int) -> None:
        """Makes two groups one, unless a tile shows that they are two regions."""
        a, b = self._group[first], self._group[second]
        if a == b or self._differ(self._members[a], self._members[b]):
            return
        if len(self._members[a]) < len(self._members[b]):
            a, b = b, a
        for tile, masks in self._members.pop(b).items():
            self._members[a].setdefault(tile, []).extend(masks)
            for mask in masks:
                self._group[mask] = a

    def of(self, mask: int) -> list[int]:
        """The masks of a mask's group, rising."""
        return sorted(chain.from_iterable(self._members[self._group[mask]].values()))

    def __iter__(self) -> Iterator[list[int]]:
        """Each group's masks, rising."""
        for group in self._members:
            yield self.of(group)

    def _differ(self, one: dict[int, list[int]], other: dict[int, list[int]]) -> bool:
        for tile in one.keys() & other.keys():
            for a in one[tile]:
                for b in other[tile]:
                    masks = (self._seen[a].mask, self._seen[b].mask)
                    if 2 * _common_px(*masks) > min(mask.area_px for mask in masks):
                        return True
        return False


def _resolve(tiles: Sequence[Tile], seen: Sequence[_Seen], groups: _Groups) -> Iterator[Proposal]:
    """One proposal for each group; none for a cut mask that others see better."""
    cores = _boxes(tile.core for tile in tiles)
    for group in groups:
        members = [seen[index] for index in group]
        if len(members) == 1:
            if not (members[0].is_cut and _seen_better(members[0], tiles, cores)):
                yield members[0].proposal
            continue
        whole = sorted((one for one in members if not one.is_cut), key=lambda one: -one.proposal.predicted_iou)
        standing = (one for one in whole if all(_holds(one.mask, other.mask) for other in members))
        best = next(standing, None)
        yield best.proposal if best else _join([one.proposal for one in members])


def _seen_better(one: _Seen, tiles: Sequence[Tile], cores: NDArray[np.int64]) -> bool:
    """Whether the larger part of a mask lies in cores of other tiles."""
    near = (index for index in _near(one.mask.box, cores) if index != one.tile)
    parts = (one.mask.cut(tiles[index].core) for index in near)
    return 2 * sum(part.area_px for part in parts if part) > one.mask.area_px


def _partition(tiles: Sequence[Tile], seen: Sequence[_Seen], groups: _Groups) -> Iterator[Proposal]:
    """The parts of masks in their tiles' cores, joined by group."""
    parts = [one.mask.cut(tiles[one.tile].core) for one in seen]
    areas = [part.area_px if part else 0 for part in parts]
    places = _boxes(part.box if part else (0, 0, 0, 0) for part in parts)
    for index, area in enumerate(areas):
        mask = seen[index].mask
        if area and 2 * sum(areas[number] for number in groups.of(index)) < mask.area_px:
            others = (number for number in _near(mask.box, places) if seen[number].tile != seen[index].tile)
            rest = [(_common_px(mask, other), -number) for number in others if (other := parts[number])]
            if rest and max(rest)[0]:
                groups.join(index, -max(rest)[1])
    for group in groups:
        pieces = [(parts[index], seen[index].proposal) for index in group]
        kept = [
            Proposal(mask=part, predicted_iou=whole.predicted_iou, stability=whole.stability)
            for part, whole in pieces
            if part is not None
        ]
        if kept:
            yield _join(kept)


def _join(parts: Sequence[Proposal]) -> Proposal:
    return Proposal(
        mask=RegionMask.union([part.mask for part in parts]),
        predicted_iou=min(part.predicted_iou for part in parts),
        stability=min(part.stability for part in parts),
    )


def _holds(mask: RegionMask, other: RegionMask) -> bool:
    return 2 * _common_px(mask, other) > other.area_px


def _common_px(a: RegionMask, b: RegionMask) -> int:
    box = shared(a.box, b.box)
    return int(np.count_nonzero(a.within(box) & b.within(box))) if box else 0


def _boxes(boxes: Iterable[Box]) -> NDArray[np.int64]:
    """(n, 4)"""
    return np.array(list(boxes), np.int64).reshape(-1, 4)


def _near(box: Box, boxes: NDArray[np.int64]) -> list[int]:
    """Which of `boxes` (n, 4) share a pixel with one, rising."""
    low, high = np.array(box[:2]), np.add(box[:2], box[2:])
    inside = (boxes[:, :2] < high) & (boxes[:, :2] + boxes[:, 2:] > low) & (boxes[:, 2:] > 0)
    found: list[int] = np.flatnonzero(inside.all(1)).tolist()
    return found
