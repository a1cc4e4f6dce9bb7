"""Which patches lie in which regions, as a sparse table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Sparse patch-region membership, region by region: region r holds `patch[start[r]:start[r + 1]]`.

    `start` (m + 1,) int64, `patch` (k,) int32, rising inside a region. A patch may lie in several regions.
    """

    start: NDArray[np.int64]
    patch: NDArray[np.int32]

    @property
    def size(self) -> NDArray[np.int64]:
        """(m,) member patches of each region."""
        return np.diff(self.start)
