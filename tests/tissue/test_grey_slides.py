"""Grey slides: tissue is found by how dark it is, or refused with the setting that finds it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from slide_maker import GLASS, RGB, array_slide, blank, draw_tissue
from tissue_specs import BARE, CLEANED

from sammil_cli.errors import SlideError
from sammil_cli.preflight.inspect import describe
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import is_grey
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.flags import flags, is_flagged
from sammil_cli.tissue.pen import pen_mask
from sammil_cli.tissue.segment import find_tissue, look

SPEC = replace(CLEANED, mpp=4.0, median_um=12.0, close_um=8.0, min_area_um2=2000.0, min_hole_um2=2000.0)
OD = replace(SPEC, segmenter="od")


def drawn() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A grey slide of 1200 x 900, and where its tissue is: a piece with a hole, and a small one, nothing symmetric."""
    rgb = draw_tissue(seed=5, tumour=True)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), np.ptp(rgb.astype(int), axis=2) > 20


def three(grey: NDArray[np.uint8]) -> RGB:
    return np.repeat(grey[..., None], 3, axis=2)


def iou(slide: Slide, truth: NDArray[np.bool_]) -> float:
    mask = find_tissue(look(slide, OD.mpp), OD).raster((0, 0), 1.0, truth.shape)
    return float((mask & truth).sum() / (mask | truth).sum())


def write(path: Path, form: str) -> None:
    grey, _ = drawn()
    tags = {"resolution": (10_000, 10_000), "resolutionunit": "CENTIMETER", "metadata": None, "tile": (128, 128)}
    if form == "picture":
        Image.fromarray(grey).save(path)
    elif form == "one sample":
        tifffile.imwrite(path, grey, photometric="minisblack", **tags)
    elif form == "white is zero":
        tifffile.imwrite(path, 255 - grey, photometric="miniswhite", **tags)
    else:
        compression = {"three": None, "jpeg": "jpeg", "jpeg 2000": "jpeg2000"}[form]
        tifffile.imwrite(path, three(grey), photometric="rgb", compression=compression, **tags)


@pytest.mark.parametrize("form", ["one sample", "white is zero", "three", "jpeg", "jpeg 2000", "picture"])
def test_od_finds_the_tissue_of_every_kind_of_grey_slide_and_inspect_says_so(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("a.png" if form == "picture" else "a.tif")
    write(path, form)
    (flag,) = [flag for flag in describe("a", path, 1.0).flags if flag.startswith("grey")]
    assert "segmenter: od" in flag
    with open_slide(path, 1.0) as slide:
        picture = look(slide, OD.mpp)
        assert picture.grey
        assert iou(slide, drawn()[1]) > 0.95
        for name in ("saturation", "otsu"):
            with pytest.raises(SlideError, match="a slide without colour") as caught:
                find_tissue(picture, replace(SPEC, segmenter=name))
            assert caught.value.code == "E_NO_TISSUE"
            assert caught.value.remedy.startswith("set segmenter: od, which finds 3")
        found = flags(picture, find_tissue(picture, OD), OD)
    assert [flag.split(":")[0] for flag in found] == ["grey"]
    assert not is_flagged(found)


@pytest.mark.parametrize("glass", [255, 254, 243, 200, 150])
def test_glass_of_a_grey_slide_may_be_white_or_dim(glass: int) -> None:
    grey, truth = drawn()
    tissue = np.minimum(grey, glass - 50)
    noisy = np.random.default_rng(0).integers(-1, 2, grey.shape) if glass < 255 else 0
    slide = array_slide(three(np.where(truth, tissue, glass + noisy).clip(0, 255).astype(np.uint8)))
    assert iou(slide, truth) > 0.95


def test_a_broad_black_border_of_a_grey_slide_leaves_its_glass_as_it_is() -> None:
    grey, truth = drawn()
    grey = np.where(truth, np.minimum(grey, 140), 190).astype(np.uint8)
    grey[:, 1190:] = grey[:60] = 5
    truth = truth & (grey > 5)
    assert iou(array_slide(three(grey)), truth) > 0.95


def test_dense_tissue_of_a_grey_slide_is_no_pen() -> None:
    rgb = three(drawn()[0])
    rgb[200:500, 200:700] = 70
    assert not pen_mask(rgb, 1.0).any()
    rgb[0, 0] = (0, 0, 250)  # one pixel of colour, and dark areas are ink again
    assert pen_mask(rgb, 1.0)[300, 400]


def test_a_slide_with_one_coloured_spot_is_not_grey() -> None:
    rgb = three(drawn()[0])
    assert is_grey(rgb)
    rgb[501, 333] = (120, 120, 126)
    assert not is_grey(rgb)


def test_blank_and_coloured_slides_are_not_flagged(tmp_path: Path) -> None:
    faint = blank(1200, 900)
    faint[700:703, 50:60] = (230, 220, 230)
    for name, rgb in (("blank", blank(1200, 900)), ("faint", faint), ("stained", draw_tissue(seed=1, tumour=False))):
        tifffile.imwrite(tmp_path / f"{name}.tif", rgb, photometric="rgb", tile=(128, 128), metadata=None)
        assert describe(name, tmp_path / f"{name}.tif", 1.0).flags == ()


# ---------------------------------------------------------------------------------------------- what is advised


def refused(rgb: RGB, **changes: object) -> str:
    """The remedy where no tissue is found on a slide of 1 µm per pixel."""
    spec = replace(replace(BARE, mpp=2.0, min_area_um2=500.0), **changes)  # type: ignore[arg-type]
    with pytest.raises(SlideError) as caught:
        find_tissue(look(array_slide(rgb), spec.mpp), spec)
    assert f"segmenter: {spec.segmenter}," not in caught.value.remedy
    return caught.value.remedy


def painted(colour: tuple[int, int, int], share: float = 0.2) -> RGB:
    rgb = blank(600, 400)
    rgb[100:300, 50 : 50 + round(600 * 400 * share / 200)] = colour
    return rgb


def test_the_advice_is_a_setting_that_is_not_set_and_finds_tissue() -> None:
    faint = painted((236, 228, 238))
    assert refused(faint, segmenter="saturation", threshold=15).startswith(
        "set segmenter: otsu, which finds 20.0% tissue"
    )
    assert refused(painted((225, 212, 228)), segmenter="od").startswith(
        "set tissue_od_threshold: 0.03, which finds 20.0%"
    )
    assert refused(painted((100, 100, 106)), segmenter="saturation", threshold=20).startswith(
        "set segmenter: od, which finds 20.0% tissue"
    )


def test_the_advice_knows_pen_black_specks_and_nothing() -> None:
    assert "set tissue_without_pen: false" in refused(painted((40, 60, 190)))
    black = three(np.full((400, 600), 12, np.uint8))
    black[100:200, 100:300] = 90
    assert refused(black).startswith("most of it is black")
    assert "set tissue_min_area_um2 below 48000" in refused(painted((200, 60, 120)), min_area_um2=1e6)
    for name in ("saturation", "otsu", "od"):
        remedy = refused(np.full((400, 600, 3), GLASS, np.uint8), segmenter=name)
        assert remedy.startswith(
            "no other segmenter and no half threshold finds any: if it is not blank, draw its tissue"
        )
