"""The fields of a slide that are shown in detail: where patches of much attention lie together."""

import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import Box

_TRIED = 64  # patches around which a field is tried
_SHARED = 0.4  # of a field, which an earlier one may show, too


def choose_fields(
    xy: NDArray[np.int32],
    side: int,
    attention: NDArray[np.float64],
    field_px: tuple[int, int],
    size_px: tuple[int, int],
    most: int,
) -> list[Box]:
    """At most `most` fields, level-0 pixels, none of which counts a patch that an earlier one shows.

    Of the fields around the patches of most attention that are left, the one that has most of it near its middle: an
    attention counts less the further it lies from there. None lies on an earlier one by more than 40 %. Fields lie in
    the slide where they fit in; one that is larger begins at its edge.

    Args:
        xy: (n, 2) level-0 corners. attention: (n,). field_px, size_px: width, height of a field and of the slide.
    """
    field, size = np.array(field_px), np.array(size_px)
    middles: NDArray[np.float64] = np.asarray(xy + side / 2, np.float64)
    left = attention.copy()
    boxes: list[Box] = []
    while len(boxes) < most and left.max(initial=0) > 0:
        tried = np.argsort(-left, kind="stable")[:_TRIED]
        corners = np.clip(np.round(middles[tried] - field / 2), 0, np.maximum(size - field, 0)).astype(int)
        earlier = np.array([box[:2] for box in boxes]).reshape(-1, 2)
        common = np.clip(1 - np.abs(corners[:, None] - earlier) / field, 0, 1).prod(axis=2)
        corners = corners[(common <= _SHARED).all(axis=1)]
        if not len(corners):
            break
        best = max(corners, key=lambda corner: float((left * _nearness(middles, corner, field)).sum()))
        boxes.append((int(best[0]), int(best[1]), *field_px))
        left[_nearness(middles, best, field) > 0] = 0
    return boxes


def _nearness(middles: NDArray[np.float64], corner: NDArray[np.int_], field: NDArray[np.int_]) -> NDArray[np.float64]:
    """1 in the middle of a field, falling to 0 at its edges and outside, of points (n, 2)."""
    away = (middles - corner - field / 2) / (field / 2)
    return np.asarray(np.clip(1 - away**2, 0, 1).prod(axis=1), np.float64)
