"""Drawings that would take hours are refused with a number; large ones that people do export are read in seconds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.regions.annotations import read_annotations
from sammil_cli.storage import outline_limits
from sammil_cli.storage.annotation_xml import parse_annotation_xml
from sammil_cli.storage.outline_limits import check_outlines, overlapping
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import Area, drawn_areas, read_drawing, read_polygons, what_is_left
from sammil_cli.tissue.mask import TissueMask

SIZE = 100_000
FRAME = (0, 0, SIZE, SIZE)
Ring = NDArray[np.float64]


def circle(count: int, radius: float, centre: Sequence[float] = (50_000, 50_000), *, wobble: float = 0.0) -> Ring:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    far = radius + wobble * np.random.default_rng(0).normal(size=(count, 1))
    return np.asarray(np.array(centre) + far * np.hstack([np.cos(angle), np.sin(angle)]))


def scribble(count: int, side: float = SIZE) -> Ring:
    return np.random.default_rng(0).random((count, 2)) * side


def write(path: Path, rings: Sequence[Ring], *, kind: str = "annotation", name: str = "") -> DrawingPath:
    properties: dict[str, Any] = {"objectType": kind, **({"classification": {"name": name}} if name else {})}
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]},
            "properties": properties,
        }
        for ring in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return DrawingPath(path)


def stripes(count: int) -> list[Ring]:
    across = [np.array([[0, y], [SIZE, y], [SIZE, y + 10], [0, y + 10]], float) for y in range(0, 20 * count, 20)]
    return [*across, *(ring[:, ::-1] for ring in across)]


@pytest.mark.timeout(60)  # more than 80 s before, each
@pytest.mark.parametrize(
    ("rings", "reason"),
    [
        ([scribble(20_000, 20_000)], "cross themselves or one another over 200,000 times"),
        ([scribble(20_000)], "px long"),
        ([circle(300_000, 20_000, wobble=3000)], "px long"),
        (stripes(500), "cross themselves or one another over 200,000 times"),
    ],
    ids=["scribble", "long-scribble", "tremble", "stripes"],
)
def test_what_crosses_itself_without_end_is_refused(tmp_path: Path, rings: list[Ring], reason: str) -> None:
    path = write(tmp_path / "a.geojson", rings)
    with pytest.raises(SlideError, match=rf"a\.geojson is too complex: its outlines .*{reason}") as caught:
        read_polygons(path, slide_size_px=(SIZE, SIZE), bounds_px=FRAME)
    assert (caught.value.code, caught.value.set_aside) == ("E_EDIT", True)
    assert caught.value.remedy


@pytest.mark.timeout(60)
def test_xml_has_the_same_limits(tmp_path: Path) -> None:
    points = "".join(f'<Vertex X="{x:.1f}" Y="{y:.1f}"/>' for x, y in scribble(5000, 20_000))
    hole = '<Vertex X="0" Y="0"/><Vertex X="9" Y="0"/><Vertex X="9" Y="9"/>'
    text = (
        f'<Annotations><Annotation Name="a"><Regions><Region><Vertices>{points}</Vertices></Region>'
        f'<Region NegativeROA="1"><Vertices>{hole}</Vertices></Region></Regions></Annotation></Annotations>'
    )
    with pytest.raises(InputError, match=r"a\.xml is too complex: its outlines cross"):
        parse_annotation_xml(tmp_path / "a.xml", text.encode())


def test_too_many_points_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline_limits, "MOST_POINTS", 100)
    check_outlines(Path("a"), [Polygon(circle(98, 10))])
    with pytest.raises(InputError, match=r"have 101 points, more than 100"):
        check_outlines(Path("a"), [Polygon(circle(100, 10))])


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.timeout(240)  # some 4 s on a quiet machine; 30 s and more before
def test_a_million_points_of_one_outline_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", [circle(1_000_000, 20_000)])
    drawing = read_drawing(path, slide_size_px=(SIZE, SIZE), bounds_px=FRAME)
    assert drawing.include is not None
    assert drawing.include.area == pytest.approx(np.pi * 20_000**2, rel=1e-6)


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.timeout(280)  # some 10 s on a quiet machine; 60 s and more before
def test_fifty_thousand_cells_of_a_million_points_are_read(tmp_path: Path) -> None:
    centres = 15 + scribble(50_000, SIZE - 30)
    rings = [circle(20, 15, centre) for centre in centres.tolist()]
    path = write(tmp_path / "a.geojson", rings)
    drawing = read_drawing(path, slide_size_px=(SIZE, SIZE), bounds_px=FRAME)
    assert drawing.include is not None
    assert drawing.include.area == pytest.approx(50_000 * Polygon(rings[0]).area, rel=0.01)  # few overlap
    detections = write(tmp_path / "b.geojson", rings, kind="detection")
    areas, counts = drawn_areas(detections, bounds_px=FRAME)
    assert (areas, counts["detections passed over"]) == ([], 50_000)


def test_tiles_side_by_side_cross_nothing(tmp_path: Path) -> None:
    """Of QuPath's tiles each shares its sides with four others."""
    rings = [
        np.array([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]], float) * 512 for x in range(60) for y in range(60)
    ]
    path = write(tmp_path / "a.geojson", rings)
    polygons, notices = read_polygons(path, slide_size_px=(SIZE, SIZE), bounds_px=FRAME)
    assert ([polygon.area for polygon in polygons.geoms], notices) == ([(60 * 512) ** 2], [])


@pytest.mark.parametrize(
    ("one", "other", "crosses"),
    [
        (((0, 0), (2, 2)), ((0, 2), (2, 0)), True),
        (((0, 0), (4, 0)), ((2, -1), (2, 1)), True),  # boxes that meet in one point
        (((0, 0), (4, 0)), ((2, 0), (2, 1)), True),  # a T
        (((0, 0), (4, 0)), ((2, 0), (6, 0)), True),  # over one another
        (((0, 0), (4, 0)), ((0, 0), (2, 0)), True),  # there and back again
        (((0, 0), (4, 0)), ((4, 0), (8, 0)), False),  # straight on
        (((0, 0), (4, 4)), ((4, 4), (8, 0)), False),  # a corner
        (((0, 0), (4, 0)), ((4, 0), (0, 0)), False),  # the same, of a neighbour
        (((0, 0), (4, 4)), ((1, 0), (4, 1)), False),  # only boxes meet
    ],
    ids=["x", "plus", "t", "over", "back", "on", "corner", "same", "apart"],
)
def test_what_counts_as_crossing(one: Any, other: Any, crosses: bool) -> None:
    ends = [np.array([point], float) for point in (*one, *other)]
    assert outline_limits._cross(*ends).tolist() == [crosses]
    assert outline_limits._cross(ends[2], ends[3], ends[0], ends[1]).tolist() == [crosses]


def test_what_is_left_is_what_one_difference_leaves() -> None:
    random = np.random.default_rng(1)
    kept = [Polygon(circle(12, 60, random.random(2) * 1000)) for _ in range(60)]
    ignored = [Polygon(circle(9, 80, random.random(2) * 1000)) for _ in range(20)]
    areas = [
        Area(polygons=(polygon,), excludes=excludes) for excludes in (0, 1) for polygon in (kept, ignored)[excludes]
    ]
    whole = shapely.union_all(ignored)
    left = what_is_left(areas, DrawingPath(Path("a")))
    wanted = [shapely.difference(polygon, whole) for polygon in kept]
    assert [found.area for found in left] == pytest.approx([one.area for one in wanted])
    assert sum(one.is_empty for one in left) == sum(one.is_empty for one in wanted) > 0
    assert what_is_left([], DrawingPath(Path("a"))) == []


@pytest.mark.timeout(60)
def test_shapes_that_lie_over_one_another_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested outlines cross nowhere; each of n is compared with each of n."""
    monkeypatch.setattr(outline_limits, "MOST_PAIRS", 1000)
    nested = np.array([shapely.box(-n, -n, n, n) for n in range(1, 50)], object)
    with pytest.raises(InputError, match="1,000 pairs of shapes"):
        overlapping(Path("a"), nested, nested)
    few = nested[:5]
    assert sorted(zip(*(side.tolist() for side in overlapping(Path("a"), few, few)), strict=True)) == [
        (one, other) for one in range(5) for other in range(5)
    ]
    monkeypatch.setattr(outline_limits, "MOST_WORK", 10)
    areas = [Area(polygons=(Polygon(circle(9, 9)),), excludes=excludes) for excludes in (False, True)]
    moved = Area(polygons=(Polygon(circle(9, 9, (50_005, 50_000))),), excludes=True)
    with pytest.raises(SlideError, match="cut one another too often"):
        what_is_left([areas[0], moved], DrawingPath(Path("a")))


@pytest.mark.timeout(60)
def test_annotations_as_regions_have_the_same_limits(tmp_path: Path) -> None:
    tissue = TissueMask(
        slide_id="a",
        polygons=shapely.MultiPolygon([shapely.box(*FRAME)]),
        slide_mpp=0.25,
        slide_size_px=(SIZE, SIZE),
        bounds_px=FRAME,
    )
    with pytest.raises(SlideError, match="too complex") as caught:
        read_annotations(write(tmp_path / "a.geojson", [scribble(20_000, 20_000)]), tissue)
    assert caught.value.code == "E_EDIT"
