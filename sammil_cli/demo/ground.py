"""What lies under the cells: collagen, fat, and the cytoplasm that takes the stroma's place."""

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import Voronoi

from sammil_cli.demo.layout import CELL_PX, Floats, Layout, Mask, hexagonal, sample, smooth_noise
from sammil_cli.demo.planes import Canvas, curve, stripes, tile, tiled, upsampled


def draw_stroma(canvas: Canvas, layout: Layout) -> Floats:
    """Wavy collagen with clefts under the tissue; returns the fibres' direction (rows, cols) in radians."""
    h, e, rng, shape = canvas.h, canvas.e, canvas.rng, layout.depth_px.shape
    width, height = layout.width_px, layout.height_px
    bend = np.stack([smooth_noise(rng, shape, 36) * 80 + smooth_noise(rng, shape, 12) * 14 for _ in "xy"], axis=-1)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]], np.float32)
    # Fibres run where the second texture coordinate v stays the same: at a right angle to its gradient.
    v = bend[..., 1]
    v_y, v_x = np.gradient(v, CELL_PX)
    direction: Floats = np.arctan2(-(v_x + rotation[1, 0]), v_y + rotation[1, 1]).astype(np.float32)
    fibres, mottle = tile(rng, 20, 2.2), tile(rng, 7, 7)
    loose = np.clip(128 + 55 * smooth_noise(rng, shape, 20), 0, 255).astype(np.float32)
    collagen = curve([(0, 10), (40, 20), (72, 40), (150, 52), (255, 72)])
    areolar = curve([(0, 5), (70, 10), (120, 30), (190, 44), (255, 60)])
    x = np.arange(width, dtype=np.float32)[None]
    for top, bottom in stripes(height):
        y = np.arange(top, bottom, dtype=np.float32)[:, None]
        shift = upsampled(bend, top, bottom, width)
        u_map = rotation[0, 0] * x + rotation[0, 1] * y + shift[..., 0]
        v_map = rotation[1, 0] * x + rotation[1, 1] * y + shift[..., 1]
        fibre = cv2.remap(fibres, u_map, v_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        blotch = tiled(mottle, top, bottom, width)
        depth = upsampled(layout.depth_px, top, bottom, width)
        inside = np.clip((depth + (blotch.astype(np.float32) - 128) * 0.12) * 80, 0, 255).astype(np.uint8)
        tightness = upsampled(loose, top, bottom, width).astype(np.uint8)
        dense, open_ = cv2.LUT(fibre, collagen), cv2.LUT(fibre, areolar)
        eosin = cv2.add(
            cv2.multiply(dense, tightness, scale=1 / 255), cv2.multiply(open_, 255 - tightness, scale=1 / 255)
        )
        eosin = cv2.multiply(eosin, cv2.addWeighted(blotch, 0.35, blotch, 0, 128 * 0.65), scale=1 / 128)
        cv2.multiply(eosin, inside, dst=e[top:bottom], scale=1 / 255)
        cv2.multiply(cv2.LUT(fibre, curve([(0, 0), (90, 2), (255, 14)])), inside, dst=h[top:bottom], scale=1 / 255)
    return direction


def draw_fat(canvas: Canvas, layout: Layout) -> Mask:
    """Adipocytes: rounded white cells with thin pink walls; returns the cells of the coarse grid they cover."""
    h, e, rng = canvas.h, canvas.e, canvas.rng
    covered = np.zeros(layout.fat.shape, np.uint8)
    near = cv2.dilate(layout.fat.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
    points = hexagonal(rng, near, rng.uniform(78, 105), 0.2)
    if len(points) < 8:
        return covered > 0
    mesh = Voronoi(points)
    ripe = sample(layout.fat & (layout.depth_px > 24), points)
    for index in np.flatnonzero(ripe):
        region = mesh.regions[mesh.point_region[index]]
        if -1 in region or len(region) < 3:
            continue
        corners = mesh.vertices[region]
        middle = corners.mean(axis=0)
        if np.abs(corners - middle).max() > 90:
            continue
        rounded = middle + (corners - middle) * 0.97
        for _ in range(3):  # Chaikin's corner cutting
            after = np.roll(rounded, -1, axis=0)
            rounded = np.stack([0.75 * rounded + 0.25 * after, 0.25 * rounded + 0.75 * after], axis=1).reshape(-1, 2)
        outline = [np.round(rounded * 8).astype(np.int32)]
        cv2.fillPoly(e, outline, 3.0, cv2.LINE_AA, shift=3)
        cv2.fillPoly(h, outline, 0.0, cv2.LINE_AA, shift=3)
        cv2.polylines(e, outline, True, rng.uniform(34, 50), int(rng.integers(2, 4)), cv2.LINE_AA, shift=3)
        cv2.fillPoly(covered, [np.round(rounded / CELL_PX).astype(np.int32)], 1.0)
    return covered > 0


def draw_cytoplasm(canvas: Canvas, field: Floats, *, eosin: float, haematoxylin: float) -> None:
    """Replace the stroma by foamy cytoplasm of these densities where a coarse field (rows, cols) in 0..1 says so."""
    height, width = canvas.h.shape
    mottle = tile(canvas.rng, 5, 5)
    pieces, _ = ndimage.label(field > 0)
    for rows, cols in ndimage.find_objects(pieces):
        left, right = cols.start * CELL_PX, min(cols.stop * CELL_PX, width)
        for stripe_top, stripe_bottom in stripes(height):
            top, bottom = max(stripe_top, rows.start * CELL_PX), min(stripe_bottom, rows.stop * CELL_PX)
            if top >= bottom:
                continue
            part = upsampled(field, top, bottom, right)[:, left:]
            foam = 0.55 + 0.45 / 128 * tiled(mottle, top, bottom, right)[:, left:].astype(np.float32)
            for plane, level in ((canvas.e, eosin), (canvas.h, haematoxylin)):
                spot = plane[top:bottom, left:right]
                spot[:] = (spot * (1 - part) + part * level * foam).astype(np.uint8)
