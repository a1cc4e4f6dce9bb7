"""Glands and vessels, drawn one by one with their nuclei."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammil_cli.demo.layout import CELL_PX, Floats, Gland, Layout, hexagonal
from sammil_cli.demo.planes import Canvas
from sammil_cli.demo.sprites import by_angle, stamp


def draw_gland(canvas: Canvas, gland: Gland, scale: float) -> None:
    """Epithelium around a lumen, its nuclei along the base; solid ones are cut at the tip and have no lumen."""
    h, e, rng, cells = canvas.h, canvas.e, canvas.rng, canvas.cells
    centre = np.array(gland.centre)
    arm = gland.outline - centre
    outline = [np.round(gland.outline * 8).astype(np.int32)]
    cv2.polylines(e, outline, True, rng.uniform(50, 70), 5, cv2.LINE_AA, shift=3)  # basement membrane
    low = np.floor(gland.outline.min(axis=0)).astype(int)
    high = np.ceil(gland.outline.max(axis=0)).astype(int) + 1
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    # Cytoplasm: foamy, a little basophilic; the lumen is filled with mucin or nothing.
    foam = rng.integers(0, 16, ((high - low)[::-1] // 4 + 1)).astype(np.uint8)
    foam = np.asarray(cv2.resize(foam, tuple((high - low).tolist()), interpolation=cv2.INTER_CUBIC), np.uint8)
    body = np.zeros(foam.shape, np.uint8)
    local = [np.round((gland.outline - low) * 8).astype(np.int32)]
    cv2.fillPoly(body, local, 255.0, cv2.LINE_AA, shift=3)
    tint = {"reactive": 20, "inflamed": 12}.get(gland.kind, 10)
    cytoplasm_e, cytoplasm_h = foam + np.uint8(rng.uniform(24, 40)), foam // 2 + np.uint8(tint)
    if gland.lumen:
        hole = np.zeros_like(body)
        uneven = ndimage.gaussian_filter1d(rng.normal(0, 0.2, (64, 1)), 2, axis=0, mode="wrap")
        inner = arm * gland.lumen * (1 + uneven) + centre - low
        cv2.fillPoly(hole, [np.round(inner * 8).astype(np.int32)], 255.0, cv2.LINE_AA, shift=3)
        mucin = rng.uniform(0, 14) if rng.random() < 0.4 else 2
        cytoplasm_e = np.where(hole > 127, np.uint8(mucin), cytoplasm_e)
        cytoplasm_h = np.where(hole > 127, np.uint8(mucin / 3), cytoplasm_h)
    e[box] = np.where(body > 127, cytoplasm_e, e[box])
    h[box] = np.where(body > 127, cytoplasm_h, h[box])
    if gland.lumen:
        _ring(canvas, centre, arm * 0.80, 11.5 * scale)
        if gland.kind == "reactive":
            _ring(canvas, centre, arm * 0.56, 12.5 * scale)
    else:
        coarse = cv2.resize(body, None, fx=1 / CELL_PX, fy=1 / CELL_PX, interpolation=cv2.INTER_AREA)
        points = hexagonal(rng, np.asarray(coarse) > 200, 17.5 * scale, 0.2) + low
        stamp(h, cells.columnar, points, rng.integers(0, len(cells.columnar), len(points)))
    if gland.kind == "inflamed":
        around = rng.uniform(0, 64, int(rng.uniform(40, 110))).astype(int)
        reach = rng.normal(1.12, 0.2, (len(around), 1))
        stamp(h, cells.lymphocyte, centre + arm[around] * reach, rng.integers(0, 24, len(around)))


def _ring(canvas: Canvas, centre: NDArray[np.float64], outline: Floats, spacing_px: float) -> None:
    """Columnar nuclei along an outline (n, 2) relative to `centre`, pointing to it."""
    rng = canvas.rng
    loop = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(loop, axis=0).T))])
    place = np.arange(0, along[-1] - spacing_px / 2, spacing_px)
    place += rng.normal(0, 1.2, len(place))
    x, y = np.interp(place, along, loop[:, 0]), np.interp(place, along, loop[:, 1])
    jitter = rng.normal(1, 0.045, len(place))
    points = np.stack([x * jitter, y * jitter], axis=1) + centre
    stamp(canvas.h, canvas.cells.columnar, points, by_angle(np.arctan2(y, x) + rng.normal(0, 0.2, len(x)), rng))


def draw_vessels(canvas: Canvas, layout: Layout) -> None:
    """Small vessels: a muscular wall, a white lumen, red cells in it."""
    h, e, rng, cells = canvas.h, canvas.e, canvas.rng, canvas.cells
    for x, y, radius in layout.vessels:
        axes = (int(radius * rng.uniform(0.8, 1.2)), int(radius * rng.uniform(0.7, 1)))
        centre, turn = (int(x), int(y)), rng.uniform(0, 180)
        cv2.ellipse(e, centre, (axes[0] + 9, axes[1] + 9), turn, 0, 360, 66, -1, cv2.LINE_AA)
        cv2.ellipse(e, centre, axes, turn, 0, 360, 3, -1, cv2.LINE_AA)
        cv2.ellipse(h, centre, axes, turn, 0, 360, 0, -1, cv2.LINE_AA)
        count = int(rng.uniform(0, 0.9) * radius**2 / 45)
        spread = rng.normal(0, 0.36, (count, 2)) * axes
        within = np.hypot(*(spread / axes).T) < 0.78
        tilt = np.deg2rad(turn)
        rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        middle = np.array([x, y])
        stamp(e, cells.erythrocyte, spread[within] @ rotation + middle, rng.integers(0, 6, within.sum()))
        around = np.linspace(0, 2 * np.pi, int(radius / 4), endpoint=False)
        ring = np.stack([np.cos(around) * (axes[0] + 4), np.sin(around) * (axes[1] + 4)], axis=1)
        stamp(h, cells.spindle, ring @ rotation + middle, by_angle(around + tilt + np.pi / 2, rng))
