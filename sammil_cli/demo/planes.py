"""Large planes in stripes: coarse fields brought to level 0, wrapping noise, grey-level curves.

Planes are uint8 in hundredths of optical density, so that drawing is cheap and a stain is one table look-up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sammil_cli.demo.layout import CELL_PX, Floats
from sammil_cli.demo.sprites import Cells, Plane

STRIPE_PX = 512
TILE_PX = 1024


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What everything is drawn on and with: both planes (height, width), the slide's cells and its random numbers."""

    h: Plane
    e: Plane
    cells: Cells
    rng: Generator


def stripes(height: int) -> Iterator[tuple[int, int]]:
    """(top, bottom) of each stripe of a plane."""
    yield from ((top, min(top + STRIPE_PX, height)) for top in range(0, height, STRIPE_PX))


def upsampled(field: NDArray[np.float32] | NDArray[np.uint8], top: int, bottom: int, width: int) -> Floats:
    """Rows top..bottom of a coarse field at level 0, bilinear, the same whatever the stripe."""
    back = np.array([[1 / CELL_PX, 0, 0.5 / CELL_PX - 0.5], [0, 1 / CELL_PX, (top + 0.5) / CELL_PX - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (width, bottom - top)
    return np.asarray(cv2.warpAffine(field, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def tile(rng: Generator, along_px: float, across_px: float) -> Plane:
    """Wrapping noise (TILE_PX, TILE_PX), mean 128, sd 50, correlated over `along_px` in x and `across_px` in y."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE_PX, TILE_PX), dtype=np.float32))
    fy = np.fft.fftfreq(TILE_PX)[:, None] * across_px
    fx = np.fft.rfftfreq(TILE_PX)[None] * along_px
    field = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * (fx**2 + fy**2)), s=(TILE_PX, TILE_PX))
    return np.asarray(np.clip(128 + 50 * field / field.std(), 0, 255), np.uint8)


def tiled(noise: Plane, top: int, bottom: int, width: int) -> Plane:
    """Rows top..bottom of a plane paved with a tile."""
    rows = np.arange(top, bottom) % TILE_PX
    repeated: Plane = np.tile(noise[rows], (1, -(-width // TILE_PX)))[:, :width]
    return repeated


def curve(points: list[tuple[int, float]]) -> Plane:
    """A look-up table (256,) through the points (grey, value)."""
    x, y = zip(*points, strict=True)
    return np.asarray(np.clip(np.interp(np.arange(256), x, y), 0, 255), np.uint8)
