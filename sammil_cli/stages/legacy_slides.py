"""The slide behind old files: opened where it is there, and held against the patches that were converted."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.encoder import Encoder
from sammil_cli.legacy import slide_check
from sammil_cli.legacy.patch_file import read_patch_file
from sammil_cli.legacy.rows import Floats
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import RGB, Slide

Build = tuple[str, tuple[tuple[str, Any], ...]]  # an encoder's name, and what makes it

_ANY_MPP = 1.0  # pixels are read by their number, so this changes nothing
_UNKNOWN = "not known"


def open_or_none(path: Path | None, mpp: float | None) -> tuple[Slide | None, list[str]]:
    """The slide where it is there; one that does not say its resolution is opened all the same, to compare pixels."""
    if path is None:
        return None, []
    try:
        return open_slide(path, mpp), []
    except SlideError as error:
        if error.code != "E_MPP":
            raise
    slide = open_slide(path, _ANY_MPP)
    note = "the slide does not say its resolution: areas in µm² and the patches' resolution are unknown"
    return Slide(slide_id=slide.slide_id, path=path, reader=slide.reader, mpp=_ANY_MPP, mpp_source=_UNKNOWN), [note]


def known_mpp(slide: Slide | None, given: float | None) -> float | None:
    """µm per level-0 pixel: the slide's, else the one that was given."""
    return given if slide is None or slide.mpp_source == _UNKNOWN else slide.mpp


def check_bag(
    slide: Slide | None, bag: FeatureBag, coords: Path | None, patches: int, features: int, build: Build | None
) -> list[str]:
    """Holds a bag against its slide, where that is there; see `check`."""
    if slide is None or (bag.xy < 0).all():
        return []
    side = bag.encoder.patch_px_level0
    return check(slide, bag.xy, side, bag.encoder.patch_px or side, coords, bag.features, patches, features, build)


def check(
    slide: Slide,
    xy: NDArray[np.int32],
    level0_px: int,
    patch_px: int,
    coords: Path | None,
    features: Floats | None,
    patches: int,
    encoded: int,
    build: Build | None,
) -> list[str]:
    """Holds patches against their slide; returns what was seen.

    Args:
        coords: the old coordinate file, which may say the slide's size and hold images.
        patches: how many are read again. encoded: how many are encoded anew, by the encoder that `build` makes.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, they are of another slide.
    """
    file = read_patch_file(coords) if coords is not None and coords.exists() else None
    slide_check.check_size(slide, xy, file.slide_size_px if file else None, str(coords))
    if not patches:
        return []
    chosen = slide_check.spread(len(xy), patches)
    images = slide_check.read_patches(slide, xy[chosen], level0_px, patch_px)
    notes = [slide_check.check_glass(images)]
    if coords is not None and file is not None and file.images:
        # A grid is sorted anew, so the images are found by their corner.
        place = {(int(x), int(y)): number for number, (x, y) in enumerate(file.coords)}
        stored = sorted((place[int(x), int(y)], number) for number, (x, y) in enumerate(xy[chosen].tolist()))
        order = np.array([at for at, _ in stored], np.int64)
        notes.append(slide_check.check_images(coords, [images[number] for _, number in stored], order))
    if features is not None and encoded and build:
        some = slide_check.spread(len(xy), encoded)
        encoder = build_encoder(build)
        reread = slide_check.read_patches(slide, xy[some], level0_px, patch_px)
        notes.append(slide_check.check_features(features[some], reread, _encode(encoder), encoder.name))
    return notes


@lru_cache(maxsize=1)
def build_encoder(build: Build) -> Encoder:
    """One encoder per worker process."""
    name, arguments = build
    encoder: Encoder = choices.load(choices.ENCODERS, name).build(**dict(arguments))
    return encoder


def _encode(encoder: Encoder) -> Callable[[list[RGB]], NDArray[np.float32]]:
    return lambda images: encoder.encode(np.stack([encoder.prepare(image) for image in images]))
