"""What joins a slide's patches to its regions, however the older run kept it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.legacy.rows import Floats
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import RegionMap


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The region parts of a `FeatureBag`: n patches, m regions, g group features; `regions` where masks are there."""

    region: NDArray[np.int32]  # (n,)
    area: NDArray[np.int64]  # (m,)
    area_um2: NDArray[np.float64]  # (m,)
    features: Floats  # (g, d)
    group_region: NDArray[np.int32]  # (g,)
    members: Membership
    regions: RegionMap | None
