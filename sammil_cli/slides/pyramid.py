"""Which pyramid level to read for a wanted resolution: pure arithmetic, no pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

_TOLERANCE = 0.01  # levels say 3.9998 where 4 is meant


@dataclass(frozen=True, kw_only=True)
class ReadPlan:
    """Read at `level`, then shrink by `shrink` (>= 1, up to 1 % less by rounding of the level's downsample)."""

    level: int
    shrink: float


def plan_read(downsamples: Sequence[float], target: float) -> ReadPlan:
    """The coarsest level that is at least as fine as `target`, so that pixels are never upsampled.

    Args:
        downsamples: level-0 pixels per pixel of each level, rising, the first 1.
        target: level-0 pixels per wanted pixel. Below 1 the read is level 0, and `shrink` < 1 tells the caller.
    """
    fine_enough = [i for i, d in enumerate(downsamples) if d <= target * (1 + _TOLERANCE)]
    level = fine_enough[-1] if fine_enough else 0
    return ReadPlan(level=level, shrink=target / downsamples[level])
