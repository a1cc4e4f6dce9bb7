"""Principal components: features in a few numbers, for finding what is alike, and for showing it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096  # of features, held in float64 at once


def principal_components(features: NDArray[np.floating[Any]], count: int) -> NDArray[np.float32]:
    """The components of standardised features, most variance first, over the standard deviation of the first one.

    The sign of each is such that its largest loading is positive; the same features give the same components.

    Args:
        features: (n, d), finite.

    Returns:
        (n, min(count, d)); 0 where nothing is left that differs.
    """
    n, dim = features.shape
    mean = sum(part.sum(axis=0) for part in _parts(features)) / n
    variance = sum(((part - mean) ** 2).sum(axis=0) for part in _parts(features)) / n
    # What rounding alone lets differ has no direction.
    scale = np.where(variance > 1e-12 * np.maximum(mean**2, 1e-30), np.sqrt(variance), np.inf)
    covariance = np.zeros((dim, dim))
    for part in _parts(features):
        standard = (part - mean) / scale
        covariance += standard.T @ standard
    values, vectors = np.linalg.eigh(covariance / n)
    kept = vectors[:, ::-1][:, : min(count, dim)]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    spread = float(np.sqrt(max(values[-1], 0.0))) or 1.0
    return np.concatenate([(part - mean) / scale @ kept / spread for part in _parts(features)]).astype(np.float32)


def _parts(features: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.float64]]:
    for first in range(0, len(features), _ROWS):
        yield features[first : first + _ROWS].astype(np.float64)
