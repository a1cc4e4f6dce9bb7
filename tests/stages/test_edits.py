"""Polygons drawn in QuPath and settings of single slides: they win, and redo that slide only, from there on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from csv_rows import by_slide
from shapely.geometry import mapping

from sammil_cli.patches.file import read_patches
from sammil_cli.regions.file import read_regions
from sammil_cli.tissue.mask import read_tissue

pytestmark = pytest.mark.usefixtures("inline_slides")

Sammil = Callable[..., Any]
ALL = [f"slide_{i}" for i in range(6)]
OTHERS = [slide for slide in ALL if slide != "slide_2"]


def rows(verb: str = "segment") -> dict[str, dict[str, str]]:
    return by_slide(Path(f"artifacts/process_lists/{verb}.csv"))


def statuses(verb: str = "segment") -> dict[str, str]:
    return {slide: row["code"] or row["status"] for slide, row in rows(verb).items()}


def only_slide_2_was(status: str) -> dict[str, str]:
    return dict.fromkeys(OTHERS, "reused") | {"slide_2": status}


def draw(*shapes: tuple[shapely.Geometry, str], slide: str = "slide_2") -> None:
    """An export of QuPath in data/edits."""
    features = [
        {
            "type": "Feature",
            "geometry": mapping(geometry),
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for geometry, name in shapes
    ]
    Path("data/edits").mkdir(parents=True, exist_ok=True)
    document = {"type": "FeatureCollection", "features": features}
    Path(f"data/edits/{slide}.geojson").write_text(json.dumps(document), encoding="utf-8")


def tissue(slide: str = "slide_2") -> shapely.MultiPolygon:
    return read_tissue(Path(f"artifacts/tissue/{slide}.geojson")).polygons


def test_half_of_the_tissue_drawn_halves_the_patches_of_that_slide_and_no_other_is_touched(
    study: Path, sammil: Sammil
) -> None:
    settings = ("-S", "patch_px=64", "--workers", 1)
    assert sammil("patch", *settings).code == 0
    before = {slide: read_patches(Path(f"artifacts/patches/{slide}.h5")).xy for slide in ALL}
    automatic = tissue()
    x0, y0, x1, y1 = automatic.bounds
    for cut in range(int(x0), int(x1)):  # where half of the area lies to the left
        half = automatic.intersection(shapely.box(x0, y0, cut, y1))
        if half.area >= automatic.area / 2:
            break
    draw((half, "Tissue"))
    assert sammil("segment").code == 0
    assert statuses() == only_slide_2_was("done")
    assert tissue().equals(half)
    assert sammil("patch", *settings).code == 0
    assert statuses("patch") == only_slide_2_was("done")
    after = {slide: read_patches(Path(f"artifacts/patches/{slide}.h5")).xy for slide in ALL}
    assert 0.4 * len(before["slide_2"]) < len(after["slide_2"]) < 0.6 * len(before["slide_2"])
    assert all((before[slide] == after[slide]).all() for slide in OTHERS)
    assert after["slide_2"][:, 0].max() < cut


def test_an_edit_is_noted_in_the_process_list_and_in_the_file(study: Path, sammil: Sammil) -> None:
    draw((shapely.Polygon([(100, 100), (500, 500), (500, 100), (100, 500)]), "Tissue"), (shapely.Point(1, 1), ""))
    assert sammil("segment").code == 0
    remarks = rows()["slide_2"]["remarks"]
    assert remarks.startswith("edited: taken from slide_2.geojson; edit: ")
    assert "self-crossing outlines repaired: 1" in remarks
    assert "points or lines passed over: 1" in remarks
    facts = json.loads(Path("artifacts/tissue/slide_2.geojson").read_text())["sammil"]
    assert "; ".join(facts["remarks"]) == remarks
    assert facts["pieces"] == 2
    assert facts["tissue_share"] == pytest.approx(2 * 40_000 / (1200 * 900))


def test_what_is_only_ignored_is_taken_from_the_segmenters_tissue(study: Path, sammil: Sammil) -> None:
    automatic = tissue()
    draw((shapely.box(0, 0, 1200, 500), "Ignore*"))
    assert sammil("segment").code == 0
    assert tissue().equals(automatic.difference(shapely.box(0, 0, 1200, 500)))
    assert rows()["slide_2"]["remarks"].startswith("edited: Ignore areas taken from slide_2.geojson")


def test_without_the_edit_all_is_as_before(study: Path, sammil: Sammil) -> None:
    before = Path("artifacts/tissue/slide_2.geojson").read_bytes()
    draw((shapely.box(100, 100, 500, 500), "Tissue"))
    sammil("segment")
    Path("data/edits/slide_2.geojson").unlink()
    assert sammil("segment").code == 0
    assert set(statuses().values()) == {"reused"}
    assert Path("artifacts/tissue/slide_2.geojson").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "geo', "no valid GeoJSON"),
        ("[]", "no area drawn"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[1e999, 0], [1, 1], [2, 0]]]}}]', "feature 1 of 1"),
    ],
)
def test_a_file_that_cannot_be_used_costs_its_slide_only(
    study: Path, sammil: Sammil, content: str, reason: str
) -> None:
    Path("data/edits/slide_2.geojson").write_text(content)
    assert sammil("segment").code == 1
    assert statuses() == only_slide_2_was("E_EDIT")
    row = rows()["slide_2"]
    assert row["status"] == "set-aside"
    assert "data/edits/slide_2.geojson" in row["message"]
    assert reason in row["message"]
    assert row["remedy"]
    assert not list(Path("artifacts/tissue").glob("slide_2.*"))


XML = """<ASAP_Annotations><Annotations>
<Annotation Type="Rectangle" PartOfGroup="_0"><Coordinates><Coordinate X="150" Y="100"/><Coordinate X="700" Y="800"/>
</Coordinates></Annotation>
<Annotation Type="Polygon" PartOfGroup="_2"><Coordinates><Coordinate X="200" Y="300"/><Coordinate X="260" Y="300"/>
<Coordinate X="260" Y="400"/><Coordinate X="200" Y="400"/></Coordinates></Annotation>
</Annotations></ASAP_Annotations>"""


def test_xml_is_tissue_a_region_of_interest_and_a_region_and_what_is_not_read_is_named(
    study: Path, sammil: Sammil
) -> None:
    drawn = shapely.box(150, 100, 700, 800) - shapely.box(200, 300, 260, 400)
    for folder in ("edits", "rois", "annotations"):
        Path(f"data/{folder}/slide_2.xml").write_text(XML)
        Path(f"data/{folder}/slide_3.geojson.txt").write_text("{}")
    named = "passed over: data/{}/slide_3.geojson.txt: a drawing is called <slide>.geojson"
    answer = sammil("segment")
    assert (answer.code, statuses()) == (0, only_slide_2_was("done"))
    assert tissue().equals(drawn)
    remarks = rows()["slide_2"]["remarks"]
    assert "edited: taken from slide_2.xml" in remarks
    assert "edit: areas of '_0' taken: 1; edit: areas of '_2' taken away: 1" in remarks
    assert named.format("edits") in answer.out
    answer = sammil("patch", "-S", "patch_px=64", "--workers", 1)
    assert answer.code == 0
    assert named.format("rois") in answer.out
    xy = read_patches(Path("artifacts/patches/slide_2.h5")).xy
    assert xy.min(axis=0).tolist() >= [150 - 64, 100 - 64]
    answer = sammil("sam", "-S", "proposer=geojson", "--only", "slide_2", "--workers", 1)
    assert (answer.code, statuses("sam")) == (0, {"slide_2": "done"})
    assert named.format("annotations") in answer.out
    regions = read_regions(Path("artifacts/regions/slide_2.h5"))
    assert len(regions) == 1
    painted = np.count_nonzero(regions.labels() == 0) * regions.canvas.downsample**2
    assert painted == pytest.approx(drawn.area, rel=0.01)


def test_a_member_without_points_costs_nothing(study: Path, sammil: Sammil) -> None:
    ring = [[100, 100], [500, 100], [500, 400], [100, 400], [100, 100]]
    Path("data/edits/slide_2.json").write_text(json.dumps({"type": "MultiPolygon", "coordinates": [[ring], []]}))
    assert sammil("segment").code == 0
    assert statuses() == only_slide_2_was("done")
    assert tissue().equals(shapely.box(100, 100, 500, 400))


def test_an_edit_for_no_slide_is_told_with_the_nearest_id(study: Path, sammil: Sammil) -> None:
    draw((shapely.box(100, 100, 500, 500), "Tissue"), slide="slide-2")
    answer = sammil("segment")
    assert answer.code == 0
    assert set(statuses().values()) == {"reused"}
    assert "there is no slide 'slide-2'; did you mean slide_2" in answer.out


def test_settings_of_a_single_slide_win_and_redo_that_slide_only(study: Path, sammil: Sammil) -> None:
    before = tissue()
    table = "slide_id,tissue_min_area_um2,segmenter,note\nslide_2,1e5,otsu,small piece is dirt\nslide_3,,,\n"
    Path("data/slides.csv").write_text(table, encoding="utf-8")
    assert sammil("segment").code == 0
    assert statuses() == only_slide_2_was("done")
    assert len(before.geoms) == 2
    assert len(tissue().geoms) == 1
    key = json.loads(Path("artifacts/tissue/slide_2.geojson").read_text())["sammil"]["key"]
    assert key["settings"]["segmenter"] == "otsu"
    assert key["settings"]["min_area_um2"] == 1e5


@pytest.mark.parametrize(
    ("column", "value", "reason", "fix"),
    [
        ("tissue_threshold", "300", "tissue_threshold: 300", "saturation 0-255"),
        ("tissue_threshold", "pale", "tissue_threshold: 'pale'", "saturation 0-255"),
        ("tissue_threshold", "on", "no numbers or words", "saturation 0-255"),
        ("tissue_without_pen", "7", "tissue_without_pen: 7", "pen marks"),
        ("tissue_close_um", "nan", "tissue_close_um: 'nan'", "gaps"),
        ("tissue_close_um", '"[1"', "tissue_close_um: '[1'", "gaps"),
        ("segmenter", "ostu", "unknown segmenter 'ostu'", "did you mean otsu?"),
    ],
)
def test_a_setting_of_a_slide_that_is_none_is_refused_with_its_place(
    study: Path, sammil: Sammil, column: str, value: str, reason: str, fix: str
) -> None:
    Path("data/slides.csv").write_text(f"slide_id,{column}\nslide_2,{value}\n", encoding="utf-8")
    answer = sammil("segment")
    assert answer.code == 2
    assert "data/slides.csv, slide 'slide_2'" in answer.err
    assert reason in answer.err
    assert fix in answer.err
