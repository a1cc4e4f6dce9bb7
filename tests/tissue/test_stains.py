"""Drawn slides of several stains: the mask is held against what was drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import array_slide
from tissue_specs import CLEANED

from sammil_cli.errors import SlideError
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.segment import find_tissue, look
from sammil_cli.tissue.spec import PRESETS, TissueSpec

Mask = NDArray[np.bool_]
RGB = NDArray[np.uint8]

MPP = 8.0
SHAPE = (480, 760)  # rows, columns: 3.8 x 6.1 mm
# The share of light of each colour that a stain takes, as optical density (Ruifrok and Johnston, 2001).
HAEMATOXYLIN, EOSIN, DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
PENS = {"black": (25, 25, 30), "blue": (40, 60, 170), "green": (30, 130, 70), "red": (190, 40, 45)}


def drawn() -> Mask:
    """Two ragged pieces of tissue, one with a hole of 0.7 mm, and a core 0.4 mm wide."""
    rng = np.random.default_rng(11)
    canvas = np.zeros(SHAPE, np.float32)
    cv2.ellipse(canvas, (230, 190), (170, 120), 20, 0, 360, 1, -1)
    cv2.circle(canvas, (180, 170), 45, 0, -1)
    cv2.ellipse(canvas, (610, 330), (90, 70), 70, 0, 360, 1, -1)
    cv2.line(canvas, (60, 420), (380, 390), 1, 50)
    ragged = cv2.GaussianBlur(rng.normal(size=SHAPE).astype(np.float32), (0, 0), 4) * 4
    return cv2.GaussianBlur(canvas, (0, 0), 4) + 0.3 * ragged > 0.5


def stained(
    tissue: Mask, *stains: tuple[tuple[float, ...], float], glass: tuple[int, int, int] = (243, 242, 244)
) -> RGB:
    """Light through stained tissue: each stain (densities, strength) in clumps of its own; noise and JPEG upon it."""
    rng = np.random.default_rng(3)
    density = np.zeros((*SHAPE, 3), np.float32)
    for vector, strength in stains:
        clumps = 1 + 0.5 * cv2.GaussianBlur(rng.normal(size=SHAPE).astype(np.float32), (0, 0), 3) * 5
        density += (strength * clumps.clip(0.2) * tissue)[..., None] * np.array(vector, np.float32)
    light = np.array(glass) * 10 ** -cv2.GaussianBlur(density, (0, 0), 0.7) + rng.normal(0, 2, (*SHAPE, 3))
    return jpeg(light.clip(0, 255).astype(np.uint8))


def jpeg(rgb: RGB) -> RGB:
    packed = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])


def h_and_e(tissue: Mask) -> RGB:
    return stained(tissue, (HAEMATOXYLIN, 0.15), (EOSIN, 0.2))


def found(rgb: RGB, spec: TissueSpec) -> Mask:
    mask: TissueMask = find_tissue(look(array_slide(rgb, mpp=MPP), spec.mpp), spec)
    return mask.raster((0, 0), 1.0, SHAPE)


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("name", ["saturation", "otsu", "od"])
def test_haematoxylin_and_eosin(name: str) -> None:
    tissue = drawn()
    assert iou(found(h_and_e(tissue), replace(CLEANED, segmenter=name)), tissue) > 0.93


def test_a_stain_a_quarter_as_strong_has_a_preset_of_its_own() -> None:
    tissue = drawn()
    rgb = stained(tissue, (HAEMATOXYLIN, 0.05), (EOSIN, 0.01))
    assert iou(found(rgb, replace(CLEANED, **PRESETS["faint"])), tissue) > 0.9
    with pytest.raises(SlideError, match="no tissue found"):  # which the threshold for H&E misses
        found(rgb, replace(CLEANED, segmenter="od"))


def test_brown_and_blue_of_immunohistochemistry() -> None:
    tissue = drawn()
    rgb = stained(tissue, (HAEMATOXYLIN, 0.07), (DAB, 0.06))
    assert iou(found(rgb, replace(CLEANED, **PRESETS["ihc"])), tissue) > 0.9


@pytest.mark.parametrize("name", ["saturation", "otsu", "od"])
@pytest.mark.parametrize("pen", PENS)
def test_a_ring_drawn_around_the_tissue_is_no_tissue(name: str, pen: str) -> None:
    tissue = drawn()
    rgb = h_and_e(tissue)
    stroke = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(stroke, (230, 190), (215, 165), 20, 0, 300, 1, 10)  # 80 µm wide, it touches tissue here and there
    cv2.line(stroke, (500, 60), (720, 130), 1, 14)
    rgb[stroke > 0] = PENS[pen]
    rgb = jpeg(np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.7)))
    plain = tissue & (stroke == 0)
    with_pen = found(rgb, replace(CLEANED, segmenter=name))
    assert (with_pen & (stroke > 0) & ~tissue).sum() < 0.05 * ((stroke > 0) & ~tissue).sum()
    lost = plain & found(h_and_e(tissue), replace(CLEANED, segmenter=name)) & ~with_pen
    assert lost.sum() < 0.02 * plain.sum()
    kept = found(rgb, replace(CLEANED, segmenter=name, without_pen=False))
    if pen == "blue":  # strokes would be tissue but for the exclusion
        assert (kept & (stroke > 0)).sum() > 0.6 * stroke.sum()


@pytest.mark.parametrize("name", ["saturation", "otsu", "od"])
def test_a_broad_black_border_is_no_tissue_and_moves_no_threshold(name: str) -> None:
    tissue = drawn()
    rgb = h_and_e(tissue)
    rgb[:, :40] = (10, 4, 22)  # what scanners write for black has a colour
    rgb[430:, 500:] = (12, 12, 11)
    spec = replace(CLEANED, segmenter=name)
    mask = found(rgb, spec)
    assert not mask[:, :40].any()
    assert not mask[430:, 500:].any()
    assert iou(mask[:, 42:], drawn()[:, 42:]) > 0.93
    assert found(rgb, replace(spec, without_borders=False, without_pen=False))[:, :38].mean() > 0.9


@pytest.mark.parametrize("name", ["otsu", "od"])
def test_grey_glass_with_the_edge_of_the_cover_slip_and_a_fold(name: str) -> None:
    tissue = drawn()
    rgb = stained(tissue, (HAEMATOXYLIN, 0.1), (EOSIN, 0.15), glass=(196, 196, 197))
    cv2.line(rgb, (20, 20), (740, 26), (150, 150, 151), 6)  # the cover slip
    cv2.line(rgb, (190, 110), (330, 250), (70, 55, 75), 12)  # a fold, dark and nearly without colour
    mask = found(rgb, replace(CLEANED, segmenter=name))
    assert iou(mask, tissue) > 0.9
    assert not mask[:35].any()
    assert mask[150, 230]


def test_tissue_without_any_glass_is_found_whole() -> None:
    rgb = stained(np.ones(SHAPE, bool), (HAEMATOXYLIN, 0.15), (EOSIN, 0.2))
    for name in ("saturation", "od"):
        assert found(rgb, replace(CLEANED, segmenter=name)).mean() > 0.99
