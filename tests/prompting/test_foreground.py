"""What is foreground of a drawing, and that its masks lie on the same tissue as the pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from drawn_project import draw
from shapely import MultiPolygon
from slide_maker import array_slide, blank, draw_asymmetric

from sammil_cli.errors import SlideError
from sammil_cli.prompting.foreground import NearbyAreas, paint, read_foreground
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.mask import TissueMask

BOUNDS = (36, 20, 560, 400)
PIECES = MultiPolygon([shapely.box(40, 40, 320, 260), shapely.box(520, 340, 600, 420)])  # of the asymmetric slide
CROSS = [(150, 190, 290, 200), (210, 120, 222, 280), (222, 120, 260, 130)]  # with a flag: no symmetry


def slide_with_bounds() -> Slide:
    return array_slide(draw_asymmetric(), bounds_px=BOUNDS)


def tissue_of(slide: Slide) -> TissueMask:
    return TissueMask(
        slide_id="array", polygons=PIECES, slide_mpp=1.0, slide_size_px=slide.size_px, bounds_px=slide.bounds_px
    )


def areas_of(path: Path, classes: list[str] | None = None, *, tissue: bool = False) -> list[MultiPolygon]:
    slide = slide_with_bounds()
    return read_foreground(DrawingPath(path), slide, tissue_of(slide) if tissue else None, classes)[0]


def refusal(path: Path, classes: list[str] | None = None, *, tissue: bool = False) -> SlideError:
    with pytest.raises(SlideError) as refused:
        areas_of(path, classes, tissue=tissue)
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize("kind", ["geojson", "xml"])
def test_a_painted_cross_lies_at_the_same_place_in_both_pictures_and_both_masks(tmp_path: Path, kind: str) -> None:
    rgb = blank(640, 448)
    for left, top, right, bottom in CROSS:
        rgb[top:bottom, left:right] = (60, 30, 80)
    slide = array_slide(rgb, bounds_px=BOUNDS)
    if kind == "geojson":  # QuPath counts from the scanned area's corner, ASAP from the file's
        path = draw(tmp_path / "array.geojson", *(shapely.box(*_moved(box)) for box in CROSS))
    else:
        path = _asap(tmp_path / "array.xml", CROSS)
    near = NearbyAreas(read_foreground(DrawingPath(path), slide, None, None)[0])
    field = Field.around((246, 184), mpp=1.0, slide_mpp=1.0, out_px=128)
    assert field.side_px0 == 128
    for seen, picture in zip((field, field.low), field.read(slide), strict=True):
        dark = picture.mean(2) < 150
        assert dark.any()
        assert np.array_equal(near.mask(seen), dark)


def _moved(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y = BOUNDS[:2]
    return box[0] - x, box[1] - y, box[2] - x, box[3] - y


def _asap(path: Path, boxes: list[tuple[int, int, int, int]]) -> Path:
    """As CAMELYON16 has it."""
    drawn = "".join(
        f'<Annotation Name="{number}" Type="Polygon" PartOfGroup="_0"><Coordinates>'
        + "".join(
            f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>'
            for order, (x, y) in enumerate([(left, top), (right, top), (right, bottom), (left, bottom)])
        )
        + "</Coordinates></Annotation>"
        for number, (left, top, right, bottom) in enumerate(boxes)
    )
    path.write_text(f"<ASAP_Annotations><Annotations>{drawn}</Annotations></ASAP_Annotations>")
    return path


def test_a_pixel_is_foreground_where_its_middle_is_in_an_area() -> None:
    rng = np.random.default_rng(5)
    areas = [MultiPolygon([shapely.Point(*rng.uniform(0, 90, 2)).buffer(rng.uniform(3, 25))]) for _ in range(8)]
    ring = areas[0].geoms[0].difference(areas[0].geoms[0].centroid.buffer(2))
    areas[0] = MultiPolygon([ring])
    field = Field(corner_px=(-7, 11), side_px0=72, out_px=48)
    y, x = np.mgrid[:48, :48] + 0.5
    middles = field.to_slide(np.stack([x.ravel(), y.ravel()], 1))
    inside = shapely.contains_xy(shapely.union_all(areas), middles[:, 0], middles[:, 1]).reshape(48, 48)
    assert 0.1 < inside.mean() < 0.9
    assert np.array_equal(paint(areas, field), inside)
    assert np.array_equal(NearbyAreas(areas).mask(field), inside)


def test_everything_drawn_is_foreground_where_no_class_is_asked_for(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.geojson", shapely.box(50, 50, 60, 60), (shapely.box(80, 50, 90, 60), "Stroma"))
    assert len(areas_of(path)) == 2


def test_only_the_classes_asked_for_are_foreground_and_ignore_is_taken_off_whatever_is_asked_for(
    tmp_path: Path,
) -> None:
    path = draw(
        tmp_path / "a.geojson",
        (shapely.box(50, 50, 90, 90), "Tumour"),
        (shapely.box(100, 50, 120, 60), "Stroma"),
        (shapely.box(50, 50, 70, 90), "Ignore*"),
    )
    (left,) = areas_of(path, ["Tumour"])
    assert left.area == 20 * 40
    slide = slide_with_bounds()
    _, notices = read_foreground(DrawingPath(path), slide, None, ["Tumour"])
    assert any("other classes passed over: 1" in notice for notice in notices)


def test_an_annotation_without_a_class_is_refused_where_classes_are_asked_for(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.geojson", (shapely.box(50, 50, 60, 60), "Tumour"), shapely.box(80, 50, 90, 60))
    error = refusal(path, ["Tumour"])
    assert (error.code, error.set_aside) == ("E_CLASS", True)
    assert "1 of 2 annotations" in error.message
    assert "wsi_sam_classes" in error.remedy


def test_a_class_that_nothing_has_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    error = refusal(draw(tmp_path / "a.geojson", (shapely.box(50, 50, 60, 60), "Tumor")), ["Tumour"])
    assert error.code == "E_CLASS"
    assert "'Tumor'" in error.message


def test_a_drawing_of_another_slide_is_refused(tmp_path: Path) -> None:
    error = refusal(_asap(tmp_path / "a.xml", [(40_000, 52_000, 41_000, 52_500)]))
    assert error.code == "E_EDIT"
    assert "640 x 448" in error.message
    assert "this slide's file" in error.remedy


def test_a_drawing_off_the_tissue_is_refused_where_tissue_is_known(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.geojson", shapely.box(420, 60, 440, 80))
    assert len(areas_of(path)) == 1
    assert refusal(path, tissue=True).code == "E_ANNOTATION"


@pytest.mark.parametrize("ring", [[], [[5, 5]] * 4, [[5, 5], [9, 5], [5, 5], [5, 5]]])
def test_a_polygon_around_nothing_is_no_drawing(tmp_path: Path, ring: list[list[int]]) -> None:
    path = tmp_path / "a.geojson"
    geometry = {"type": "Polygon", "coordinates": [ring]}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))
    assert refusal(path).code == "E_EDIT"


def test_what_is_excluded_as_a_whole_leaves_nothing(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.geojson", shapely.box(50, 50, 60, 60), (shapely.box(40, 40, 70, 70), "Ignore*"))
    assert refusal(path).code == "E_EDIT"
