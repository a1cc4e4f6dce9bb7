"""How complex outlines may be, found out before anything is computed with them: repairs and unions have no bound.

GEOS takes about 30 µs for each place where an outline crosses itself, and 12 µs where it crosses another; a million
points of outlines that keep apart take a second. So crossings are counted first, in numpy, and the count stops at the
limit.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.errors import InputError

MOST_POINTS = 4_000_000
MOST_CROSSINGS = 200_000
MOST_LENGTH_PX = 1e9  # of all outlines together, level-0 pixels: painted row by row, a longer one takes minutes
MOST_PAIRS = 5_000_000  # of shapes whose boxes meet
MOST_WORK = 50_000_000  # points of shapes that are cut by others
_MOST_NEAR = 50_000_000  # pairs of lines whose boxes meet
_PAIRS_AT_ONCE = 20_000_000  # the most that one step of the search could find
_MOST_AT_ONCE = 256  # shapes in one step
_REMEDY = "draw it simpler, or export fewer objects"

_Points = NDArray[np.float64]  # (n, 2): x, y
_Numbers = NDArray[np.int64]
_Shapes = NDArray[np.object_]


def check_outlines(path: Path, polygons: Sequence[shapely.Polygon]) -> None:
    """Refuses polygons, valid or not, that cannot be repaired and united in some ten seconds.

    Raises:
        InputError: with the number that is too large.
    """
    points = int(shapely.get_num_coordinates(polygons).sum())
    if points > MOST_POINTS:
        raise _too_complex(path, f"its outlines have {points:,} points, more than {MOST_POINTS:,}")
    length = float(shapely.length(polygons).sum())
    if length > MOST_LENGTH_PX:
        raise _too_complex(path, f"its outlines are {length:.3g} px long, more than {MOST_LENGTH_PX:.0e}")
    starts, ends = _lines(polygons)
    near = crossings = 0
    for one, other in _pairs(shapely.linestrings(np.stack([starts, ends], axis=1))):
        near += len(one)
        crossings += int(_cross(starts[one], ends[one], starts[other], ends[other]).sum())
        if crossings > MOST_CROSSINGS:
            raise _too_complex(path, f"its outlines cross themselves or one another over {MOST_CROSSINGS:,} times")
        if near > _MOST_NEAR:
            raise _too_complex(path, f"{_MOST_NEAR:,} pairs of lines in it lie side by side or over one another")


def overlapping(path: Path, shapes: _Shapes, others: _Shapes) -> tuple[_Numbers, _Numbers]:
    """The numbers of shapes and of others that have a point in common, as pairs; both are prepared for more questions.

    Args:
        shapes: valid ones (n,). others: as many as there are, (m,).

    Raises:
        InputError: too many lie over one another.
    """
    shapely.prepare(shapes)
    shapely.prepare(others)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    pairs = 0
    for one, other in _boxes_that_meet(shapes, others):
        pairs += len(one)
        if pairs > MOST_PAIRS:
            raise _too_complex(path, f"more than {MOST_PAIRS:,} pairs of shapes in it lie over one another")
        met = shapely.intersects(shapes[one], others[other])
        found.append((one[met], other[met]))
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


def check_work(path: Path, *sides: _Shapes) -> None:
    """Refuses to cut shapes that have too many points in all; each counts as often as it is there.

    Raises:
        InputError: with their number.
    """
    work = sum(int(shapely.get_num_coordinates(side).sum()) for side in sides)
    if work > MOST_WORK:
        raise _too_complex(path, f"its shapes cut one another too often ({work:,} points in all)")


def _too_complex(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is too complex: {reason}", remedy=_REMEDY)


def _lines(polygons: Sequence[shapely.Polygon]) -> tuple[_Points, _Points]:
    """Start and end of each line of all outlines; without those of no length."""
    points, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    real = (ring[1:] == ring[:-1]) & (points[1:] != points[:-1]).any(axis=1)
    return points[:-1][real], points[1:][real]


def _pairs(lines: _Shapes) -> Iterator[tuple[_Numbers, _Numbers]]:
    """The numbers of lines whose boxes meet, part by part, each pair once."""
    for one, other in _boxes_that_meet(lines, lines):
        yield one[one < other], other[one < other]


def _boxes_that_meet(shapes: _Shapes, others: _Shapes) -> Iterator[tuple[_Numbers, _Numbers]]:
    """The numbers of shapes and of others whose boxes meet, part by part: all pairs at once could fill the memory."""
    tree = shapely.STRtree(others)
    step = max(1, min(_MOST_AT_ONCE, _PAIRS_AT_ONCE // max(1, len(others))))
    for start in range(0, len(shapes), step):
        one, other = tree.query(shapes[start : start + step])
        yield one + start, other


def _cross(a: _Points, b: _Points, c: _Points, d: _Points) -> NDArray[np.bool_]:
    """Whether line ab and line cd have more in common than an end."""

    def side(p: _Points, q: _Points, r: _Points) -> NDArray[np.float64]:
        (x, y), (u, v) = (q - p).T, (r - p).T
        return np.asarray(np.sign(x * v - y * u), np.float64)

    of_c, of_d = side(a, b, c), side(a, b, d)
    meet = (of_c * of_d <= 0) & (side(c, d, a) * side(c, d, b) <= 0)
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    at_a_point = (low == high).all(axis=1)  # lines that go on straight
    same = [(one == other).all(axis=1) for one in (a, b) for other in (c, d)]
    ends = np.sum(same, axis=0)  # that they share
    on_one_line = (of_c == 0) & (of_d == 0)
    return np.asarray(meet & ((ends == 0) | ((ends == 1) & on_one_line & ~at_a_point)), np.bool_)
