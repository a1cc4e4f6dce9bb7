"""A layout becomes pixels: two planes of optical density (haematoxylin, eosin) are drawn, then stained."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sammil_cli.demo.glands import draw_gland, draw_vessels
from sammil_cli.demo.ground import draw_cytoplasm, draw_fat, draw_stroma
from sammil_cli.demo.layout import CELL_PX, Floats, Layout, Mask, hexagonal, sample, smooth_noise
from sammil_cli.demo.planes import Canvas
from sammil_cli.demo.sprites import Cells, by_angle, stamp
from sammil_cli.demo.stain import Stain, draw_pen, stained


def paint(layout: Layout, stain: Stain, rng: Generator, *, pen: bool, fold: bool) -> NDArray[np.uint8]:
    """The slide's level 0 (height, width, 3) RGB."""
    scale = layout.habit.nuclear_scale
    canvas = Canvas(
        h=np.zeros((layout.height_px, layout.width_px), np.uint8),
        e=np.zeros((layout.height_px, layout.width_px), np.uint8),
        cells=Cells.draw(rng, scale, layout.habit.grade),
        rng=rng,
    )
    direction = draw_stroma(canvas, layout)
    draw_cytoplasm(canvas, layout.aggregates, eosin=26.0, haematoxylin=8.0)
    fat = draw_fat(canvas, layout)
    draw_vessels(canvas, layout)
    for gland in layout.glands:
        draw_gland(canvas, gland, scale)
    septa = np.abs(smooth_noise(rng, layout.lesion.shape, 9)).astype(np.float32)
    cords = np.clip((layout.lesion - 0.5) * 6, 0, 1) * np.clip((septa - 0.06) * 12, 0, 1)
    draw_cytoplasm(canvas, cords.astype(np.float32), eosin=33.0, haematoxylin=17.0)
    _nuclei(canvas, layout, direction=direction, taken=fat | _covered(layout))
    rgb = stained(canvas, layout, stain, fold=fold)
    if pen:
        draw_pen(layout, rng, rgb)
    return rgb


def _nuclei(canvas: Canvas, layout: Layout, *, direction: Floats, taken: Mask) -> None:
    """Every nucleus that is no gland's: fibroblasts, lymphocytes, aggregates, giant cells, tumour."""
    h, e, rng, cells = canvas.h, canvas.e, canvas.rng, canvas.cells
    scale, tissue = layout.habit.nuclear_scale, layout.depth_px > 12
    stroma = tissue & ~taken & (layout.lesion < 0.5)
    area_px = float(stroma.sum()) * CELL_PX**2
    spots = _scattered(rng, stroma, area_px / 1500 * layout.habit.stroma_cells)
    stamp(h, cells.spindle, spots, by_angle(sample(direction, spots) + rng.normal(0, 0.25, len(spots)), rng))
    clumps = np.exp(0.9 * smooth_noise(rng, stroma.shape, 10))
    strays = _scattered(rng, stroma, area_px / 7000 * layout.habit.stroma_cells)
    strays = strays[rng.random(len(strays)) < sample(clumps, strays) / 3]
    stamp(h, cells.lymphocyte, strays, rng.integers(0, 24, len(strays)))
    dense = hexagonal(rng, (layout.aggregates > 0) & ~taken, 14.5 * scale, 0.3)
    dense = dense[rng.random(len(dense)) < np.clip(sample(layout.aggregates, dense) * 1.6, 0, 0.95)]
    stamp(h, cells.lymphocyte, dense, rng.integers(0, 24, len(dense)))
    giants = _scattered(rng, stroma & (layout.depth_px > 60), area_px * 0.25e-6 * layout.habit.giant_cells_per_mm2)
    for x, y in giants.astype(int).tolist():
        cv2.ellipse(e, (x, y), (24, 20), rng.uniform(0, 180), 0, 360, rng.uniform(40, 62), -1, cv2.LINE_AA)
    stamp(h, cells.giant, giants, rng.integers(0, 12, len(giants)))
    nests = hexagonal(rng, layout.lesion > 0.5, 24 * scale * layout.habit.grade**0.5, 0.26)
    # Lymphocytes take half of the places in some parts of a nest; a few places stay empty.
    infiltrated = sample(smooth_noise(rng, stroma.shape, 8), nests) > 2 - 3.5 * layout.habit.infiltration
    chance = rng.random(len(nests))
    immune = infiltrated & (chance < 0.5)
    malignant = ~immune & (chance < 0.93)
    stamp(h, cells.tumour, nests[malignant], rng.integers(0, 96, int(malignant.sum())))
    stamp(h, cells.lymphocyte, nests[immune], rng.integers(0, 24, int(immune.sum())))


def _covered(layout: Layout) -> Mask:
    """Cells (rows, cols) under a gland or a vessel, where no stromal nucleus lies."""
    covered = np.zeros(layout.depth_px.shape, np.uint8)
    cv2.fillPoly(covered, [np.round(gland.outline / CELL_PX).astype(np.int32) for gland in layout.glands], 1.0)
    for x, y, radius in layout.vessels:
        cv2.circle(covered, (int(x / CELL_PX), int(y / CELL_PX)), int(radius / CELL_PX) + 1, 1.0, -1)
    return covered > 0


def _scattered(rng: Generator, mask: Mask, count: float) -> NDArray[np.float64]:
    """About `count` points (n, 2) anywhere in the mask."""
    places = np.argwhere(mask)
    if not len(places):
        return np.zeros((0, 2))
    chosen = places[rng.integers(0, len(places), rng.poisson(count))]
    points: NDArray[np.float64] = (chosen[:, ::-1] + rng.random((len(chosen), 2))) * CELL_PX
    return points
