"""XML of ImageScope, HALO and ASAP as drawings: areas that are known, holes, classes, and hostile files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import shapely

from sammil_cli.errors import SlideError
from sammil_cli.tissue.edits import read_polygons

SIZE = (2000, 1500)
WHOLE = (0, 0, *SIZE)
Points = Sequence[tuple[object, object]]


def box(x: int, y: int, width: int, height: int) -> Points:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def tag(name: str, content: str = "", **attributes: object) -> str:
    stated = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{stated}>{content}</{name}>"


def region(points: Points, vertex: str = "Vertex", **attributes: object) -> str:
    vertices = "".join(tag(vertex, X=x, Y=y) for x, y in points)
    return tag("Region", "<Attributes/>" + tag("Vertices", vertices), **attributes)


def layer(*regions: str, description: str = "", **attributes: object) -> str:
    stated = tag("Attributes", tag("Attribute", Name="Description", Id=0, Value=description))
    return tag("Annotation", stated + tag("Regions", "<RegionAttributeHeaders/>" + "".join(regions)), **attributes)


def imagescope(*layers: str) -> str:
    return tag("Annotations", "".join(layers), MicronsPerPixel=0.25)


def drawn(points: Points, group: str = "None", kind: str = "Polygon", order: Sequence[int] | None = None) -> str:
    numbers = range(len(points)) if order is None else order
    coordinates = "".join(tag("Coordinate", Order=i, X=points[i][0], Y=points[i][1]) for i in numbers)
    return tag("Annotation", tag("Coordinates", coordinates), Name="A", Type=kind, PartOfGroup=group, Color="#F4FA58")


def asap(*annotations: str, groups: str = "") -> str:
    lists = tag("Annotations", "".join(annotations)) + tag("AnnotationGroups", groups)
    return '<?xml version="1.0"?>\n' + tag("ASAP_Annotations", lists)


def read(
    folder: Path, text: str | bytes, bounds_px: tuple[int, int, int, int] = WHOLE, name: str = "s.xml"
) -> tuple[shapely.MultiPolygon, list[str]]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_polygons(folder / name, slide_size_px=SIZE, bounds_px=bounds_px)  # type: ignore[arg-type]


def box_of(*boxes: tuple[int, int, int, int]) -> shapely.Geometry:
    return shapely.union_all([shapely.box(x, y, x + width, y + height) for x, y, width, height in boxes])


TUMOUR, INNER = (100, 200, 500, 300), (200, 250, 90, 70)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (imagescope(layer(region(box(*TUMOUR), Type=0))), box_of(TUMOUR)),
        (
            imagescope(layer(region(box(*TUMOUR), Type=0), region(box(*INNER), Type=0, NegativeROA=1))),
            box_of(TUMOUR) - box_of(INNER),
        ),
        (  # tissue in a hole of its own layer
            imagescope(
                layer(region(box(*TUMOUR)), region(box(*INNER), NegativeROA=1), region(box(210, 260, 20, 30), Type=0))
            ),
            (box_of(TUMOUR) - box_of(INNER)) | box_of((210, 260, 20, 30)),
        ),
        (  # a hole that lies in no larger area takes away what lies in it, and the part of what does not
            imagescope(
                layer(region(box(20, 20, 9, 9)), region(box(*TUMOUR)), region(box(0, 0, 50, 60), NegativeROA=1))
            ),
            box_of(TUMOUR),
        ),
        (
            imagescope(layer(region(box(*TUMOUR)), region(box(50, 150, 100, 100), NegativeROA="True"))),
            box_of(TUMOUR) - box_of((50, 150, 100, 100)),
        ),
        (  # holes count in their layer only ...
            imagescope(
                layer(region(box(*TUMOUR)), region(box(*INNER), NegativeROA=1)), layer(region(box(*INNER)), Name="b")
            ),
            box_of(TUMOUR),
        ),
        (  # ... but for a layer of nothing else
            imagescope(layer(region(box(*TUMOUR))), layer(region(box(*INNER), NegativeROA=1))),
            box_of(TUMOUR) - box_of(INNER),
        ),
        *(
            (imagescope(layer(region(box(*TUMOUR))), other), box_of(TUMOUR) - box_of(INNER))
            for other in (
                layer(region(box(*INNER)), Name="Ignore*"),
                layer(region(box(*INNER)), Name="exclusion zone"),
                layer(region(box(*INNER)), Name="Layer 2", description="Exclude"),
                layer(region(box(*INNER), Text="excluded fold"), Name="Layer 2"),
            )
        ),
        (  # HALO: words for kinds, V for points
            tag("Annotations", layer(region([(100, 200), (600, 500)], "V", Type="Rectangle", NegativeROA=0))),
            box_of(TUMOUR),
        ),
        (  # arrows, rulers and pins have no area
            imagescope(
                layer(
                    region(box(*TUMOUR), Type=1),
                    region([(0, 0), (900, 900)], Type=3),
                    region(box(0, 0, 99, 99), Type="Ruler"),
                    region(box(0, 0, 99, 99), Type=0, GeoShape="Points"),
                )
            ),
            box_of(TUMOUR),
        ),
        (  # CAMELYON16: tumour, tumour, normal tissue
            asap(drawn(box(*TUMOUR), "_0"), drawn(box(900, 20, 40, 30), "_1", "Spline"), drawn(box(*INNER), "_2")),
            (box_of(TUMOUR) - box_of(INNER)) | box_of((900, 20, 40, 30)),
        ),
        (asap(drawn(box(*TUMOUR), "Tumor"), drawn(box(*INNER), "Exclusion")), box_of(TUMOUR) - box_of(INNER)),
        (asap(drawn(box(*TUMOUR), "metastases"), drawn(box(*INNER), "normal")), box_of(TUMOUR) - box_of(INNER)),
        (asap(drawn(box(*TUMOUR), "_3"), drawn(box(900, 20, 40, 30), "_2")), box_of(TUMOUR, (900, 20, 40, 30))),
        (
            asap(
                drawn(box(*TUMOUR), "a"),
                drawn(box(*INNER), "folds"),
                groups=tag("Group", Name="folds", PartOfGroup="Ignore") + tag("Group", Name="a", PartOfGroup="a"),
            ),
            box_of(TUMOUR) - box_of(INNER),
        ),
        (
            asap(drawn([("100,5", "200"), ("300.5", "200"), ("300,5", "250,25"), ("100,5", "250,25")])),
            shapely.box(100.5, 200, 300.5, 250.25),
        ),
        (
            asap(
                drawn(box(*TUMOUR), kind="Rectangle"),
                drawn([(9, 9)], kind="Dot"),
                drawn(box(0, 0, 9, 9), "", "PointSet"),
            ),
            box_of(TUMOUR),
        ),
        (asap(drawn(box(*TUMOUR), order=(2, 0, 3, 1))), box_of(TUMOUR)),
    ],
)
def test_areas_lie_where_they_were_drawn_without_what_was_taken_away(
    tmp_path: Path, text: str, wanted: shapely.Geometry
) -> None:
    found, _ = read(tmp_path, text)
    assert shapely.symmetric_difference(found, wanted).area < 1e-6


def test_ellipses_fill_the_box_of_their_corners_or_of_their_outermost_points(tmp_path: Path) -> None:
    corners = region([(100, 200), (500, 300)], Type=2)
    outermost = region([(1100, 200), (1300, 250), (1100, 300), (900, 250)], Type=7, GeoShape="Ellipse")
    found, _ = read(tmp_path, imagescope(layer(corners, outermost)))
    left, right = sorted(found.geoms, key=lambda polygon: polygon.bounds)
    assert left.bounds == pytest.approx((100, 200, 500, 300), abs=0.1)
    assert right.bounds == pytest.approx((900, 200, 1300, 300), abs=0.1)
    assert left.area == pytest.approx(np.pi * 200 * 50, rel=1e-3) == right.area
    assert left.contains(shapely.Point(160, 230))
    assert not left.contains(shapely.Point(110, 210))


def test_the_remarks_say_what_was_taken_and_what_was_taken_away(tmp_path: Path) -> None:
    text = imagescope(
        layer(region(box(*TUMOUR)), region(box(700, 20, 30, 40)), region([(1, 2)], Type=5), Name="Krebs é"),
        layer(region(box(*INNER), Text="Fat"), LineColor=255),
        layer(region(box(900, 0, 50, 50)), LineColor=65280),
        layer(region(box(900, 0, 9, 9)), Name="Ignore"),
        layer(region(box(5, 5, 9, 9))),
    )
    _, remarks = read(tmp_path, text)
    assert sorted(remarks) == [
        "edit: areas of 'Fat' taken: 1",
        "edit: areas of 'Ignore' taken away: 1",
        "edit: areas of 'Krebs é' taken: 2",
        "edit: areas of 'LineColor 65280' taken: 1",
        "edit: areas without a class taken: 1",
        "edit: points or lines passed over: 1",
    ]


def test_many_classes_are_counted_together(tmp_path: Path) -> None:
    regions = [region(box(20 * i, 0, 9, 9), Text=f"cell {i}") for i in range(40)]
    _, remarks = read(tmp_path, imagescope(layer(*regions)))
    assert len(remarks) == 11
    assert remarks[-1] == "edit: areas of other classes taken: 30"


def test_imagescope_and_asap_count_from_the_corner_of_the_file_and_halo_is_refused_where_that_is_not_known(
    tmp_path: Path,
) -> None:
    bounds = (40, 30, 1900, 1400)
    for text in (imagescope(layer(region(box(*TUMOUR)))), asap(drawn(box(*TUMOUR)))):
        found, remarks = read(tmp_path, text, bounds)
        assert found.equals(box_of(TUMOUR))
        assert "edit: areas counted from the corner of the file, not of the scanned area: 1" in remarks
    halo = tag("Annotations", layer(region(box(*TUMOUR), "V", Type="Polygon")))
    assert read(tmp_path, halo, name="s.annotations")[0].equals(box_of(TUMOUR))
    with pytest.raises(SlideError, match="HALO's, whose origin on slides with an empty margin"):
        read(tmp_path, halo, bounds, "s.annotations")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_each_encoding_that_a_file_declares_is_read(tmp_path: Path, encoding: str) -> None:
    name = encoding.removesuffix("-sig")
    declared = f'<?xml version="1.0" encoding="{name}"?>'
    text = declared + imagescope(layer(region(box(*TUMOUR)), Name="Entzündung"))
    assert read(tmp_path, text.encode(encoding))[1] == ["edit: areas of 'Entzündung' taken: 1"]


ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><Annotations>&c;</Annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><Annotations>&x;</Annotations>'


def test_groups_in_groups_are_followed_to_a_depth_that_bounds_the_time(tmp_path: Path) -> None:
    def nested(depth: int) -> str:
        groups = (tag("Group", Name=f"g{at}", PartOfGroup=f"g{at + 1}") for at in range(depth))
        return asap(
            drawn(box(*TUMOUR)), drawn(box(*INNER), "g0"), groups="".join(groups) + tag("Group", Name="excluded")
        )

    text = nested(20).replace("g20", "excluded")
    assert read(tmp_path, text)[0].area == (box_of(TUMOUR) - box_of(INNER)).area
    with pytest.raises(SlideError, match=r"annotation 2 of 2 \(A\) lies more than 32 groups deep") as caught:
        read(tmp_path, nested(33))
    assert caught.value.code == "E_EDIT"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENTITIES, "declares a document type, whose entities could be hostile"),
        (OUTSIDE, "declares a document type, whose entities could be hostile"),
        ("<Annotations>&x;</Annotations>", "undefined entity"),
        ("", "no valid XML of annotations: no element found"),
        (asap(drawn(box(*TUMOUR)))[:200], "no valid XML of annotations: .*line 2"),
        ('{"type": "FeatureCollection"}', "no valid XML of annotations"),
        ('<?xml version="1.0" encoding="klingon"?><Annotations/>', "unknown encoding"),
        (b"<Annotations>\xff</Annotations>", "not well-formed"),
        ("<html><body/></html>", "begins with <html>"),
        ('<Vertex X="1" Y="2"><Vertex/></Vertex>', "begins with <a point>"),
        ('<annotations><ndpviewstate id="1"/></annotations>', "Hamamatsu's NDPA, in nanometres"),
        (asap(), "no area drawn on it"),
        (asap(drawn([(5, 5)], kind="Dot")), r"no area drawn on it \(edit: points or lines passed over: 1\)"),
        (asap(drawn([(5, 5), ("nan", 6), (7, 8)])), r"annotation 1 of 1 \(A\): point 2 has no X and Y"),
        (asap(drawn([(5, 5), ("1e12", 6), (7, 8)])), "point 2 has no X and Y"),
        (asap(drawn([(5, 5), ("1.234,5", 6), (7, 8)])), "point 2 has no X and Y"),
        (imagescope(layer(region(box(1, 1, 9, 9)).replace('Y="1"', ""), Name="T")), "region 1 of layer T: point 1"),
        (asap(drawn(box(9000, 9000, 50, 50))), "nothing drawn in .* lies on the slide"),
        ("<a>" * 40 + "</a>" * 40, "begins with <a>"),
        ("<Annotations>" + "<a/>" * 51 + "</Annotations>", "more than 50 elements"),
    ],
)
def test_what_is_hostile_damaged_or_of_another_tool_costs_its_slide_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, reason: str
) -> None:
    monkeypatch.setattr("sammil_cli.storage.annotation_xml._MOST_ELEMENTS", 50)
    with pytest.raises(SlideError, match=reason) as caught:
        read(tmp_path, text)
    assert caught.value.code == "E_EDIT"
    assert caught.value.remedy
