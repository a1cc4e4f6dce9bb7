"""Where things lie on a drawn slide: tissue, fat, glands, vessels, distractors and lesions. Geometry only, no pixels.

Coordinates are level-0 pixels, x before y. Fields live on a coarse grid of `CELL_PX` pixels a cell, `[row, col]`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
GlandKind = Literal["normal", "inflamed", "reactive", "solid"]

CELL_PX = 8
LESION_SHARE = (0.02, 0.09)  # of the tissue; the promise to the reader is 1-10 %, at difficulty 0
# What difficulty 1 takes from or adds to a slide, relative to what it is at 0. Measured on 60 slides of 1600-2600 px,
# 5 folds, 40 epochs: out-of-fold AUC of mean / abmil / sam-mil 0.61 / 0.93 / 0.84 at 0.3, 0.53 / 0.81 / 0.69 at 0.5.
LESION_LOSS, GRADE_LOSS, INFILTRATION_GAIN, GIANT_GAIN = 0.4, 0.1, 0.25, 3.0


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What differs from slide to slide whatever the label: the nuisances a slide's mean is made of."""

    gland_share: float
    gland_spacing_px: float
    inflamed_share: float
    reactive_share: float
    solid_share: float
    fat_share: float
    aggregate_share: float
    giant_cells_per_mm2: float
    stroma_cells: float  # relative to usual cellularity
    nuclear_scale: float
    grade: float  # relative size of tumour nuclei, where there is tumour
    infiltration: float  # lymphocytes among the tumour's cells, 0..1

    @classmethod
    def draw(cls, rng: Generator) -> "Habit":
        """Wide, label-blind distributions: distractors vary more than the lesions do."""
        return cls(
            gland_share=rng.uniform(0.15, 0.6),
            gland_spacing_px=rng.uniform(135, 195),
            inflamed_share=rng.beta(0.7, 2.5),
            reactive_share=rng.beta(0.8, 3.0),
            solid_share=rng.beta(0.8, 4.0),
            fat_share=max(0.0, rng.uniform(-0.08, 0.22)),
            aggregate_share=rng.gamma(0.9, 0.05),
            giant_cells_per_mm2=rng.gamma(1.0, 6.0),
            stroma_cells=float(np.exp(rng.normal(0, 0.45))),
            nuclear_scale=float(np.exp(rng.normal(0, 0.08))),
            grade=rng.uniform(0.78, 1.0),
            infiltration=rng.beta(1, 3),
        )

    def harder(self, difficulty: float) -> "Habit":
        """Tumour and its look-alikes move together, in slides of either label; 0 changes nothing, 1 is hardest.

        Tumour nuclei shrink towards those of glands, lymphocytes hide them, and benign giant cells, which look like
        large tumour cells, become many.
        """
        return replace(
            self,
            giant_cells_per_mm2=self.giant_cells_per_mm2 * (1 + GIANT_GAIN * difficulty),
            grade=self.grade * (1 - GRADE_LOSS * difficulty),
            infiltration=self.infiltration + INFILTRATION_GAIN * difficulty * (1 - self.infiltration),
        )


@dataclass(frozen=True, kw_only=True)
class Gland:
    """A closed outline (n, 2) in level-0 px around `centre`; the lumen is the outline shrunk to `lumen` (0: none)."""

    centre: tuple[float, float]
    outline: Floats
    lumen: float
    kind: GlandKind


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Everything the painter needs to know about one slide."""

    width_px: int
    height_px: int
    habit: Habit
    depth_px: Floats  # (rows, cols) signed distance to the tissue's edge in level-0 px, positive inside
    fat: Mask  # (rows, cols)
    aggregates: Floats  # (rows, cols) 0..1 lymphoid aggregates
    lesion: Floats  # (rows, cols) 0..1, its 0.5 line is `lesions`
    lesions: list[NDArray[np.float64]]  # closed polygons (n, 2)
    glands: list[Gland]
    vessels: NDArray[np.float64]  # (n, 3) x, y, radius


def draw_layout(rng: Generator, *, width_px: int, height_px: int, tumour: bool, difficulty: float = 0.0) -> Layout:
    """One slide's geometry. The label decides about lesions alone: everything else is drawn before they are."""
    habit = Habit.draw(rng).harder(difficulty)
    rows, cols = -(-height_px // CELL_PX), -(-width_px // CELL_PX)
    depth = _tissue_depth(rng, rows, cols)
    tissue = depth > 0
    fat = _top_share(smooth_noise(rng, (rows, cols), 28), tissue, habit.fat_share)
    solid = tissue & ~fat
    glandular = _top_share(smooth_noise(rng, (rows, cols), 24), solid, habit.gland_share)
    aggregates = _aggregates(rng, solid & (depth > 40), habit.aggregate_share * tissue.sum())
    apart = ~ndimage.binary_dilation(fat, iterations=5)
    glands = _glands(rng, habit, glandular & apart & (depth > 0.45 * habit.gland_spacing_px) & (aggregates < 0.3))
    vessels = _vessels(rng, solid & (depth > 60) & ~glandular & (aggregates < 0.3))
    lesion = np.zeros((rows, cols), np.float32)
    if tumour:
        share = rng.uniform(*LESION_SHARE) * (1 - LESION_LOSS * difficulty)
        lesion = _lesion(rng, ndimage.binary_erosion(solid, iterations=4), share * int(tissue.sum()))
    polygons = outlines(lesion)
    return Layout(
        width_px=width_px,
        height_px=height_px,
        habit=habit,
        depth_px=depth,
        fat=fat,
        aggregates=np.where(lesion > 0.4, 0, aggregates).astype(np.float32),
        lesion=lesion,
        lesions=polygons,
        glands=[gland for gland in glands if not _touches(gland.outline, lesion)],
        vessels=vessels[[not _touches(vessel[None, :2], lesion) for vessel in vessels]],
    )


def smooth_noise(rng: Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Gaussian noise of correlation length `sigma` cells, mean 0, sd 1 over the field."""
    small = (max(3, int(shape[0] / sigma) + 2), max(3, int(shape[1] / sigma) + 2))
    field = cv2.resize(rng.standard_normal(small, dtype=np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    scaled: Floats = ((field - field.mean()) / max(float(field.std()), 1e-6)).astype(np.float32)
    return scaled


def hexagonal(rng: Generator, mask: Mask, spacing_px: float, jitter: float) -> NDArray[np.float64]:
    """Points (n, 2) of a jittered hexagonal lattice, about `spacing_px` apart, whose cell is in `mask` (rows, cols)."""
    rows = np.arange(0, mask.shape[0] * CELL_PX, spacing_px * np.sqrt(0.75))
    columns = np.arange(0, mask.shape[1] * CELL_PX, spacing_px)
    x, y = np.meshgrid(columns, rows)
    x[1::2] += spacing_px / 2
    points = np.stack([x, y], axis=-1).reshape(-1, 2)
    points += rng.uniform(-jitter, jitter, points.shape) * spacing_px
    inside: NDArray[np.float64] = points[sample(mask, points)]
    return inside


def sample(field: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """The coarse field's value (n,) at level-0 points (n, 2)."""
    column, row = (points / CELL_PX).astype(int).T
    values: NDArray[Any] = field[row.clip(0, field.shape[0] - 1), column.clip(0, field.shape[1] - 1)]
    return values


def outlines(field: Floats) -> list[NDArray[np.float64]]:
    """Closed level-0 polygons (n, 2) around the parts of a coarse field above a half."""
    fine = cv2.resize(field, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((fine > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [cv2.approxPolyDP(contour, 0.7, True)[:, 0].astype(np.float64) for contour in contours]
    # A pixel of the fine grid is named by its middle; a polygon of pixels runs half a pixel further out.
    closed = [np.concatenate([polygon, polygon[:1]]) for polygon in polygons if len(polygon) > 3]
    return [(polygon + 0.5) * CELL_PX / 4 for polygon in closed]


def _tissue_depth(rng: Generator, rows: int, cols: int) -> Floats:
    """One to three irregular sections that keep off the border, as a signed distance in level-0 pixels."""
    y, x = np.mgrid[0:rows, 0:cols].astype(np.float32)
    tissue = np.zeros((rows, cols), bool)
    pieces = int(rng.integers(1, 4))
    along, across = (rows, cols) if rows > cols else (cols, rows)
    for piece in range(pieces):
        centre_along = (piece + 0.5 + rng.uniform(-0.06, 0.06)) / pieces * along
        centre_across = rng.uniform(0.44, 0.56) * across
        half_along, half_across = along / pieces * rng.uniform(0.36, 0.44), across * rng.uniform(0.28, 0.40)
        a, b = (y, x) if rows > cols else (x, y)
        radius = ((a - centre_along) / half_along) ** 2 + ((b - centre_across) / half_across) ** 2
        edge = 0.28 * smooth_noise(rng, (rows, cols), min(rows, cols) / 7)
        tissue |= radius + edge + 0.08 * smooth_noise(rng, (rows, cols), 7) < 1
    margin = 6
    tissue[:margin] = tissue[-margin:] = False
    tissue[:, :margin] = tissue[:, -margin:] = False
    tissue = ndimage.binary_fill_holes(ndimage.binary_opening(tissue, iterations=6))
    inside = cv2.distanceTransform(tissue.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~tissue).astype(np.uint8), cv2.DIST_L2, 5)
    # The distance counts from cell to cell; the edge itself lies half a cell nearer.
    depth: Floats = ((inside - outside - np.where(tissue, 0.5, -0.5)) * CELL_PX).astype(np.float32)
    return depth


def _top_share(field: Floats, within: Mask, share: float) -> Mask:
    """The `share` of the cells of `within` where `field` is highest."""
    if share <= 0 or not within.any():
        return np.zeros_like(within)
    top: Mask = within & (field > np.quantile(field[within], 1 - share))
    return top


def _blob(rng: Generator, allowed: Mask, centre: NDArray[np.int64], cells: int) -> Mask:
    """About `cells` connected allowed cells around `centre` (row, col), with an uneven edge."""
    y, x = np.ogrid[0 : allowed.shape[0], 0 : allowed.shape[1]]
    distance = np.hypot(y - centre[0], x - centre[1]) / np.sqrt(max(cells, 1) / np.pi)
    reach = distance + 0.22 * smooth_noise(rng, allowed.shape, max(3.0, 0.6 * np.sqrt(cells)))
    reach[tuple(centre)] = -9
    order = np.sort(reach[allowed])
    labels, _ = ndimage.label(allowed & (reach <= order[min(cells, order.size) - 1]))
    blob: Mask = labels == labels[tuple(centre)]
    return blob


def _aggregates(rng: Generator, allowed: Mask, cells: float) -> Floats:
    """Lymphoid aggregates over about `cells` cells: round, softly edged."""
    field = np.zeros(allowed.shape, np.float32)
    places = np.argwhere(allowed)
    y, x = np.ogrid[0 : allowed.shape[0], 0 : allowed.shape[1]]
    while cells > 20 and len(places):
        row, column = places[rng.integers(len(places))]
        radius = min(rng.uniform(7, 22), np.sqrt(cells / np.pi) + 2)
        stretch = rng.uniform(0.8, 1.25)
        disc = 1.5 - np.hypot((y - row) * stretch, (x - column) / stretch) / radius
        np.maximum(field, np.clip(disc, 0, 1), out=field)
        cells -= np.pi * radius**2
    return np.where(allowed, field, 0).astype(np.float32)


def _glands(rng: Generator, habit: Habit, where: Mask) -> list[Gland]:
    kinds: list[GlandKind] = ["inflamed", "reactive", "solid", "normal"]
    weights = np.array([habit.inflamed_share, habit.reactive_share, habit.solid_share])
    weights = np.append(weights, max(0.25, 1 - weights.sum()))
    glands = []
    for centre in hexagonal(rng, where, habit.gland_spacing_px, 0.13):
        kind = kinds[rng.choice(4, p=weights / weights.sum())]
        lumen = {"normal": rng.uniform(0.35, 0.52), "inflamed": rng.uniform(0.3, 0.45), "reactive": 0.25}.get(kind, 0)
        size = habit.gland_spacing_px * rng.uniform(0.34, 0.44)
        glands.append(
            Gland(centre=(centre[0], centre[1]), outline=_loop(rng, centre, size), lumen=float(lumen), kind=kind)
        )
    return glands


def _loop(rng: Generator, centre: NDArray[np.float64], radius_px: float) -> Floats:
    """A rounded, stretched, slightly bent outline (64, 2) around `centre`."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.full(64, radius_px)
    for order in (2, 3, 4, 5):
        radius += radius_px * rng.normal(0, 0.16 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.25)
    x, y = radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return (turned + centre).astype(np.float32)


def _vessels(rng: Generator, where: Mask) -> NDArray[np.float64]:
    places = np.argwhere(where)
    count = min(len(places), int(rng.poisson(len(places) * CELL_PX**2 / 7e5)))
    chosen = places[rng.integers(0, max(len(places), 1), count)] if count else np.zeros((0, 2))
    return np.column_stack([(chosen[:, ::-1] + 0.5) * CELL_PX, rng.uniform(22, 45, count)])


def _lesion(rng: Generator, allowed: Mask, target: float) -> Floats:
    """One to four connected nests over about `target` cells."""
    nests = int(rng.integers(1, max(2, min(5, int(target // 150) + 1))))
    best = np.zeros(allowed.shape, bool)
    for _ in range(12):
        lesion = np.zeros(allowed.shape, bool)
        places = np.argwhere(allowed)
        for _ in range(nests):
            lesion |= _blob(rng, allowed, places[rng.integers(len(places))], max(12, int(target / nests)))
        if abs(lesion.sum() - target) < abs(best.sum() - target):
            best = lesion
        if best.sum() > 0.75 * target:
            break
    filled = ndimage.binary_fill_holes(best)
    return np.asarray(cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 0.9), np.float32)


def _touches(points: NDArray[Any], field: Floats) -> bool:
    return bool((sample(field, points) > 0.2).any())
