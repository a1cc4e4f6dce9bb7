"""Evidence as a pyramidal OME-TIFF in the slide's own frame, to be laid over it; written tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import tifffile

from sammil_cli.report.colours import evidence_colours
from sammil_cli.report.patch_paint import strongest
from sammil_cli.report.scales import Values, evidence_place
from sammil_cli.slides.pixels import GLASS, RGB

TILE_PX = 256

_SMALLEST_PX = 256  # the last level's longer side is this at most
_SOFTWARE = "sammil"


@dataclass(frozen=True, kw_only=True)
class EvidencePicture:
    """Evidence (n,) for the class `shown` of `classes`, of patches at level-0 corners `xy` (n, 2) of a side `side`.

    `size_px`: width and height of the slide's level 0, `slide_mpp`: µm per pixel of it; `mpp`: of the picture.
    """

    xy: Values
    side: float
    evidence: Values
    shown: str
    classes: int
    size_px: tuple[int, int]
    slide_mpp: float
    mpp: float


def write_evidence_tiff(path: Path, picture: EvidencePicture) -> None:
    """Writes RGB tiles in the colours of the picture's evidence, white beside the patches, and coarser levels.

    Each level is painted from the patches: where several share a pixel, what says most shows, so that no small focus is
    averaged away. No more than a tile is held at once.
    """
    factors = _factors(picture)
    sizes = [_size(picture, factor) for factor in factors]
    um = picture.slide_mpp * factors[0]
    facts = {
        "axes": "YXS",
        "UUID": str(uuid5(NAMESPACE_OID, sha256(picture.evidence.tobytes()).hexdigest())),  # not the time: same bytes
        "Name": f"evidence for {picture.shown}, 0 to 1, not calibrated",
        **{f"PhysicalSize{axis}": um for axis in "XY"},
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XY"},
    }
    with tifffile.TiffWriter(path, ome=True, bigtiff=False) as out:
        for level, (factor, (width, height)) in enumerate(zip(factors, sizes, strict=True)):
            first = level == 0
            out.write(
                _tiles(picture, factor, (width, height)),
                shape=(height, width, 3),
                dtype="uint8",
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                resolution=(1e4 / (picture.slide_mpp * factor),) * 2,
                resolutionunit="CENTIMETER",
                software=_SOFTWARE,
                subifds=len(factors) - 1 if first else None,
                subfiletype=0 if first else 1,
                metadata=facts if first else None,
            )


def _factors(picture: EvidencePicture) -> list[float]:
    """Level-0 pixels of the slide per pixel of each level."""
    factors = [max(1.0, picture.mpp / picture.slide_mpp)]
    while max(_size(picture, factors[-1])) > _SMALLEST_PX:
        factors.append(2 * factors[-1])
    return factors


def _size(picture: EvidencePicture, factor: float) -> tuple[int, int]:
    width, height = (max(1, round(side / factor)) for side in picture.size_px)
    return width, height


def _tiles(picture: EvidencePicture, factor: float, size: tuple[int, int]) -> Iterator[RGB]:
    places = evidence_place(picture.evidence, picture.classes)
    strength, colours = np.abs(places - 0.5), evidence_colours(places)
    low, side = picture.xy / factor, picture.side / factor
    for top in range(0, size[1], TILE_PX):
        in_row = np.flatnonzero((low[:, 1] < top + TILE_PX) & (low[:, 1] + max(side, 1) + 1 > top))
        for left in range(0, size[0], TILE_PX):
            x = low[in_row, 0]
            here = in_row[(x < left + TILE_PX) & (x + max(side, 1) + 1 > left)]
            yield _tile(low[here] - (left, top), side, strength[here], colours[here])


def _tile(xy: Values, side: float, strength: Values, colours: RGB) -> RGB:
    tile = np.full((TILE_PX, TILE_PX, 3), GLASS, np.uint8)
    shown = strongest((TILE_PX, TILE_PX), xy, side, strength)
    there = shown >= 0
    tile[there] = colours[shown[there]]
    return tile
