"""A number and its interval."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float
