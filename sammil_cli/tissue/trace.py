"""The outlines of a mask along the edges of its pixels."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int32]  # (k, 2) x, y

# Directions in the order in which OpenCV looks around a pixel for the next one of an outline: E, NE, N, NW, W, …
_STEPS = np.array([(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)])
_STAYS = 8  # the outline of a single pixel
_SIDE_ENDS = np.array([(1, 0), (0, 0), (0, 1), (1, 1)], np.int32)  # of the sides E, N, W, S of a pixel at (0, 0)


def trace(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Iterator[tuple[Ring, list[Ring]]]:
    """The outlines of a mask (h, w), exactly along the outer edges of its pixels: `paint_rings` gives the mask back.

    Yields:
        of each piece (pixels that touch, be it at a corner) its outer ring and those of its holes: open, points (k, 2)
        x, y in mask pixels, of which pixel i covers [i, i + 1]. Where pixels meet at a corner, a ring touches itself.
    """
    contours, tree = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return
    rings = _along_edges([np.asarray(contour, np.int32) for contour in contours])
    links = tree[0].tolist()
    for number, (_, _, child, parent) in enumerate(links):
        if parent != -1:
            continue  # a hole: reached through its piece
        holes = []
        while child != -1:
            holes.append(rings[child])
            child = links[child][0]
        yield rings[number], holes


def _along_edges(contours: Sequence[NDArray[np.int32]]) -> list[Ring]:
    """Chains of pixels as rings along those of their edges that lie on the outline."""
    pixels = np.concatenate(contours)[:, 0]
    ends = np.fromiter(map(len, contours), np.int64, len(contours)).cumsum()
    out = _direction(pixels[_next(ends)] - pixels)
    where = out[_previous(ends)], out
    counts = _COUNTS[where]
    side = _SIDES[where][np.arange(4) < counts[:, None]]
    corners = np.repeat(pixels, counts, axis=0) + _SIDE_ENDS[side]
    last = counts.cumsum()[ends - 1]
    turns = side != side[_next(last)]
    corners = corners[turns]
    stops = turns.cumsum()[last - 1].tolist()
    return [corners[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _direction(steps: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The numbers in `_STEPS` of steps (n, 2), or `_STAYS`."""
    return np.asarray(_NUMBERS[3 * steps[:, 1] + steps[:, 0] + 4], np.uint8)


def _next(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each place in closed chains that lie one after the other the place after it; `ends`: of the chains."""
    after = np.arange(1, ends[-1] + 1)
    after[ends - 1] = np.concatenate([[0], ends[:-1]])
    return after


def _previous(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place before it, see `_next`."""
    before = np.arange(-1, ends[-1] - 1)
    before[np.concatenate([[0], ends[:-1]])] = ends - 1
    return before


def _sides_on_the_outline() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """By the steps to a pixel and from it, the sides that the outline runs along: numbers (9, 9, 4), and how many."""
    sides, counts = np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9), np.int64)
    for to in range(9):
        for out in range(9):
            back = (to + 4) % 8
            around = range(8) if to == _STAYS else range(back + 1, back + 1 + (out - back - 1) % 8)
            found = [direction % 8 // 2 for direction in around if direction % 2 == 0]
            sides[to, out, : len(found)], counts[to, out] = found, len(found)
    return sides, counts


_SIDES, _COUNTS = _sides_on_the_outline()
_NUMBERS = np.full(9, _STAYS, np.uint8)
_NUMBERS[3 * _STEPS[:, 1] + _STEPS[:, 0] + 4] = range(8)
