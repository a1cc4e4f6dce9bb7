"""Tissue on slides: what is coloured is found where it is, and blank slides are set aside."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from slide_maker import array_slide, blank, draw_asymmetric, write_pyramid
from tissue_specs import BARE, segment

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.files import open_slide
from sammil_cli.tissue.mask import TissueMask, read_tissue, write_tissue
from sammil_cli.tissue.overlay import write_overlay

SPEC = replace(BARE, min_area_um2=1000.0, min_hole_um2=1000.0)
SEGMENTERS = ["od", "otsu", "saturation"]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_both_pieces_and_the_hole_are_found_where_they_are(asymmetric_slide: Path, name: str) -> None:
    with open_slide(asymmetric_slide) as slide:
        mask, thumbnail = segment(slide, replace(SPEC, segmenter=name))
    large, small = mask.polygons.geoms
    assert large.bounds == (40, 40, 320, 260)
    assert [hole.bounds for hole in large.interiors] == [(120, 100, 200, 160)]
    assert small.bounds == (520, 340, 600, 420)
    # 280 x 220 - 80 x 60 + 80 x 80 level-0 pixels of 4 µm²
    assert mask.area_um2 == pytest.approx(63_200 * 4)
    assert (mask.slide_id, mask.slide_size_px, mask.bounds_px) == ("asymmetric", (640, 448), (0, 0, 640, 448))
    assert thumbnail.shape == (112, 160, 3)


def test_the_filters_are_in_um2_of_the_slide(asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:  # the small piece has 25,600 µm², the hole 19,200 µm²
        assert len(segment(slide, replace(SPEC, min_area_um2=25_500))[0].polygons.geoms) == 2
        assert len(segment(slide, replace(SPEC, min_area_um2=25_700))[0].polygons.geoms) == 1
        assert len(segment(slide, replace(SPEC, min_hole_um2=19_100))[0].polygons.geoms[0].interiors) == 1
        assert len(segment(slide, replace(SPEC, min_hole_um2=19_300))[0].polygons.geoms[0].interiors) == 0


def test_closing_and_median_are_in_um_too(asymmetric_slide: Path) -> None:
    rgb = draw_asymmetric()
    rgb[300:304, 100:104] = (200, 60, 120)  # a speck of 8 x 8 µm: one thumbnail pixel
    spec = replace(SPEC, min_area_um2=0.0)
    slide = array_slide(rgb, mpp=2.0)
    assert len(segment(slide, spec)[0].polygons.geoms) == 3
    assert len(segment(slide, replace(spec, median_um=24.0))[0].polygons.geoms) == 2
    assert len(segment(slide, replace(spec, close_um=180.0))[0].polygons.geoms) == 2  # joined over 80 µm


def test_the_same_tissue_at_another_resolution_has_the_same_area() -> None:
    fine = np.kron(draw_asymmetric(), np.ones((2, 2, 1), np.uint8))
    areas = [segment(array_slide(rgb, mpp=mpp), SPEC)[0].area_um2 for rgb, mpp in ((draw_asymmetric(), 2), (fine, 1))]
    assert areas[0] == pytest.approx(areas[1])


def test_a_slide_coarser_than_the_thumbnail_is_segmented_at_level_0() -> None:
    mask, thumbnail = segment(array_slide(draw_asymmetric(), mpp=29.0), SPEC)
    assert thumbnail.shape == (448, 640, 3)
    assert mask.polygons.geoms[0].bounds == (40, 40, 320, 260)


def test_the_thumbnail_is_bounded_on_slides_far_larger_than_meant() -> None:
    rgb = blank(20_000, 24)
    rgb[8:16, 3000:5000] = (200, 60, 120)
    mask, thumbnail = segment(array_slide(rgb, mpp=8.0), SPEC)
    assert max(thumbnail.shape) <= 16_384
    np.testing.assert_allclose(mask.polygons.bounds, (3000, 8, 5000, 16), atol=2)


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("noise", [0, 3])
def test_a_blank_slide_is_set_aside(name: str, noise: int) -> None:
    rgb = blank(400, 300).astype(int) - np.random.default_rng(0).integers(0, noise + 1, (300, 400, 1))
    with pytest.raises(SlideError, match="no tissue found") as caught:
        segment(array_slide(rgb.astype(np.uint8)), replace(SPEC, segmenter=name))
    assert (caught.value.code, caught.value.set_aside) == ("E_NO_TISSUE", True)
    assert "if it is not blank, draw its tissue" in caught.value.remedy


def test_the_error_says_that_only_small_pieces_were_found() -> None:
    rgb = blank(400, 300)
    rgb[100:150, 40:80] = (200, 60, 120)  # 2000 of 120,000 pixels
    with pytest.raises(SlideError, match=r"1\.7% of the slide passes .* no piece is as large as 1e\+06"):
        segment(array_slide(rgb), replace(SPEC, mpp=1.0, min_area_um2=1e6))


def test_an_unknown_segmenter_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown segmenter 'satuartion'") as caught:
        segment(array_slide(draw_asymmetric()), replace(SPEC, segmenter="satuartion"))
    assert "did you mean saturation" in caught.value.remedy
    assert "otsu" in caught.value.remedy


@pytest.fixture
def shifted() -> TissueMask:
    """Tissue on a slide whose scanned area starts at x 30, y 12."""
    slide = array_slide(draw_asymmetric(), mpp=2.0, bounds_px=(30, 12, 600, 420))
    return segment(slide, SPEC)[0]


def test_a_mask_comes_back_from_its_file_also_with_bounds(tmp_path: Path, shifted: TissueMask) -> None:
    write_tissue(tmp_path / "array.geojson", shifted, {"step": "segment"})
    back = read_tissue(tmp_path / "array.geojson")
    assert back.polygons.equals(shifted.polygons)
    assert (back.slide_id, back.slide_mpp) == ("array", 2.0)
    assert (back.slide_size_px, back.bounds_px) == ((640, 448), (30, 12, 600, 420))


def test_qupath_gets_annotations_relative_to_the_scanned_area(tmp_path: Path, shifted: TissueMask) -> None:
    write_tissue(tmp_path / "a.geojson", shifted, {"step": "segment"})
    document = json.loads((tmp_path / "a.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    large, small = document["features"]
    assert large["properties"]["classification"] == {"name": "Tissue", "color": [30, 150, 60]}
    assert large["properties"]["objectType"] == "annotation"
    assert large["properties"]["measurements"] == {"area_um2": (280 * 220 - 80 * 60) * 4}
    assert shapely.geometry.shape(large["geometry"]).bounds == (10, 28, 290, 248)
    assert shapely.geometry.shape(small["geometry"]).bounds == (490, 328, 570, 408)


def test_a_geojson_of_another_tool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match="not written by sammil segment"):
        read_tissue(tmp_path / "a.geojson")


def test_the_overlay_is_the_thumbnail_with_the_outline_on_it(tmp_path: Path, asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:
        mask, thumbnail = segment(slide, SPEC)
    write_overlay(tmp_path / "a.jpg", thumbnail, mask)
    picture = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1].astype(int)
    assert picture.shape == thumbnail.shape
    change = np.abs(picture - thumbnail).max(axis=2)
    outline = [(40, 10), (40, 80), (10, 40), (65, 40), (25, 40), (85, 140)]  # row, column of the edges, / 4
    assert all(change[row, column] > 40 for row, column in outline)
    assert all(change[row, column] < 20 for row, column in ((20, 60), (32, 40), (95, 140), (5, 150), (100, 20)))


def test_a_real_file_and_memory_give_the_same_tissue(tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "array.tif", draw_asymmetric(), mpp=2.0)) as slide:
        from_file = segment(slide, SPEC)[0]
    assert from_file.polygons.equals(segment(array_slide(draw_asymmetric(), mpp=2.0), SPEC)[0].polygons)
