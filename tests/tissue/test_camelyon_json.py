"""CAMELYON16's outlines as JSON are drawings like any other."""

import json
from pathlib import Path

import pytest

from sammil_cli.errors import SlideError
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import drawn_areas, read_drawing

SQUARE = [[10, 20], [110, 20], [110, 120], [10, 120]]
HOLE = [[30, 40], [50, 40], [50, 60], [30, 60]]


def write(path: Path, document: object) -> DrawingPath:
    path.write_text(json.dumps(document))
    return DrawingPath(path)


def test_positive_is_taken_and_negative_taken_away(tmp_path: Path) -> None:
    positive, negative = [{"name": "_0", "vertices": SQUARE}], [{"name": "_2", "vertices": HOLE}]
    path = write(tmp_path / "a.json", {"positive": positive, "negative": negative})
    drawing = read_drawing(path, slide_size_px=(500, 500), bounds_px=(0, 0, 500, 500))
    assert drawing.include is not None
    assert (drawing.include.area, drawing.include.bounds) == (100 * 100, (10, 20, 110, 120))
    assert (drawing.exclude.area, drawing.exclude.bounds) == (20 * 20, (30, 40, 50, 60))
    assert "areas of '_0' taken" in " ".join(drawing.notices)


def test_it_counts_from_the_corner_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"positive": [{"name": "_0", "vertices": SQUARE}], "negative": []})
    areas, counts = drawn_areas(path, bounds_px=(7, 9, 400, 400))
    assert [area.class_name for area in areas] == ["_0"]
    assert areas[0].polygons[0].bounds == (10, 20, 110, 120)
    assert counts["areas counted from the corner of the file, not of the scanned area"] == 1


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"positive": [{"name": "_0", "vertices": SQUARE[:2]}]}, "outline 1 of 1 in positive has no three or more"),
        ({"positive": [{"vertices": SQUARE}, {"vertices": "no"}]}, "outline 2 of 2 in positive"),
        ({"positive": [], "negative": [{"vertices": [[1, 2], [3, 4], [5]]}]}, "outline 1 of 1 in negative"),
        ({"positive": [{"vertices": [[0, 0], [1, 1e12], [5, 5]]}]}, "outline 1 of 1 in positive"),
        ({"positive": [7]}, "outline 1 of 1 in positive"),
        ({"positive": {"name": "_0"}}, "positive is"),
        ({"positive": []}, "has no area drawn on it"),
    ],
)
def test_what_is_no_outline_is_refused_by_its_number(tmp_path: Path, document: object, said: str) -> None:
    path = write(tmp_path / "a.json", document)
    with pytest.raises(SlideError, match=said) as caught:
        read_drawing(path, slide_size_px=(500, 500), bounds_px=(0, 0, 500, 500))
    assert caught.value.code == "E_EDIT"
    assert caught.value.remedy


def test_the_real_outlines_of_a_metastasis_slide(real_data: Path) -> None:
    path = real_data / "slides" / "c16_tumor_001_annotation.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    areas, _ = drawn_areas(DrawingPath(path), bounds_px=(0, 0, 3072 * 32, 7168 * 32))
    given = json.loads(path.read_text())["positive"]
    assert len(areas) == len(given)
    assert all(area.class_name in {"_0", "_1"} and not area.excludes for area in areas)
    assert sum(part.area for area in areas for part in area.polygons) > 1000 * 32**2
