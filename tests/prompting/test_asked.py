"""Prompts: read from the command line, tables and drawings, or refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import shapely
from shapely import MultiPoint, MultiPolygon

from sammil_cli.errors import InputError, SammilError, SlideError
from sammil_cli.prompting.asked import Prompt, of_command_line, on_slide
from sammil_cli.prompting.prompt_drawing import read_drawn_prompts
from sammil_cli.prompting.prompt_table import read_table

BOUNDS = (100, 50, 800, 600)  # the scanned area: x 100..900, y 50..650
HEAD = "slide_id,kind,coordinates,negative,name,class\n"


def box(x: float, y: float, width: float, height: float, **words: str) -> Prompt:
    return Prompt(shape=MultiPolygon([shapely.box(x, y, x + width, y + height)]), **words)


def feature(geometry: dict[str, object], **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def polygon(*corners: tuple[float, float]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


@pytest.fixture
def drawing(tmp_path: Path) -> Callable[..., Path]:
    def write(*features: dict[str, object]) -> Path:
        path = tmp_path / "s1.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
        return path

    return write


def test_each_box_is_a_prompt_and_all_points_are_one() -> None:
    boxes = of_command_line(["10,20,30,40", "1.5,2,3,4"], [], [], name="gland", class_name="Tumor")
    assert [prompt.bounds for prompt in boxes] == [(10, 20, 40, 60), (1.5, 2, 4.5, 6)]
    assert {(prompt.name, prompt.class_name, prompt.is_area) for prompt in boxes} == {("gland", "Tumor", True)}
    (points,) = of_command_line([], ["10,20", "30,5"], ["70,80"])
    assert (points.shape, points.outside) == (MultiPoint([(10, 20), (30, 5)]), MultiPoint([(70, 80)]))
    assert points.bounds == (10, 5, 70, 80)
    assert of_command_line([], [], []) == []


@pytest.mark.parametrize(
    ("boxes", "points", "negatives", "said"),
    [
        (["1,2,3"], [], [], "3 numbers, not 4"),
        (["1,2,three,4"], [], [], "'three' is no number"),
        (["1,2,nan,4"], [], [], "'nan' is no number"),
        (["1,2,1_0,4"], [], [], "'1_0' is no number"),
        (["1,2,1e400,4"], [], [], "far outside"),
        (["1,2,0,4"], [], [], "no size: 0 x 4 px"),
        (["1,2,3,-4"], [], [], "no size: 3 x -4 px"),
        ([], ["1,2,3"], [], "3 numbers, not 2"),
        ([], [""], [], "'' is no number"),
        ([], [], ["1,2"], "none inside"),
        (["1,2,3,4"], ["1,2"], [], "two kinds"),
        (["1,2,3,4"], [], ["1,2"], "two kinds"),
    ],
)
def test_what_is_unclear_on_the_command_line_is_refused(
    boxes: list[str], points: list[str], negatives: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        of_command_line(boxes, points, negatives)
    assert caught.value.code == "E_PROMPT"
    assert caught.value.remedy


def test_a_table_has_a_prompt_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(
        HEAD + "s1,box,10 20 30 40,,a gland,Gland\n"
        "s2,points,10 20; 30 5;,70 80,,Tumor\n"
        "s1,polygon,0 0; 10 0; 10 10.5,,,\n",
        encoding="utf-8",
    )
    read = read_table(path)
    assert {name: len(prompts) for name, prompts in read.items()} == {"s1": 2, "s2": 1}
    first, last = read["s1"]
    assert (first.bounds, first.name, first.class_name) == ((10, 20, 40, 60), "a gland", "Gland")
    assert last.shape.area == pytest.approx(52.5)
    assert last.where == f"{path}, line 4"
    assert read["s2"][0].shape == MultiPoint([(10, 20), (30, 5)])
    assert read["s2"][0].outside == MultiPoint([(70, 80)])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",box,1 2 3 4,,,", "no slide_id"),
        ("s1,circle,1 2 3 4,,,", "kind 'circle' is unknown"),
        ("s1,box+points,1 2 3 4,,,", "unknown"),
        ('s1,box,"1,2,3,4",,,', "has commas"),
        ('s1,points,"1,5 2,5",,,', "has commas"),
        ("s1,box,1 2 0 4,,,", "no size"),
        ("s1,box,1 2 3,,,", "3 numbers, not 4"),
        ("s1,box,1 2 3 4,5 6,,", "two kinds"),
        ("s1,polygon,1 2; 3 4; 5 7,5 6,,", "two kinds"),
        ("s1,points,,5 6,,", "none inside"),
        ("s1,points,,,,", "no point"),
        ("s1,points,1 2 3 4,,,", "4 numbers, not 2"),
        ("s1,points,1 2; ; 3 4,,,", "0 numbers, not 2"),
        ("s1,polygon,1 2; 3 4,,,", "2 corner"),
        ("s1,polygon,0 0; 5 5; 10 10,,,", "empty"),
        ("s1,box,1 2 inf 4,,,", "no number"),
    ],
)
def test_a_row_that_is_unclear_is_refused_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(f"{HEAD}s1,box,1 2 3 4,,,\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        read_table(path)
    assert (caught.value.code, f"{path}, line 3" in caught.value.message) == ("E_PROMPT", True)
    assert caught.value.remedy


def test_all_unclear_rows_are_named_up_to_five(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(HEAD + "s1,box,1 2 3,,,\n" * 7, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert caught.value.message.count("3 numbers") == 5
    assert "and 2 more" in caught.value.message
    assert caught.value.remedy.count("\n") == 0  # once


def test_a_column_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("slide_id,kind,coordinates,negativ\ns1,points,1 2,3 4\n", encoding="utf-8")
    with pytest.raises(InputError, match="negativ") as caught:
        read_table(path)
    assert "negative" in caught.value.remedy


def test_a_row_is_named_by_the_line_that_an_editor_counts(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(HEAD + '\n\ns1,polygon,"0 0;\n10 0;\n10 10",,,\ns1,box,1 2 3,,,\n', encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(f"{path}, line 7")):
        read_table(path)


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("slide_id,kind,coordinates,coordinates\ns1,box,1 2 3 4,5 6 7 8\n")
    with pytest.raises(InputError, match="'coordinates' appears twice") as caught:
        read_table(path)
    assert caught.value.remedy


def test_a_column_without_a_name_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("slide_id,kind,coordinates,,\ns1,box,1 2 3 4,,\n")
    with pytest.raises(InputError, match="a column without a name"):
        read_table(path)


def test_annotations_keep_name_and_class_and_become_areas_or_points(drawing: Callable[..., Path]) -> None:
    path = drawing(
        feature(polygon((0, 0), (10, 0), (10, 20)), name="left gland", classification={"name": "Gland"}),
        feature(
            {"type": "MultiPoint", "coordinates": [[5, 6], [7, 8]]}, classification={"names": ["Tumor", "in situ"]}
        ),
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature(polygon((0, 0), (1, 0), (1, 1)), objectType="detection"),
    )
    prompts, passed = read_drawn_prompts(path, (100, 50))
    assert [(one.is_area, one.name, one.class_name) for one in prompts] == [
        (True, "left gland", "Gland"),
        (False, "", "Tumor: in situ"),
        (False, "", ""),
    ]
    assert [one.bounds for one in prompts] == [(100, 50, 110, 70), (105, 56, 107, 58), (101, 52, 101, 52)]
    assert passed == ["edit: detections passed over: 1"]


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({"type": "Polygon", "coordinates": []}, "empty"),
        (polygon((0, 0), (5, 5), (10, 10)), "empty"),
        ({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}, "a line"),
        (
            {
                "type": "GeometryCollection",
                "geometries": [polygon((0, 0), (9, 0), (9, 9)), {"type": "Point", "coordinates": [1, 2]}],
            },
            "two kinds",
        ),
    ],
)
def test_an_annotation_that_is_unclear_is_refused_by_its_number(
    drawing: Callable[..., Path], geometry: dict[str, object], said: str
) -> None:
    path = drawing(feature(polygon((0, 0), (9, 0), (9, 9))), feature(geometry, name="odd"))
    with pytest.raises(SlideError, match=said) as caught:
        read_drawn_prompts(path, (0, 0))
    assert (caught.value.code, "object 2 (odd)" in caught.value.message) == ("E_PROMPT", True)


def test_a_drawing_without_annotations_is_refused(drawing: Callable[..., Path]) -> None:
    with pytest.raises(SlideError, match=r"cells passed over: 1") as caught:
        read_drawn_prompts(drawing(feature(polygon((0, 0), (9, 0), (9, 9)), objectType="cell")), (0, 0))
    assert caught.value.code == "E_PROMPT"


def test_arrows_of_xml_are_no_prompts(tmp_path: Path) -> None:
    path = tmp_path / "s1.xml"
    areas = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ((0, 0), (9, 0), (9, 9)))
    arrow = '<Vertex X="1" Y="1"/><Vertex X="5" Y="5"/>'
    path.write_text(
        f'<Annotations><Annotation Name="Tumor"><Regions><Region Type="0"><Vertices>{areas}</Vertices></Region>'
        f'<Region Type="3"><Vertices>{arrow}</Vertices></Region></Regions></Annotation></Annotations>'
    )
    prompts, passed = read_drawn_prompts(path, (0, 0))
    assert [(one.is_area, one.class_name) for one in prompts] == [(True, "Tumor")]
    assert passed == ["edit: points or lines of XML passed over: 1"]


_RING = '<Coordinate X="{0}" Y="{0}"/><Coordinate X="9" Y="{0}"/><Coordinate X="9" Y="9"/>'
_ASAP = (
    "<ASAP_Annotations><Annotations>"
    f'<Annotation Name="left" Type="Polygon" PartOfGroup="Tumor"><Coordinates>{_RING.format(0)}</Coordinates>'
    f'</Annotation><Annotation Name="gap" Type="Polygon" PartOfGroup="_2"><Coordinates>{_RING.format(5)}</Coordinates>'
    "</Annotation></Annotations></ASAP_Annotations>"
)
_CAMELYON = json.dumps(
    {
        "positive": [{"name": "Tumor", "vertices": [[0, 0], [9, 0], [9, 9]]}],
        "negative": [{"name": "gap", "vertices": [[5, 5], [9, 5], [9, 9]]}],
    }
)


@pytest.mark.parametrize(("name", "text", "called"), [("s1.xml", _ASAP, "left"), ("s1.json", _CAMELYON, "")])
def test_normal_tissue_in_a_tumour_is_no_prompt(tmp_path: Path, name: str, text: str, called: str) -> None:
    """It is there to be taken away; and such files count from the corner of the file, which is said."""
    (tmp_path / name).write_text(text)
    prompts, passed = read_drawn_prompts(tmp_path / name, (0, 0))
    assert [(one.bounds, one.name, one.class_name) for one in prompts] == [((0, 0, 9, 9), called, "Tumor")]
    assert passed == ["edit: areas to take away passed over: 1"]
    prompts, passed = read_drawn_prompts(tmp_path / name, (100, 50))
    assert [one.bounds for one in prompts] == [(0, 0, 9, 9)]
    assert "edit: areas counted from the corner of the file, not of the scanned area: 1" in passed


def test_what_is_typed_counts_from_the_scanned_area_and_is_cut_to_it() -> None:
    asked = [box(0, 0, 30, 40), box(700, 500, 400, 50), Prompt(shape=MultiPoint([(800, 600)]))]
    found, remarks = on_slide(asked, BOUNDS, moved=False)
    assert [one.bounds for one in found] == [(100, 50, 130, 90), (800, 550, 900, 600), (900, 650, 900, 650)]
    assert remarks == ["edge: prompt(s) 2 cut at the edge of the slide"]
    same, none = on_slide([box(100, 50, 30, 40, where="there")], BOUNDS, moved=True)
    assert (same[0].bounds, same[0].where, none) == ((100, 50, 130, 90), "there", [])


@pytest.mark.parametrize(
    "prompt",
    [
        box(801, 0, 10, 10, where="far"),
        box(800, 0, 10, 10, where="far"),  # touches
        Prompt(shape=MultiPoint([(5, 5), (5, -1)]), where="far"),
        Prompt(shape=MultiPoint([(5, 5)]), outside=MultiPoint([(801, 5)]), where="far"),
    ],
)
def test_a_prompt_off_the_slide_is_refused(prompt: Prompt) -> None:
    with pytest.raises(SlideError, match=r"1 of 2 prompt\(s\) lies off the slide of 800 x 600 px: far") as caught:
        on_slide([box(1, 1, 5, 5), prompt], BOUNDS, moved=False)
    assert caught.value.code == "E_PROMPT"


def test_a_drawing_of_another_slide_is_refused() -> None:
    with pytest.raises(SlideError, match="everything lies off the slide") as caught:
        on_slide([box(9000 + x, 1, 5, 5, where="far") for x in range(9)], BOUNDS, moved=False)
    assert "another slide" in caught.value.remedy
    assert isinstance(caught.value, SammilError)
