"""k-means by Lloyd's iterations, from starting centres that are given."""

import torch
from torch import Tensor


def k_means(points: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """The cluster of each point: (n,) int64, an index of the centres.

    Each iteration gives every point to its nearest centre (of equally near ones the first) and moves each centre into
    the mean of its points. A centre without points stays where it is.

    Args:
        points: (n, d). centres: (k, d), where they start.
    """
    for _ in range(iterations):
        near = _nearest(points, centres)
        sizes = torch.bincount(near, minlength=len(centres))[:, None]
        means = torch.zeros_like(centres).index_add_(0, near, points) / sizes.clamp(min=1)
        centres = torch.where(sizes > 0, means, centres)
    return _nearest(points, centres)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
