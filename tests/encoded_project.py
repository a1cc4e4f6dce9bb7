"""A project whose slides are encoded already: small bags of noise, in which every other slide has a signal."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.regions.membership import Membership

SLIDES = [f"slide_{i:02}" for i in range(12)]
DIM, PATCHES, REGIONS = 6, 24, 3


def write_random_bag(path: Path, slide: str, seed: int) -> None:
    """A bag of noise; in slides of an odd number, five patches are far off."""
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((PATCHES, DIM)).astype(np.float32)
    features[: 5 * (int(slide[-2:]) % 2), 2] += 4
    region = generator.integers(-1, REGIONS, PATCHES).astype(np.int32)
    members = [np.flatnonzero(region == r).astype(np.int32) for r in range(REGIONS)]
    write_bag(
        path / f"{slide}.h5",
        FeatureBag(
            slide_id=slide,
            features=features,
            xy=np.stack([np.arange(PATCHES), np.arange(PATCHES)], 1).astype(np.int32) * 128,
            region=region,
            region_area=np.array([40, 6000, 30_000]),
            region_area_um2=np.array([40.0, 6000.0, 30_000.0]),
            group_features=generator.standard_normal((REGIONS, DIM)).astype(np.float32),
            group_region=np.arange(REGIONS, dtype=np.int32),
            members=Membership(
                start=np.cumsum([0, *map(len, members)], dtype=np.int64), patch=np.concatenate(members).astype(np.int32)
            ),
            encoder=EncoderFacts(
                name="texture", weights_sha256=None, dim=DIM, patch_px=128, patch_mpp=1.0, patch_px_level0=128
            ),
        ),
        {"step": "extract"},
    )


def make_project(folder: Path, settings: dict[str, Any]) -> Path:
    """A project whose slides are encoded already."""
    (folder / "artifacts/bags").mkdir(parents=True)
    (folder / "data").mkdir()
    for number, slide in enumerate(SLIDES):
        write_random_bag(folder / "artifacts/bags", slide, number)
    rows = [f"{slide},{('normal', 'tumour')[int(slide[-2:]) % 2]}" for slide in SLIDES]
    (folder / "data/labels.csv").write_text("\n".join(["slide_id,label", *rows, ""]), encoding="utf-8")
    write_settings(folder, settings)
    return folder


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
