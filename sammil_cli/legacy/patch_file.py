"""Coordinate files of CLAM, SAM-MIL, TRIDENT and STAMP: where patches are, and what the file says of them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.legacy.rows import as_coords, damaged, read_h5

_WIDEST = 1 << 20  # pixels of a patch's side; no slide is as wide


@dataclass(frozen=True, kw_only=True)
class PatchFile:
    """What a file says of its patches; None where it does not.

    `coords` (n, 2): level-0 corners, in µm where `unit_um`; `patch_px`, `patch_px_level0`: side at the level patches
    were cut at and at level 0; `side_um`: side in µm (STAMP); `overlap_px`: at the patches' own resolution (TRIDENT);
    `images`: how many patch images lie in it (CLAM before its fast pipeline); `magnification`: a name, no resolution.
    """

    coords: NDArray[np.float64]
    patch_px: int | None
    patch_px_level0: int | None
    level: int
    slide_size_px: tuple[int, int] | None
    side_um: float | None = None
    overlap_px: int = 0
    images: int = 0
    unit_um: bool = False
    magnification: float | None = None
    encoder: str | None = None

    @property
    def said(self) -> bool:
        """Whether the file says anything of its patches besides where they are."""
        return self.patch_px is not None or self.side_um is not None


def read_patch_file(path: Path) -> PatchFile:
    """Reads a coordinate file, or the `coords` of a feature file; images in it are counted, not read.

    CLAM says `patch_size` at `patch_level` and its `downsample`, and before its fast pipeline the shape of `imgs` does;
    TRIDENT says `patch_size_level0` too; STAMP writes µm with the file's attributes `unit` and `tile_size_um`.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    arrays, facts, shapes = read_h5(path, ("coords",))
    images = shapes.get("imgs", ())
    try:
        side = int(facts["patch_size"]) if "patch_size" in facts else None
        if side is None and len(images) == 4:
            side = int(images[1])
        level = int(facts.get("patch_level", 0))
        downsample = float(np.ravel(facts["downsample"])[0]) if "downsample" in facts else float(2**level)
        level0 = int(facts["patch_size_level0"]) if "patch_size_level0" in facts else None
        unit_um = _text(facts.get("unit")) == "um"
        side_um = float(facts["tile_size_um"]) if "tile_size_um" in facts else None
        if unit_um and side_um is None and "tile_size" in facts:
            side_um = float(facts["tile_size"])
        if unit_um and side is None and "tile_size_px" in facts:
            side = int(facts["tile_size_px"])
        overlap = int(facts.get("overlap", 0))
        magnification = float(facts["target_magnification"]) if "target_magnification" in facts else None
        size = _slide_size(facts)
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        raise damaged(path, f"its attributes are no numbers: {error}") from None
    if level0 is None and side is not None and not unit_um:
        if not math.isfinite(side * downsample) or side * downsample < 1:
            raise damaged(path, f"its patches have a side of {side} x {downsample} level-0 pixels")
        level0 = round(side * downsample)
    if any(number is not None and not 0 < number < _WIDEST for number in (level0, side, side_um)) or overlap < 0:
        raise damaged(path, f"its patches have a side of {side} pixels and an overlap of {overlap}")
    coords = as_coords(path, arrays["coords"], whole=not unit_um)
    if len(images) and images[0] != len(coords):
        raise damaged(path, f"it has {images[0]} images for {len(coords)} coordinates")
    return PatchFile(
        coords=coords,
        patch_px=side,
        patch_px_level0=level0,
        level=level,
        slide_size_px=size,
        side_um=side_um,
        overlap_px=overlap,
        images=int(images[0]) if len(images) else 0,
        unit_um=unit_um,
        magnification=magnification,
        encoder=_text(facts.get("encoder")) or _text(facts.get("extractor")),
    )


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


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
