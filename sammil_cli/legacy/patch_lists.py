"""DTFD-style pickles: a dictionary of slides, each a list of patches with their features and file names."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.legacy.rows import Floats, narrow
from sammil_cli.legacy.unpickler import read_pickles

_MAX_BYTES = 32 << 30  # such a file holds a cohort
_MAX_STEPS = 500_000_000
# <slide>_<x>_<y>_<column>_<row>_WW_<columns>_HH_<rows>.png, level-0 pixels: what DTFD's patch script names its images.
_PLACE = re.compile(r"_(\d+)_(\d+)_(\d+)_(\d+)_WW_\d+_HH_\d+(?:\.\w+)?$")


@dataclass(frozen=True, kw_only=True)
class PatchList:
    """One slide's features (n, d); corners (n, 2) in level-0 pixels and side where the patches' names say them."""

    features: Floats
    xy: NDArray[np.int32] | None
    side_px0: int | None


def read_patch_lists(path: Path) -> dict[str, PatchList]:
    """Reads every slide of the file, which takes about as much memory as the file is long.

    Raises:
        UnsafePickleError: it asks for more than data and arrays; nothing was run.
        InputError: damaged, or something else.
    """
    slides: dict[str, PatchList] = {}
    for content in read_pickles(path, max_bytes=_MAX_BYTES, max_steps=_MAX_STEPS):
        if not isinstance(content, dict):
            raise _no_lists(path, f"it holds a {type(content).__name__}")
        for slide, patches in content.items():
            if not isinstance(slide, str) or slide != Path(slide).name or slide in ("", ".", ".."):
                raise _no_lists(path, f"{slide!r} is no slide id")
            if slide in slides:
                raise _no_lists(path, f"slide {slide!r} appears twice")
            try:
                slides[slide] = _patch_list(patches)
            except (KeyError, ValueError, TypeError) as error:
                raise _no_lists(path, f"slide {slide!r}: {error}") from None
    return slides


def _patch_list(patches: Any) -> PatchList:
    if not isinstance(patches, list) or not patches or not all(isinstance(patch, dict) for patch in patches):
        raise ValueError("it is no list of patches")
    features = np.stack([np.asarray(patch["feature"]).reshape(-1) for patch in patches])
    if not np.issubdtype(features.dtype, np.floating):
        raise ValueError(f"its features are {features.dtype}")
    found = [_PLACE.search(str(patch.get("file_name", ""))) for patch in patches]
    places = [tuple(int(number) for number in match.groups()) for match in found if match]
    if len(places) < len(patches):
        return PatchList(features=narrow(features), xy=None, side_px0=None)
    # The name holds pixels and grid numbers: their ratio is the step, which is the side of patches without overlap.
    pairs = [pair for x, y, column, row in places for pair in ((x, column), (y, row))]
    exact = all(at % number == 0 if number else at == 0 for at, number in pairs)
    steps = {at // number for at, number in pairs if number}
    xy = np.array([(x, y) for x, y, _, _ in places], np.int64)
    if xy.max() >= 2**31:
        raise ValueError("its patches lie beyond any slide")
    return PatchList(
        features=narrow(features), xy=xy.astype(np.int32), side_px0=steps.pop() if exact and len(steps) == 1 else None
    )


def _no_lists(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is no pickle of patch lists: {reason}", remedy="write one h5 file a slide: features and coords"
    )
