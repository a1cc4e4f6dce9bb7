"""Coordinate files of CLAM, SAM-MIL, TRIDENT and STAMP: where patches are, and what the file says of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.legacy.h5_file import damaged, feature_sets, read_h5, text, um_per_unit
from sammil_cli.legacy.npy_file import SUFFIX, read_npy
from sammil_cli.legacy.rows import as_coords

_WIDEST = 1 << 20  # pixels of a patch's side; no slide is as wide
_STAMP_1 = "STAMP-extract"  # how the name of its extractor begins
_STAMP_1_PX, _STAMP_1_UM = 224, 256.0


@dataclass(frozen=True, kw_only=True)
class PatchFile:
    """What a file says of its patches; None where it does not.

    `coords` (n, 2): corners, in level-0 pixels or, where `um_per_unit` is a number, in units of that many µm (STAMP);
    `patch_px`, `patch_px_level0`: side at the level patches were cut at and at level 0; `side_um`: side in µm (STAMP);
    `overlap_px`: at the patches' own resolution (TRIDENT, AtlasPatch); `images`: how many patch images lie in it (CLAM
    before its fast pipeline); `magnification`: a name, no resolution. `remarks`: what was assumed.
    """

    coords: NDArray[np.float64]
    patch_px: int | None
    patch_px_level0: int | None
    level: int
    slide_size_px: tuple[int, int] | None
    side_um: float | None = None
    overlap_px: int = 0
    images: int = 0
    um_per_unit: float | None = None
    magnification: float | None = None
    encoder: str | None = None
    remarks: tuple[str, ...] = ()


def read_patch_file(path: Path) -> PatchFile:
    """Reads a coordinate file, or the `coords` of a feature file; images in it are counted, not read.

    CLAM says `patch_size` at `patch_level` and its `downsample`, and before its fast pipeline the shape of `imgs` does;
    TRIDENT and AtlasPatch say `patch_size_level0` too; an array of NumPy says nothing but the corners; STAMP writes µm
    with the file's attributes `unit` and `tile_size_um`, before version 2 pixels of a picture in which 224 pixels are
    256 µm (`_of_stamp_1`).

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`; `E_LEGACY_MISMATCH`, it says of itself what it is not.
    """
    if path.suffix.lower() == SUFFIX:
        corners = as_coords(path, read_npy(path))
        return PatchFile(coords=corners, patch_px=None, patch_px_level0=None, level=0, slide_size_px=None)
    arrays, facts, shapes = read_h5(path, ("coords",))
    images = shapes.get("imgs", ())
    unit = um_per_unit(path, facts)
    coords = as_coords(path, arrays["coords"], whole=unit is None)
    remarks: tuple[str, ...] = ()
    if unit is None and _of_stamp_1(path, coords, facts, shapes):
        unit = _STAMP_1_UM / _STAMP_1_PX
        facts = {**facts, "tile_size_um": _STAMP_1_UM, "tile_size_px": _STAMP_1_PX}
        remarks = (
            "coordinates are on STAMP 1's step of 224, which stands for 256 µm, and taken as x, y; files that STAMP 1 "
            "made of a cached picture have y first: compare a heatmap",
        )
    try:
        side = int(facts["patch_size"]) if "patch_size" in facts else None
        if side is None and len(images) == 4:
            side = int(images[1])
        level = int(facts.get("patch_level", 0))
        downsample = float(np.ravel(facts["downsample"])[0]) if "downsample" in facts else float(2**level)
        level0 = int(facts["patch_size_level0"]) if "patch_size_level0" in facts else None
        side_um = float(facts["tile_size_um"]) if "tile_size_um" in facts else None
        if unit is not None and side_um is None and "tile_size" in facts:
            side_um = float(facts["tile_size"])
        if unit is not None and side is None and "tile_size_px" in facts:
            side = int(facts["tile_size_px"])
        overlap = int(facts.get("overlap", 0))
        magnification = float(facts["target_magnification"]) if "target_magnification" in facts else None
        size = _slide_size(facts)
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        raise damaged(path, f"its attributes are no numbers: {error}") from None
    if level0 is None and side is not None and unit is None:
        if not math.isfinite(side * downsample) or side * downsample < 1:
            raise _senseless(path, f"a side of {side} x {downsample} level-0 pixels")
        level0 = round(side * downsample)
    for number, what in ((side, "pixels"), (level0, "level-0 pixels"), (side_um, "µm")):
        if number is not None and not 0 < number < _WIDEST:
            raise _senseless(path, f"a side of {number} {what}")
    if overlap < 0:
        raise _senseless(path, f"an overlap of {overlap} pixels")
    if len(images) and images[0] != len(coords):
        raise damaged(path, f"it has {images[0]} images for {len(coords)} coordinates")
    groups = [name for name, place in feature_sets(shapes).items() if name != place]
    return PatchFile(
        coords=coords,
        patch_px=side,
        patch_px_level0=level0,
        level=level,
        slide_size_px=size,
        side_um=side_um,
        overlap_px=overlap,
        images=int(images[0]) if len(images) else 0,
        um_per_unit=unit,
        magnification=magnification,
        encoder=text(facts.get("encoder")) or text(facts.get("extractor")) or (groups[0] if len(groups) == 1 else None),
        remarks=remarks,
    )


def _senseless(path: Path, what: str) -> SlideError:
    return SlideError(
        "E_LEGACY_DAMAGED",
        f"{path} cannot be read: its patches have {what}",
        remedy="mend the file's attributes, or extract the slide again",
    )


def _of_stamp_1(
    path: Path, coords: NDArray[np.float64], facts: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]
) -> bool:
    """Whether coordinates without a unit are STAMP 1's: its features' name, and its step of 224 or its name.

    Without either mark 224 may be anybody's level-0 pixels.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, STAMP 1 is named, and the step is another.
    """
    if "feats" not in shapes or {"unit", "patch_size", "patch_size_level0"} & set(facts):
        return False
    named = (text(facts.get("extractor")) or "").startswith(_STAMP_1)
    on_step = not (coords % _STAMP_1_PX).any()
    if named and not on_step:
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{path} names {text(facts['extractor'])}, whose coordinates are multiples of 224, and these are not",
            remedy="extract the features of this slide again; as a bag without places: --no-coords",
        )
    return named or (on_step and smallest_step(coords) == _STAMP_1_PX)


def smallest_step(xy: NDArray[Any]) -> int | None:
    """The smallest distance between neighbours in a row or a column of patches; None where no two share one.

    Only in a row or column: pieces of tissue have grids of their own, whose columns may lie a pixel apart.
    """
    steps = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((xy[:, along], xy[:, across]))
        line = xy[order]
        gap = np.diff(line[:, along])[np.diff(line[:, across]) == 0]
        steps += gap[gap > 0].tolist()
    return int(min(steps)) if steps else None


def read_images(path: Path, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some of the patch images (k, h, w, 3) that an old CLAM file holds, at rising positions.

    Raises:
        SlideError: `E_LEGACY_DAMAGED`.
    """
    arrays, _, _ = read_h5(path, ("imgs",), rows=chosen)
    images = arrays["imgs"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (3, 4):
        raise damaged(path, f"its imgs have the shape {images.shape} and type {images.dtype}, not RGB")
    return np.asarray(images[..., :3], np.uint8)


def _slide_size(facts: dict[str, Any]) -> tuple[int, int] | None:
    """Level-0 width and height: TRIDENT says it, and CLAM's `level_dim` does where patches are of level 0."""
    if "level0_width" in facts and "level0_height" in facts:
        return int(facts["level0_width"]), int(facts["level0_height"])
    if int(facts.get("patch_level", -1)) == 0 and "level_dim" in facts:
        width, height = (int(side) for side in np.ravel(facts["level_dim"]))
        return width, height
    return None
