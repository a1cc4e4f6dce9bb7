"""The golden input on disk, as a bag without regions."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.regions.membership import Membership


def write_golden_bag(path: Path, features: NDArray[Any], xy: NDArray[np.int32], *, patch_px: int) -> None:
    """A bag of features (n, d) at xy (n, 2), of an encoder that published weights know nothing of."""
    count, dim = features.shape
    bag = FeatureBag(
        slide_id=path.stem,
        features=features.astype(np.float32),
        xy=xy,
        region=np.full(count, -1, np.int32),
        region_area=np.empty(0, np.int64),
        region_area_um2=np.empty(0),
        group_features=np.empty((0, dim), np.float32),
        group_region=np.empty(0, np.int32),
        members=Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32)),
        encoder=EncoderFacts(
            name="resnet50",
            weights_sha256="0" * 64,
            dim=dim,
            patch_px=patch_px,
            patch_mpp=0.5,
            patch_px_level0=patch_px,
        ),
    )
    write_bag(path, bag, {})
