"""What the bags of a training usually are, kept with the model, so that a slide unlike them gets a remark.

Of each slide the mean of its patches' features and their number count; of the means the distance to those of the
training: the root mean square of their features' standard scores. What is usual of it is known from the training slides
themselves, each held against all others (leave-one-out).
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.training.thresholds import Values

RATE = 0.01  # of slides like those of the training that get a remark on their features, and on their patches
LEAST_SLIDES = 5  # fewer say nothing of what is usual
_MOST_KEPT = 1001  # distances and numbers of patches: of more slides, evenly spaced quantiles
_FARTHEST = 10.0  # standard scores of one feature: no single one rules the distance
_FLOOR = 1e-3  # of the median spread: a feature that all training slides share


@dataclass(frozen=True, kw_only=True)
class UsualBags:
    """What is kept of `slides` training bags, arrays packed as text (`_packed`).

    `mean`, `spread` (d,): of the slides' mean features, the standard deviation with a floor. `distances`, `patches`: of
    the slides, rising; quantiles where there are more than 1001.
    """

    slides: int
    mean: str
    spread: str
    distances: str
    patches: str


def usual_bags(read: Callable[[str], FeatureBag], slides: Iterable[str]) -> UsualBags | None:
    """Describes training bags; one is in memory at a time. None of fewer than 5 slides."""
    means, patches = [], []
    for slide in slides:
        features = read(slide).features
        means.append(features.mean(axis=0, dtype=np.float64))
        patches.append(len(features))
    return None if len(means) < LEAST_SLIDES else describe(np.stack(means), np.array(patches))


def describe(means: Values, patches: NDArray[np.int64]) -> UsualBags:
    """Of the mean features (n, d) and numbers of patches (n,) of at least 3 slides."""
    number = len(means)
    mean, squares = means.mean(axis=0), ((means - means.mean(axis=0)) ** 2).sum(axis=0)
    # Each slide against the others: their mean and squares follow from those of all.
    apart = (means - mean) * number / (number - 1)
    without = np.maximum(squares - (means - mean) ** 2 * number / (number - 1), 0)
    distances = _root_mean_square(apart, _spread(np.sqrt(without / (number - 2))))
    return UsualBags(
        slides=number,
        mean=_packed(mean),
        spread=_packed(_spread(np.sqrt(squares / (number - 1)))),
        distances=_packed(_quantiles(distances)),
        patches=_packed(_quantiles(patches)),
    )


def remarks_on(features: NDArray[np.floating[Any]], usual: Sequence[UsualBags | None]) -> tuple[str, ...]:
    """What sets a slide apart from the training slides of models; empty where nothing does, or nothing is known.

    Of several models more than half must find it unusual, and the one that finds it least so speaks. About 1 of 100
    slides that are like the training slides gets a remark on its features, and as many one on its number of patches.

    Args:
        features: (n, d) of the slide's patches.
    """
    known = [one for one in usual if one is not None]
    if not known or not len(features):
        return ()
    mean = features.mean(axis=0, dtype=np.float64)
    found = ([_on_distance(mean, one) for one in known], [_on_patches(len(features), one) for one in known])
    kinds = ([one for one in kind if one is not None] for kind in found)
    return tuple(min(kind)[1] for kind in kinds if 2 * len(kind) > len(known))


def _on_distance(mean: Values, usual: UsualBags) -> tuple[float, str] | None:
    """How unusual the features are, and in words; None where they are not."""
    distance = float(_root_mean_square(mean - _unpacked(usual.mean), _unpacked(usual.spread)))
    distances = _unpacked(usual.distances)
    if not _is_high(np.log(np.maximum(distances, _FLOOR)), np.log(max(distance, _FLOOR)), usual.slides, RATE):
        return None
    share = float((distances < distance).mean())
    if share < 1:
        said = f"than {100 * (1 - RATE):g} % of them (at the {100 * share:.1f}th percentile of {usual.slides})"
    else:
        said = f"than any of these {usual.slides} from the others ({distance / distances[-1]:.2g} times as far)"
    return share, f"its features lie farther from the training slides {said}"


def _on_patches(number: int, usual: UsualBags) -> tuple[float, str] | None:
    """As `_on_distance`, of the number of patches."""
    known, value = np.log(_unpacked(usual.patches)), np.log(number)
    for sign, word in ((-1, "fewer"), (1, "more")):
        if _is_high(np.sort(sign * known), sign * value, usual.slides, RATE / 2):
            share = float((sign * known < sign * value).mean())
            all_of = "any" if share == 1 else f"{100 * share:.1f} %"
            return share, f"{number} patches: {word} than {all_of} of the {usual.slides} training slides"
    return None


def _is_high(known: Values, value: float, slides: int, rate: float) -> bool:
    """Whether at most this share of slides like the known ones lies so high.

    With enough slides by their ranks. With fewer it must lie above all of them and above the limit that a normal
    distribution predicts for one more, which needs no rank that they cannot show.
    """
    if (slides + 1) * rate >= 1:
        return bool(1 + (known >= value).mean() * slides <= rate * (slides + 1))
    from scipy.stats import t  # here: it takes a second to load

    limit = known.mean() + t.ppf(1 - rate, slides - 1) * known.std(ddof=1) * np.sqrt(1 + 1 / slides)
    return bool(value > max(known[-1], limit))


def _root_mean_square(apart: Values, spread: Values) -> Values:
    """Of standard scores, over features (…, d)."""
    scores = np.minimum(np.abs(apart) / spread, _FARTHEST)
    return np.asarray(np.sqrt((scores**2).mean(axis=-1)), np.float64)


def _spread(deviations: Values) -> Values:
    """Standard deviations (…, d) that may be divided by."""
    floor = _FLOOR * np.median(deviations, axis=-1, keepdims=True)
    return np.maximum(deviations, np.where(floor > 0, floor, 1.0))


def _quantiles(values: NDArray[Any]) -> Values:
    ordered = np.sort(values.astype(np.float64))
    return ordered if len(ordered) <= _MOST_KEPT else np.quantile(ordered, np.linspace(0, 1, _MOST_KEPT))


def _packed(values: Values) -> str:
    """Float32, little-endian, base64: one line of JSON, 5.4 characters a number."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Values:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)


def of_record(record: Mapping[str, Any], dim: int) -> UsualBags:
    """From a file.

    Args:
        dim: d.

    Raises:
        ValueError, KeyError, TypeError: it is not as `describe` gives it.
    """
    usual = UsualBags(**record)
    try:
        arrays = {name: _unpacked(getattr(usual, name)) for name in ("mean", "spread", "distances", "patches")}
    except binascii.Error as error:
        raise ValueError(f"usual: {error}") from None
    if {len(arrays["mean"]), len(arrays["spread"])} != {dim}:
        raise ValueError(f"usual: not of {dim} features")
    if not all(np.isfinite(array).all() for array in arrays.values()) or not (arrays["spread"] > 0).all():
        raise ValueError("usual: a number is not finite, or a spread not above 0")
    for name in ("distances", "patches"):
        if len(arrays[name]) != min(int(usual.slides), _MOST_KEPT) or (np.diff(arrays[name]) < 0).any():
            raise ValueError(f"usual: {name} do not rise, or are not of {usual.slides} slides")
    if usual.slides < LEAST_SLIDES or arrays["patches"][0] < 1:
        raise ValueError("usual: too few slides, or one without a patch")
    return usual
