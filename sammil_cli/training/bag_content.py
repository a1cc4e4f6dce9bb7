"""Which slides have the same content: rows of features that are equal to the last bit, and equal means.

Rows are compared by 64-bit sums, eight bytes a patch, so that a cohort is compared in one pass over its bags, in time
that grows with the number of patches, not of pairs. It finds a slide that is there twice under two names, whole or
in part, cut from one file or copied; a second scan of the same glass has other features and is not found.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.training.baselines import mean_features

Sums = NDArray[np.uint64]

SAME_SHARE = 0.5  # of the distinct rows of the smaller bag
SAME_MEAN = 1e-6  # relative distance of the means of two bags
_MOST_SLIDES = 20  # with one row: more share it because it shows nothing, such as white glass
_ROWS = 4096  # summed up at once
_SEED = 20_261_130
_D = TypeVar("_D", bound=np.floating)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two slides of the same content; `share` of equal rows, 0 to 1; with equal means it may be small."""

    slides: tuple[str, str]
    share: float


@dataclass(frozen=True, kw_only=True)
class BagContents:
    """What was seen of bags in one pass: the mean (d,) of the features of each slide, and the sums of its rows."""

    means: Mapping[str, NDArray[np.float64]]
    sums: Mapping[str, Sums]


def read_contents(read: Callable[[str], FeatureBag], slides: Iterable[str]) -> BagContents:
    """Reads each bag once; one is in memory at a time."""
    sums: dict[str, Sums] = {}

    def summing(slide_id: str) -> FeatureBag:
        bag = read(slide_id)
        sums[slide_id] = row_sums(bag.features)
        return bag

    return BagContents(means=mean_features(summing, slides), sums=sums)


def row_sums(features: NDArray[_D]) -> Sums:
    """The distinct sums (u,) of the rows (n, d), rising: multilinear over 32-bit words, modulo 2^64."""
    found = [_summed(np.ascontiguousarray(features[start : start + _ROWS])) for start in range(0, len(features), _ROWS)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)


def _summed(rows: NDArray[_D]) -> Sums:
    raw = rows.view(np.uint8).reshape(len(rows), -1)
    raw = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 4)))
    words = raw.view(np.uint32).astype(np.uint64)
    keys = np.random.default_rng(_SEED).integers(0, 1 << 63, words.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    return np.asarray((words * keys).sum(axis=1, dtype=np.uint64), np.uint64)


def same_content(contents: BagContents) -> list[Pair]:
    """Pairs of slides with at least half of the smaller one's distinct rows in common, or equal means; by name.

    A row that more than 20 slides have says nothing and does not count.
    """
    slides = sorted(contents.sums)
    share = _shares(slides, [contents.sums[slide] for slide in slides])
    found = {pair: value for pair, value in share.items() if value >= SAME_SHARE}
    for pair in _equal_means(slides, contents.means):
        found.setdefault(pair, share.get(pair, 0.0))
    return [Pair(slides=pair, share=round(value, 6)) for pair, value in sorted(found.items())]


def _shares(slides: Sequence[str], sums: Sequence[Sums]) -> dict[tuple[str, str], float]:
    """The share of equal rows of each pair that has any."""
    if not slides:
        return {}
    rows = np.concatenate(sums)
    owner = np.repeat(np.arange(len(slides)), [len(one) for one in sums])
    order = np.argsort(rows, kind="stable")
    rows, owner = rows[order], owner[order]
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.empty(0, np.int64)
    number = np.diff(np.r_[first, len(rows)])
    shared = (number > 1) & (number <= _MOST_SLIDES)
    common: Counter[tuple[int, int]] = Counter()
    for start, count in zip(first[shared].tolist(), number[shared].tolist(), strict=True):
        common.update(combinations(owner[start : start + count].tolist(), 2))
    empty = Counter(owner[_within(first[number > _MOST_SLIDES], number[number > _MOST_SLIDES])].tolist())
    telling = [len(one) - empty[place] for place, one in enumerate(sums)]
    return {
        (slides[one], slides[other]): count / min(telling[one], telling[other])
        for (one, other), count in common.items()
    }


def _within(first: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places first, first + 1, …, `number` of each."""
    starts = np.repeat(first - np.r_[0, np.cumsum(number)[:-1]], number) if len(first) else np.empty(0, np.int64)
    return np.asarray(starts + np.arange(int(number.sum())), np.int64)


def _equal_means(slides: Sequence[str], means: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, str]]:
    """Pairs whose means are equal: neighbours on a line through those of one length, compared in full."""
    by_length: dict[int, list[str]] = {}
    for slide in slides:
        by_length.setdefault(len(means[slide]), []).append(slide)
    found = []
    for length, names in by_length.items():
        table = np.stack([means[name] for name in names])
        at = table @ np.random.default_rng(_SEED).normal(size=length)
        reach = SAME_MEAN * np.linalg.norm(table, axis=1)
        far = reach * 4 * math.sqrt(length)  # the line is about sqrt(length) long
        order = np.argsort(at, kind="stable")
        for place, one in enumerate(order):
            for other in order[place + 1 : place + 1 + _MOST_SLIDES]:
                if at[other] - at[one] > far[one]:
                    break
                if np.linalg.norm(table[one] - table[other]) <= reach[one]:
                    found.append((names[min(one, other)], names[max(one, other)]))
    return found
