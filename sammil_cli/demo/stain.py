"""Colour: a slide's dyes, the section's thickness and folds, focus, camera grain, and a pen mark."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sammil_cli.demo.layout import CELL_PX, Floats, Layout, smooth_noise
from sammil_cli.demo.planes import TILE_PX, Canvas, stripes, tiled, upsampled

GRAIN = 4  # mean of the camera grain in hundredths of optical density; staining takes it off again
# Unit vectors of optical density (red, green, blue), Macenko's reference stains.
HAEMATOXYLIN = np.array([0.5626, 0.7201, 0.4062])
EOSIN = np.array([0.2159, 0.8012, 0.5581])


@dataclass(frozen=True, kw_only=True)
class Stain:
    """One slide's dyes: gains of the densities, hue shifts of both vectors (3,), white point (3,), blur in px."""

    haematoxylin_gain: float
    eosin_gain: float
    haematoxylin_shift: NDArray[np.float64]
    eosin_shift: NDArray[np.float64]
    glass: NDArray[np.float64]
    blur_px: float

    @classmethod
    def draw(cls, rng: Generator) -> "Stain":
        """Drawn without knowing the label, so colour is no shortcut."""
        return cls(
            haematoxylin_gain=float(np.exp(rng.normal(0, 0.16))),
            eosin_gain=float(np.exp(rng.normal(0, 0.2))),
            haematoxylin_shift=rng.normal(0, 0.035, 3),
            eosin_shift=rng.normal(0, 0.04, 3),
            glass=rng.uniform([240, 239, 241], [247, 246, 248]),
            blur_px=rng.uniform(0.45, 0.85),
        )

    def table(self) -> NDArray[np.uint32]:
        """(65536,) packed R, G, B of each pair haematoxylin * 256 + eosin."""
        h_vector = np.abs(HAEMATOXYLIN + self.haematoxylin_shift)
        e_vector = np.abs(EOSIN + self.eosin_shift)
        density = (np.arange(256) - GRAIN) / 100
        h = density[:, None, None] * self.haematoxylin_gain * h_vector / np.linalg.norm(h_vector)
        e = density[None, :, None] * self.eosin_gain * e_vector / np.linalg.norm(e_vector)
        rgb = np.clip(self.glass * np.exp(-1.15 * (h + e)) + 0.5, 0, 255).astype(np.uint8)
        packed = np.zeros((256, 256, 4), np.uint8)
        packed[..., :3] = rgb
        return packed.view(np.uint32).reshape(-1)


def stained(canvas: Canvas, layout: Layout, stain: Stain, *, fold: bool) -> NDArray[np.uint8]:
    """Section thickness, fold, focus and camera grain, then colour."""
    h, e, rng, shape = canvas.h, canvas.e, canvas.rng, layout.depth_px.shape
    thickness = 1 + 0.06 * smooth_noise(rng, shape, 40)
    if fold:
        thickness *= _fold(layout, rng)
    thickness = np.clip(thickness * 100, 0, 255).astype(np.float32)
    table = stain.table()
    grains = [np.clip(rng.normal(GRAIN, 1.1, (TILE_PX, TILE_PX)), 0, 12).astype(np.uint8) for _ in "he"]
    # A nucleus holds little eosin.
    cv2.addWeighted(e, 1, h, -0.28, 0, dst=e)
    for plane in (h, e):
        cv2.GaussianBlur(plane, (0, 0), stain.blur_px, dst=plane)
    rgb = np.empty((layout.height_px, layout.width_px, 3), np.uint8)
    for top, bottom in stripes(layout.height_px):
        gain = upsampled(thickness, top, bottom, layout.width_px).astype(np.uint8)
        density = np.zeros((bottom - top, layout.width_px), np.uint16)
        for plane, grain in zip((h, e), grains, strict=True):
            part = cv2.multiply(plane[top:bottom], gain, scale=1 / 100)
            density <<= 8
            density |= np.asarray(cv2.add(part, tiled(grain, top, bottom, layout.width_px)), np.uint8)
        packed = table[density]
        rgb[top:bottom] = packed.view(np.uint8).reshape(*packed.shape, 4)[..., :3]
    return rgb


def draw_pen(layout: Layout, rng: Generator, rgb: NDArray[np.uint8]) -> None:
    """A stroke of marker over part of the tissue's edge, darker where it overlaps itself."""
    edge = np.argwhere(np.abs(layout.depth_px) < CELL_PX)
    if not len(edge):
        return
    row, column = edge[rng.integers(len(edge))] * CELL_PX
    ink = [(0.25, 0.62, 0.45), (0.25, 0.38, 0.75), (0.2, 0.2, 0.24)][rng.integers(3)]
    angle = np.linspace(0, rng.uniform(2.5, 5), 60) + rng.uniform(0, 6)
    reach = rng.uniform(0.10, 0.16) * min(layout.width_px, layout.height_px)
    bent = reach * (1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6)))
    path = np.stack([column + bent * np.cos(angle), row + bent * np.sin(angle)], axis=1)
    shape = (-(-layout.height_px // CELL_PX), -(-layout.width_px // CELL_PX))
    stroke: Floats = np.zeros(shape, np.float32)
    thick = max(3, int(min(layout.width_px, layout.height_px) / 60 / CELL_PX))
    cv2.polylines(stroke, [np.round(path / CELL_PX).astype(np.int32)], False, 1.0, thick, cv2.LINE_AA)
    stroke = np.asarray(cv2.GaussianBlur(stroke, (0, 0), 0.9), np.float32)
    stroke *= 0.9 + 0.08 * smooth_noise(rng, shape, 4)
    for top, bottom in stripes(layout.height_px):
        alpha = upsampled(stroke, top, bottom, layout.width_px)[..., None]
        if alpha.any():
            part = rgb[top:bottom]
            part[:] = np.clip(part * (1 - alpha * (1 - np.array(ink, np.float32))), 0, 255).astype(np.uint8)


def _fold(layout: Layout, rng: Generator) -> Floats:
    """Where the section lies double: a gain (rows, cols) of about 1.7 along a bent line through the tissue."""
    places = np.argwhere(layout.depth_px > 100)
    gain: Floats = np.zeros(layout.depth_px.shape, np.float32)
    if len(places):
        row, column = places[rng.integers(len(places))]
        turn, length = rng.uniform(0, np.pi), rng.uniform(0.15, 0.35) * max(gain.shape)
        t = np.linspace(-1, 1, 40)
        sag = rng.normal(0, 0.15) * length * t**2
        x = column + t * length * np.cos(turn) - sag * np.sin(turn)
        y = row + t * length * np.sin(turn) + sag * np.cos(turn)
        line = np.round(np.stack([x, y], axis=1)).astype(np.int32)
        cv2.polylines(gain, [line], False, 1.0, int(rng.integers(3, 7)), cv2.LINE_AA)
        gain = np.asarray(cv2.GaussianBlur(gain, (0, 0), 0.8), np.float32)
    return 1 + 0.75 * gain
