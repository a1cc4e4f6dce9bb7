"""Artefact maps: shares and sharpness derived by hand, blocks against one piece, real slides, the file."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import PINK, array_slide, blank, draw_tissue

from sammil_cli.errors import InputError
from sammil_cli.slides.files import open_slide
from sammil_cli.tissue import artefacts
from sammil_cli.tissue.artefact_maps import NAMES, ArtefactMaps, read_artefacts, write_artefacts
from sammil_cli.tissue.artefacts import border_mask, glass_colour, measure_artefacts


def measured(rgb: NDArray[np.uint8], mpp: float = 8.0) -> ArtefactMaps:
    return measure_artefacts(array_slide(rgb, mpp=mpp), rgb, mpp=None)


def tissue_blur(maps: ArtefactMaps) -> float:
    """Mean blur, each cell weighing by what is not blank."""
    return float(np.average(maps.blur, weights=255 - maps.blank.astype(float))) / 255


def test_cells_hold_shares_of_their_area() -> None:
    rgb = blank(40, 24)  # cells of 4 px at 8 µm per pixel
    rgb[0:8, 0:6] = PINK
    rgb[4:6, 0:4] = (20, 20, 20)
    maps = measured(rgb)
    assert maps.cell_px0 == (4.0, 4.0)
    assert maps.blank.shape == maps.pen.shape == maps.dark.shape == maps.blur.shape == (6, 10)
    assert maps.blank[:3, :3].tolist() == [[0, 128, 255], [0, 128, 255], [255, 255, 255]]
    assert maps.dark[:2, :2].tolist() == [[0, 0], [128, 0]]
    assert not maps.dark[2:].any()


def test_a_picture_that_cells_do_not_divide_is_covered_to_its_edge() -> None:
    rgb = np.full((25, 42, 3), PINK, np.uint8)
    maps = measured(rgb)
    assert maps.blank.shape == (7, 11)
    assert not maps.blank.any()


def test_cells_lie_on_level_0_whatever_the_thumbnail() -> None:
    rgb = draw_tissue(seed=1, tumour=True)  # 1200 x 900 at 1 µm
    slide = array_slide(rgb, mpp=1.0)
    maps = measure_artefacts(slide, slide.thumbnail(8.0), mpp=None)
    columns, rows = maps.blank.shape[1], maps.blank.shape[0]
    assert maps.cell_px0[0] * (columns - 1) < 1200 <= maps.cell_px0[0] * columns + 1e-6
    assert maps.cell_px0[1] * (rows - 1) < 900 <= maps.cell_px0[1] * rows + 1e-6


def test_noise_is_sharp_and_a_plane_is_flat() -> None:
    noise = np.random.default_rng(0).normal(128, 30, (160, 160, 1)).repeat(3, axis=2).clip(0, 255).astype(np.uint8)
    noise[0, 0] = PINK  # a coloured slide: its brightest noise is no glass
    assert tissue_blur(measured(noise)) < 0.02
    assert (measured(np.full((160, 160, 3), PINK, np.uint8)).blur == 255).all()


@pytest.mark.parametrize(("name", "mpp"), [("CMU-1-Small-Region.svs", None), ("TCGA-CR-7395-01A-01-TS1.svs", 0.5)])
def test_blur_rises_with_defocus_and_finer_pixels_see_it_earlier(real_data: Path, name: str, mpp: float | None) -> None:
    with open_slide(real_data / "slides" / name, mpp) as slide:
        sharp, px = slide.thumbnail(1.0), slide.mpp * slide.size_px[0] / slide.thumbnail(1.0).shape[1]
    scores: dict[float, tuple[float, float]] = {}
    for sigma_um in (0.0, 1.0, 8.0):
        blurred = sharp if sigma_um == 0 else np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma_um / px), np.uint8)
        opened = array_slide(blurred, mpp=px)
        thumbnail = opened.thumbnail(8.0)
        coarse, fine = (measure_artefacts(opened, thumbnail, mpp=wanted) for wanted in (None, 1.0))
        scores[sigma_um] = (tissue_blur(coarse), tissue_blur(fine))
    assert scores[0][0] < 0.3
    assert scores[0][1] < 0.55
    assert scores[1][0] < 0.3  # the thumbnail cannot see it
    assert scores[1][1] > 0.65
    assert scores[8][0] > 0.65
    assert scores[8][1] > 0.95


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = array_slide(draw_tissue(seed=3, tumour=True)[:896], mpp=1.0)  # cells of 32 px: no corner is rounded
    thumbnail = slide.thumbnail(8.0)
    whole = measure_artefacts(slide, thumbnail, mpp=2.0)
    monkeypatch.setattr(artefacts, "_BLOCK_PX", 100)
    parts = measure_artefacts(slide, thumbnail, mpp=2.0)
    assert whole.mpp == pytest.approx(2.0, rel=0.1)
    read = parts.blank < 255  # a block of glass alone is not read again
    assert whole.blank[~read].min() > 235
    for name in ("blank", "pen", "dark"):
        difference = getattr(whole, name).astype(int) - getattr(parts, name)
        assert np.abs(difference[read]).max() <= 1, name
    assert np.quantile(np.abs(whole.blur.astype(int) - parts.blur)[read], 0.95) <= 1


def test_a_resolution_finer_than_the_slide_is_the_slide_s_own() -> None:
    slide = array_slide(draw_tissue(seed=3, tumour=True), mpp=2.0)
    maps = measure_artefacts(slide, slide.thumbnail(8.0), mpp=0.25)
    assert maps.mpp == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("glass", [(242, 242, 244), (228, 226, 226), (212, 210, 216)])
def test_the_colour_of_glass_is_the_slide_s_own(glass: tuple[int, int, int]) -> None:
    rgb = np.full((300, 400, 3), glass, np.uint8)
    rgb[50:200, 80:300] = PINK
    assert glass_colour(rgb) == glass
    assert measured(rgb).blank[0, 0] == 255
    assert measured(rgb).blank[25, 40] == 0


def test_borders_bars_and_marks_are_found_and_tissue_in_the_middle_is_not() -> None:
    rgb = blank(400, 300)
    rgb[:, :20] = 0  # not scanned
    rgb[100:104, 200:390] = 10  # a bar
    cv2.circle(rgb, (300, 200), 12, (8, 8, 8), -1)  # a printed mark
    rgb[150:250, 60:160] = (70, 30, 80)  # dense tissue
    cv2.line(rgb, (60, 60), (120, 100), (10, 10, 10), 5)  # neither solid nor at the edge
    mask = border_mask(rgb)
    assert mask[:, :20].all()
    assert mask[100:104, 200:390].all()
    assert mask[200, 300]
    assert not mask[150:250, 60:160].any()
    assert not mask[60:100, 60:120].any()
    dark = measured(rgb).dark  # in cells of 4 px
    assert dark[20, 22]
    assert not dark[7, 25]


def test_maps_come_back_from_their_file_and_the_same_maps_are_the_same_bytes(tmp_path: Path) -> None:
    maps = measured(draw_tissue(seed=2, tumour=False))
    for name in ("a", "b"):
        write_artefacts(tmp_path / name / "s.h5", maps, {"step": "segment"})
    back = read_artefacts(tmp_path / "a" / "s.h5")
    for name in NAMES:
        np.testing.assert_array_equal(getattr(back, name), getattr(maps, name))
    assert (back.cell_px0, back.mpp) == (maps.cell_px0, maps.mpp)
    assert (tmp_path / "a" / "s.h5").read_bytes() == (tmp_path / "b" / "s.h5").read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no HDF5", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_artefacts(tmp_path / "a.h5")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_a_picture_one_pixel_wide_has_cells_without_gradients(shape: tuple[int, int]) -> None:
    empty, dark, sharp, smooth = artefacts._measure_strips(np.full((*shape, 3), 120, np.uint8), (240, 240, 240), 1)
    assert empty.shape == dark.shape == shape
    assert not sharp.any()
    assert not smooth.any()
