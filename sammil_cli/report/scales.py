"""Values of patches on a scale from 0 to 1."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def percentile_rank(values: Values) -> Values:
    """Rank of each value among all, 0-1, ties sharing their mean rank: a scale that one huge value cannot flatten."""
    from scipy.stats import rankdata  # here: it takes a second to load

    return np.asarray((rankdata(values) - 1) / max(len(values) - 1, 1), np.float64)


def min_max(values: Values) -> Values:
    """Values scaled to 0-1 by the least and the largest; 0 where all are equal."""
    low, span = values.min(initial=np.inf), np.ptp(values) if len(values) else 0.0
    return (values - low) / span if span > 0 else np.zeros_like(values)
