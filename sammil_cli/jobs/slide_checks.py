"""The slide behind old files, held against the patches that were converted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.config import ExtractSettings
from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.encoder import Encoder
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.legacy import slide_check
from sammil_cli.legacy.patch_file import read_patch_file
from sammil_cli.legacy.rows import Floats
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide


@dataclass(frozen=True, kw_only=True)
class SlideChecks:
    """How bags are held against their slide: how many patches are read again, how many encoded anew, and by what."""

    patches: int = 8
    features: int = 0
    encoder: ExtractSettings | None = None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Old patches at their places: corners xy (n, 2), side in level-0 pixels and as stored; features (n, d) if any.

    `coords`: the old coordinate file, which may say the slide's size and hold images.
    """

    xy: NDArray[np.int32]
    level0_px: int
    patch_px: int
    coords: Path | None
    features: Floats | None = None


def check_bag(slide: Slide | None, bag: FeatureBag, coords: Path | None, checks: SlideChecks) -> list[str]:
    """Holds a bag against its slide, where that is there; see `check`."""
    if slide is None or (bag.xy < 0).all():
        return []
    side = bag.encoder.patch_px_level0
    placed = Placed(
        xy=bag.xy, level0_px=side, patch_px=bag.encoder.patch_px or side, coords=coords, features=bag.features
    )
    return check(slide, placed, checks)


def check(slide: Slide, placed: Placed, checks: SlideChecks) -> list[str]:
    """Holds patches against their slide; returns what was seen.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, they are of another slide.
    """
    xy, coords = placed.xy, placed.coords
    file = read_patch_file(coords) if coords is not None and coords.exists() else None
    slide_check.check_size(slide, xy, file.slide_size_px if file else None, str(coords))
    if not checks.patches:
        return []
    chosen = slide_check.spread(len(xy), checks.patches)
    images = slide_check.read_patches(slide, xy[chosen], placed.level0_px, placed.patch_px)
    remarks = [slide_check.check_glass(images)]
    if coords is not None and file is not None and file.images:
        # A grid is sorted anew, so the images are found by their corner.
        place = {(int(x), int(y)): number for number, (x, y) in enumerate(file.coords)}
        stored = sorted((place[int(x), int(y)], number) for number, (x, y) in enumerate(xy[chosen].tolist()))
        order = np.array([at for at, _ in stored], np.int64)
        remarks.append(slide_check.check_images(coords, [images[number] for _, number in stored], order))
    if placed.features is not None and checks.features and checks.encoder:
        some = slide_check.spread(len(xy), checks.features)
        encoder = build_encoder(checks.encoder, "cpu")
        reread = slide_check.read_patches(slide, xy[some], placed.level0_px, placed.patch_px)
        remarks.append(slide_check.check_features(placed.features[some], reread, _encode(encoder), encoder.name))
    return remarks


def _encode(encoder: Encoder) -> Callable[[list[RGB]], NDArray[np.float32]]:
    return lambda images: encoder.encode(np.stack([encoder.prepare(image) for image in images]))
