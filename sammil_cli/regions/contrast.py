"""Contrast: how much of what differs over a slide differs between its groups (regions) rather than within them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

_BLOCK_VALUES = 1 << 21  # held in float64 at once, 16 MB
_TRIES = 6  # to find the side of squares


def contrast(values: NDArray[Any], group: NDArray[np.integer[Any]]) -> float | None:
    """The share of the variance of `values` that lies between groups, adjusted for the number of groups.

    η² = 1 - within / total, on sums of squares over all dimensions together: a dimension counts by its variance.
    With l groups of n values it is (l - 1) / (n - 1) by chance alone; 1 - (1 - η²)(n - 1) / (n - l) is 0 then (the
    adjustment of R² by its degrees of freedom), 1 where groups differ and nothing differs within them, and may be
    slightly negative.

    Args:
        values: (n, d), finite.
        group: (n,) the group of each, -1 = in none, left out.

    Returns:
        None where it means nothing: fewer than two groups, no value more than groups, or nothing differs at all.
    """
    held = np.flatnonzero(group >= 0)
    ids, own = np.unique(group[held], return_inverse=True)
    n, groups = len(held), len(ids)
    if groups < 2 or n <= groups:
        return None
    rows = max(1, _BLOCK_VALUES // values.shape[1])
    mean = sum(values[part].sum(axis=0, dtype=np.float64) for part in _blocks(held, rows)) / n
    sums, total = np.zeros((groups, values.shape[1])), 0.0
    for part, of in zip(_blocks(held, rows), _blocks(own, rows), strict=True):
        centred = values[part] - mean
        total += float(np.einsum("ij,ij->", centred, centred))
        sums += csc_matrix((np.ones(len(part)), of, np.arange(len(part) + 1)), shape=(groups, len(part))) @ centred
    between = float((sums**2 / np.bincount(own)[:, None]).sum())
    scale = float((mean**2).sum()) * n
    if total <= 1e-12 * max(scale, 1e-30):  # rounding only
        return None
    return 1 - (1 - between / total) * (n - 1) / (n - groups)


def squares(x: NDArray[Any], y: NDArray[Any], count: int) -> NDArray[np.int64]:
    """(n,) which square of a plain grid each point lies in; about `count` squares hold points.

    What regions are to be compared with: squares know nothing of the picture, and gain contrast all the same, since
    near points are alike.
    """
    if count < 2 or not len(x):
        return np.zeros(len(x), np.int64)
    x, y = x - x.min(), y - y.min()
    side = max(1.0, np.sqrt((x.max() + 1.0) * (y.max() + 1.0) / count))
    tried = []
    for _ in range(_TRIES):  # the points fill a part of their box, and cut squares at their border
        square = (y // side * (x.max() // side + 1) + x // side).astype(np.int64)
        found = np.count_nonzero(np.bincount(square))
        tried.append((found < 2, abs(np.log(found / count)), side))
        side *= np.sqrt(found / count)
    side = min(tried)[-1]
    return np.asarray((y // side * (x.max() // side + 1) + x // side).astype(np.int64))


def _blocks(values: NDArray[np.int64], length: int) -> list[NDArray[np.int64]]:
    return [values[first : first + length] for first in range(0, len(values), length)]
