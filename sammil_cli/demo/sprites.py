"""Cells drawn once per slide, to be stamped thousands of times: optical density in hundredths, uint8."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
ANGLES = 16


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Banks of square, odd-sided sprites. `spindle` and `columnar` are ordered by angle: index // variants."""

    lymphocyte: list[Plane]
    spindle: list[Plane]
    columnar: list[Plane]
    tumour: list[Plane]
    giant: list[Plane]
    erythrocyte: list[Plane]

    @classmethod
    def draw(cls, rng: Generator, scale: float, grade: float) -> "Cells":
        """Half-axes are pixels at 0.5 um per pixel: a lymphocyte is 7 um across, a tumour nucleus 8-17 um.

        `scale` enlarges every nucleus of the slide, `grade` those of the tumour alone.
        """
        turns = np.arange(ANGLES) * np.pi / ANGLES
        return cls(
            lymphocyte=[
                _nucleus(rng, s, s * rng.uniform(0.85, 1), rng.uniform(0, 3), density=145, rim=0.05, rough=0.025)
                for s in scale * rng.uniform(5.8, 7.4, 24)
            ],
            spindle=[
                _nucleus(rng, scale * rng.uniform(9, 13), scale * rng.uniform(2.4, 3.6), a, density=115, rim=0.1)
                for a in np.repeat(turns, 4)
            ],
            columnar=[
                _nucleus(
                    rng, scale * rng.uniform(8.5, 10.5), scale * rng.uniform(5, 6), a, density=118, rim=0.25, rough=0.03
                )
                for a in np.repeat(turns, 4)
            ],
            tumour=[_atypical(rng, scale * grade * size) for size in rng.uniform(9.5, 17, 96)],
            giant=[_atypical(rng, scale * size) for size in rng.uniform(14, 18, 12)],
            erythrocyte=[_disc(size) for size in rng.uniform(5.5, 7, 6)],
        )


def stamp(plane: Plane, bank: list[Plane], points: NDArray[np.float64], which: NDArray[np.int64]) -> None:
    """Darken `plane` in place with sprite `which[i]` around `points[i]` (x, y), unless it would cross the border."""
    height, width = plane.shape
    for (x, y), index in zip(points.astype(int).tolist(), which.tolist(), strict=True):
        sprite = bank[index]
        half = sprite.shape[0] // 2
        if x < half or y < half or x + half >= width or y + half >= height:
            continue
        spot = plane[y - half : y + half + 1, x - half : x + half + 1]
        np.maximum(spot, sprite, out=spot)


def by_angle(angle: NDArray[np.float64], rng: Generator, variants: int = 4) -> NDArray[np.int64]:
    """Indices into an angle-ordered bank for angles (n,) in radians, a random variant each."""
    turn = np.round(np.asarray(angle) / np.pi * ANGLES).astype(np.int64) % ANGLES
    return turn * variants + rng.integers(0, variants, turn.shape)


def _nucleus(
    rng: Generator, long_px: float, short_px: float, angle: float, *, density: float, rim: float, rough: float = 0.06
) -> Plane:
    """An ellipse with an uneven outline, grainy chromatin and a `rim` (0..1) darker than its inside."""
    half = int(long_px * 1.35) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along = (x * np.cos(angle) + y * np.sin(angle)) / long_px
    across = (-x * np.sin(angle) + y * np.cos(angle)) / short_px
    turn = np.arctan2(across, along)
    outline = np.ones_like(turn)
    for order in (2, 3, 4, 5):
        outline += rng.normal(0, rough) * np.cos(order * turn + rng.uniform(0, 2 * np.pi))
    depth = (1 - np.hypot(along, across) / outline) * short_px  # px inside the outline, roughly
    inside = np.clip(depth / 1.6 + 0.5, 0, 1)
    grain = cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), 1.1)
    grain /= grain.std() + 1e-6
    membrane = np.exp(-(((depth - 0.8) / 1.3) ** 2))
    body = density * rng.uniform(0.88, 1.12) * (1 - rim + rim * membrane + 0.09 * grain)
    return np.asarray(np.clip(inside * body, 0, 240), np.uint8)


def _atypical(rng: Generator, long_px: float) -> Plane:
    """A large vesicular nucleus: bent outline, clumped chromatin, dark rim, one to three nucleoli."""
    short_px = long_px * rng.uniform(0.55, 0.95)
    density = float(rng.uniform(100, 155))
    nucleus = _nucleus(
        rng, long_px, short_px, rng.uniform(0, np.pi), density=density, rim=rng.uniform(0.3, 0.55), rough=0.05
    ).astype(np.float32)
    half = nucleus.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    for _ in range(rng.integers(1, 4)):
        dx, dy = rng.normal(0, short_px * 0.3, 2)
        spot = np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * rng.uniform(1.3, 2.2) ** 2))
        nucleus += (nucleus > 25) * spot * rng.uniform(50, 90)
    return np.asarray(np.clip(nucleus, 0, 240), np.uint8)


def _disc(radius_px: float) -> Plane:
    half = int(radius_px) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    distance = np.hypot(x, y)
    body = 95 - 25 * np.exp(-((distance / (0.45 * radius_px)) ** 2))  # biconcave: paler in the middle
    return np.asarray((np.clip(radius_px - distance + 0.5, 0, 1) * body), np.uint8)
