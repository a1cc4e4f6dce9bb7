"""A bag on a grid of patches, with regions as sets of patches."""

from collections.abc import Sequence

import numpy as np

from sammil_cli.features.bag import EncoderFacts, FeatureBag, mean_group_features
from sammil_cli.regions.members import smallest_region
from sammil_cli.regions.membership import Membership


def placed_bag(columns: int, rows: int, regions: Sequence[Sequence[int]], *, dim: int = 3) -> FeatureBag:
    """Patches of 128 level-0 pixels at 0.5 µm per pixel, row by row, with features of noise."""
    count = columns * rows
    features = np.random.default_rng(1).standard_normal((count, dim)).astype(np.float32)
    members = Membership(
        start=np.cumsum([0, *map(len, regions)], dtype=np.int64),
        patch=np.array([patch for region in regions for patch in region], np.int32),
    )
    means, group_region = mean_group_features(features, members)
    area = np.array([10 * len(region) for region in regions], np.int64)
    corners = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    return FeatureBag(
        slide_id="s",
        features=features,
        xy=(128 * corners).astype(np.int32),
        region=smallest_region(members, area, count),
        region_area=area,
        region_area_um2=area * 100.0,
        group_features=means,
        group_region=group_region,
        members=members,
        encoder=EncoderFacts(
            name="texture", weights_sha256=None, dim=dim, patch_px=128, patch_mpp=0.5, patch_px_level0=128
        ),
    )
