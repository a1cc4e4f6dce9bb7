"""Attention and evidence as the eye meets them, by pixels: a lone focus is found, and what is flat looks flat."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_view import decode, make_view

from sammil_cli.report.colours import oklab
from sammil_cli.report.heatmap import PANEL_PX, attention_panel, draw, evidence_panel
from sammil_cli.report.scales import attention_place, evidence_place, round_length, times_mean
from sammil_cli.report.slide_view import SlideView

COLUMNS, ROWS = 168, 131  # 22 008 patches


def slide_of(attention: np.ndarray, evidence: np.ndarray, longest: int = PANEL_PX) -> SlideView:
    """A slide full of patches on something like tissue."""
    side = longest / COLUMNS
    rng = np.random.default_rng(0)
    noise = rng.integers(120, 220, (20, 24, 3)).astype(np.uint8)
    image = cv2.resize(noise, (longest, round(ROWS * side)), interpolation=cv2.INTER_CUBIC)
    places = np.arange(COLUMNS * ROWS)
    xy = np.stack([places % COLUMNS, places // COLUMNS], axis=1) * side
    return make_view(image=image, regions=image, xy=xy, side=side, attention=attention, evidence=evidence)


def with_focus() -> np.ndarray:
    attention = np.ones((ROWS, COLUMNS))
    attention[60:63, 90:93] = 100
    return attention.ravel() / attention.sum()


def even() -> np.ndarray:
    attention = 1 + 0.1 * np.random.default_rng(1).uniform(-1, 1, COLUMNS * ROWS)
    return attention / attention.sum()


def unlike_most(panel: np.ndarray) -> np.ndarray:
    """How far each pixel's colour is from the usual one, in OKLab: 0.02 is hardly seen, 0.3 leaps to the eye."""
    lab = oklab(panel)
    return np.linalg.norm(lab - np.median(lab.reshape(-1, 3), axis=0), axis=2)


def test_a_lone_focus_among_22_008_patches_leaps_to_the_eye() -> None:
    view = slide_of(with_focus(), np.full(COLUMNS * ROWS, 0.5))
    assert len(view.xy) == 22_008
    away = unlike_most(attention_panel(view))
    low, high = (
        (np.array([90, 60]) * view.side).round().astype(int),
        (np.array([93, 63]) * view.side).round().astype(int),
    )
    focus = np.zeros(away.shape, bool)
    focus[low[1] : high[1], low[0] : high[0]] = True
    assert focus.sum() >= 100
    assert away[focus].min() > 0.4
    assert away[~focus].max() < 0.1


def test_a_focus_of_patches_smaller_than_a_pixel_is_kept_and_ringed() -> None:
    view = slide_of(with_focus(), np.full(COLUMNS * ROWS, 0.5), longest=60)
    away = unlike_most(attention_panel(view))
    assert (away > 0.4).sum() >= 1
    whole = slide_of(with_focus(), np.full(COLUMNS * ROWS, 0.5))
    dark = [(decode(draw(replace(whole, attention=one))).max(axis=2) < 90).sum() for one in (with_focus(), even())]
    assert dark[0] > dark[1] + 100  # a ring of ink around the focus, and none on a flat slide


def test_even_attention_looks_flat_and_pale() -> None:
    panel = attention_panel(slide_of(even(), np.full(COLUMNS * ROWS, 0.5)))
    assert unlike_most(panel).max() < 0.08
    assert oklab(panel)[..., 0].min() > 0.85


def test_a_model_that_tosses_a_coin_looks_flat_and_pale() -> None:
    evidence = np.random.default_rng(2).uniform(0.494, 0.506, COLUMNS * ROWS)
    panel = evidence_panel(slide_of(even(), evidence))
    lab = oklab(panel)
    assert unlike_most(panel).max() < 0.08
    assert lab[..., 0].min() > 0.85
    assert np.hypot(lab[..., 1], lab[..., 2]).max() < 0.02  # no red, no blue


def test_evidence_has_the_same_colour_on_every_slide_whatever_lies_beside_it() -> None:
    evidence = np.full(COLUMNS * ROWS, 0.5)
    evidence[:] = 0.7
    alone = evidence_panel(slide_of(even(), evidence))
    beside = evidence.copy()
    beside[COLUMNS:] = 0.99
    assert (evidence_panel(slide_of(even(), beside))[:3] == alone[:3]).all()


@pytest.mark.parametrize(("value", "against"), [(0.05, True), (0.95, False)])
def test_what_speaks_against_is_blue_and_what_speaks_for_is_orange(value: float, against: bool) -> None:
    panel = evidence_panel(slide_of(even(), np.full(COLUMNS * ROWS, value))).astype(int)
    assert ((panel[..., 2] > panel[..., 0] + 60) == against).all()
    assert ((panel[..., 0] > panel[..., 2] + 60) != against).all()


def test_scales_by_hand() -> None:
    assert times_mean(np.array([1.0, 1, 2])).tolist() == [0.75, 0.75, 1.5]
    assert times_mean(np.zeros(3)).tolist() == [1, 1, 1]
    assert attention_place(np.array([0, 0.5, 1, 10, 100, 5000.0])).tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1])
    assert evidence_place(np.array([0, 0.25, 0.5, 1]), 2).tolist() == [0, 0.25, 0.5, 1]
    assert evidence_place(np.array([0, 0.25, 0.625, 1]), 4).tolist() == [0, 0.5, 0.75, 1]
    assert [round_length(most) for most in (1999, 2000, 0.7)] == pytest.approx([1000, 2000, 0.5])
