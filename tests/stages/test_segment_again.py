"""What a second run does: nothing that was done before, and nothing stale survives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from csv_rows import by_slide
from slide_maker import blank, draw_tissue, write_pyramid

pytestmark = pytest.mark.usefixtures("inline_slides")

Sammil = Callable[..., Any]


def rows(verb: str = "segment") -> dict[str, dict[str, str]]:
    return by_slide(Path(f"artifacts/process_lists/{verb}.csv"))


def by_status() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for slide, row in rows().items():
        found.setdefault(row["code"] or row["status"], []).append(slide)
    return found


def outputs() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("artifacts/tissue").iterdir()}


ALL = [f"slide_{i}" for i in range(6)]


def test_a_second_run_computes_nothing_and_changes_nothing(study: Path, sammil: Sammil) -> None:
    before = outputs()
    answer = sammil("segment")
    assert (answer.code, answer.out.strip()) == (0, "segment: 6 reused → artifacts/tissue")
    assert by_status() == {"reused": ALL}
    assert outputs() == before


def test_results_come_back_after_dvc_has_emptied_the_folder(study: Path, sammil: Sammil) -> None:
    before = outputs()
    for name in before:
        Path("artifacts/tissue", name).unlink()
    assert sammil("segment").code == 0
    assert by_status() == {"reused": ALL}
    assert outputs() == before


def test_one_more_slide_is_one_slide_computed(study: Path, sammil: Sammil) -> None:
    write_pyramid(study / "data/slides/site_b/new.tif", draw_tissue(seed=77, tumour=True), downsamples=(1, 4))
    assert sammil("segment").code == 0
    assert by_status() == {"done": ["new"], "reused": ALL}
    assert {"new.geojson", "new.jpg", "new.h5"} <= set(outputs())


def test_one_slide_less_is_its_files_less_and_nothing_computed(study: Path, sammil: Sammil) -> None:
    (study / "data/slides/slide_3.tif").unlink()
    assert sammil("segment").code == 0
    assert by_status() == {"reused": [slide for slide in ALL if slide != "slide_3"]}
    assert {name for name in outputs() if name.startswith("slide_3")} == set()
    assert len(outputs()) == 15  # polygons, overlay and artefacts of five slides


def test_a_renamed_slide_is_another_slide_and_its_old_files_go(study: Path, sammil: Sammil) -> None:
    (study / "data/slides/slide_3.tif").rename(study / "data/slides/case.3.tif")
    assert sammil("segment").code == 0
    assert by_status() == {"done": ["case.3"], "reused": [slide for slide in ALL if slide != "slide_3"]}
    assert {"case.3.geojson", "case.3.jpg", "case.3.h5"} <= set(outputs())
    assert [name for name in outputs() if name.startswith("slide_3")] == []


def test_two_slides_of_the_same_content_are_two_slides(study: Path, sammil: Sammil) -> None:
    (study / "data/slides/twin.tif").write_bytes((study / "data/slides/slide_3.tif").read_bytes())
    assert sammil("segment").code == 0
    assert {"twin.geojson", "twin.jpg", "slide_3.geojson", "slide_3.jpg"} <= set(outputs())


def test_the_threshold_of_another_segmenter_computes_nothing(study: Path, sammil: Sammil) -> None:
    assert sammil("segment", "-S", "tissue_od_threshold=0.3").code == 0
    assert by_status() == {"reused": ALL}
    assert sammil("segment", "-S", "segmenter=od", "--only", "slide_1").code == 0
    assert sammil("segment", "-S", "segmenter=od", "-S", "tissue_od_threshold=0.08", "--only", "slide_1").code == 0
    assert rows()["slide_1"]["status"] == "done"


def test_a_changed_parameter_computes_all_and_the_old_one_brings_all_back(study: Path, sammil: Sammil) -> None:
    before = outputs()
    assert sammil("segment", "-S", "tissue_close_um=10").code == 0
    assert by_status() == {"done": ALL}
    assert outputs().keys() == before.keys()
    assert all(outputs()[f"{slide}.geojson"] != before[f"{slide}.geojson"] for slide in ALL)
    assert sammil("segment").code == 0
    assert by_status() == {"reused": ALL}
    assert outputs() == before


def test_a_slide_whose_pixels_changed_is_computed_again(study: Path, sammil: Sammil) -> None:
    before = outputs()
    write_pyramid(study / "data/slides/slide_2.tif", draw_tissue(seed=50, tumour=False), downsamples=(1, 4))
    assert sammil("segment").code == 0
    assert by_status() == {"done": ["slide_2"], "reused": [slide for slide in ALL if slide != "slide_2"]}
    assert outputs()["slide_2.geojson"] != before["slide_2.geojson"]


def test_a_damaged_result_in_the_store_is_computed_again(study: Path, sammil: Sammil) -> None:
    before = outputs()
    stored = sorted(Path(".sammil/store/segment").rglob("slide_1.geojson"))
    assert len(stored) == 1
    stored[0].write_bytes(stored[0].read_bytes()[:-20])
    Path("artifacts/tissue/slide_1.geojson").unlink()  # what lies there whole is not fetched again
    assert sammil("segment").code == 0
    assert by_status() == {"done": ["slide_1"], "reused": [slide for slide in ALL if slide != "slide_1"]}
    assert outputs() == before


@pytest.fixture
def hostile(study: Path) -> Path:
    """Two good slides and five bad ones, among them one that is only silent about its resolution."""
    slides = study / "data/slides"
    for slide in ALL[2:]:
        (slides / f"{slide}.tif").unlink()
    (slides / "empty.tif").write_bytes(b"")
    (slides / "text.svs").write_text("I am no slide.\n" * 50, encoding="utf-8")
    write_pyramid(slides / "glass.tif", blank(640, 448))
    write_pyramid(slides / "silent.tif", draw_tissue(seed=9, tumour=False), mpp=None, downsamples=(1, 4))
    write_pyramid(slides / "oblong.tif", draw_tissue(seed=9, tumour=False), mpp=(1.0, 1.5), downsamples=(1, 4))
    (slides / "remarks.txt").write_text("no slide either", encoding="utf-8")
    with tifffile.TiffFile(slides / "silent.tif") as tiff:
        assert tiff.pages[0].resolutionunit == tifffile.RESUNIT.NONE
    return study


def test_bad_slides_are_set_aside_with_reason_and_remedy_and_the_rest_is_done(hostile: Path, sammil: Sammil) -> None:
    answer = sammil("segment", "--workers", 2)
    assert answer.code == 1
    assert by_status() == {
        "reused": ["slide_0", "slide_1"],
        "E_EMPTY": ["empty"],
        "E_OPEN": ["text"],
        "E_NO_TISSUE": ["glass"],
        "E_MPP": ["oblong", "silent"],
    }
    found = rows()
    assert {found[slide]["status"] for slide in ("empty", "text", "glass", "silent", "oblong")} == {"set-aside"}
    assert all(found[slide]["message"] and found[slide]["remedy"] for slide in ("empty", "text", "glass", "silent"))
    assert "data/slides.csv" in found["silent"]["remedy"]
    assert "silent," in found["silent"]["remedy"]
    assert "2 reused, 5 set-aside" in answer.out
    assert "1 .txt" in answer.out
    assert {name.split(".")[0] for name in outputs()} == {"slide_0", "slide_1"}


def test_a_given_resolution_mends_that_slide_and_computes_no_other(hostile: Path, sammil: Sammil) -> None:
    sammil("segment", "--workers", 2)
    (hostile / "data/slides.csv").write_text("slide_id,mpp\nsilent,0.9\n", encoding="utf-8")
    assert sammil("segment", "--workers", 2).code == 1
    found = by_status()
    assert (found["done"], found["reused"], found["E_MPP"]) == (["silent"], ["slide_0", "slide_1"], ["oblong"])
    assert b'"slide_mpp": 0.9' in outputs()["silent.geojson"]
    assert b'"mpp_source": "slides.csv"' in outputs()["silent.geojson"]


def test_a_process_list_can_be_fed_back(hostile: Path, sammil: Sammil) -> None:
    sammil("segment", "--workers", 2)
    (hostile / "data/slides.csv").write_text("slide_id,mpp\nsilent,0.9\noblong,1.1\n", encoding="utf-8")
    listing = "artifacts/process_lists/segment.csv"
    assert sammil("segment", "--workers", 2, "--only", listing).code == 1
    assert by_status() == {
        "done": ["oblong", "silent"],
        "reused": ["slide_0", "slide_1"],  # as the run before left them
        "E_EMPTY": ["empty"],
        "E_OPEN": ["text"],
        "E_NO_TISSUE": ["glass"],
    }
    assert {name.split(".")[0] for name in outputs()} == {"slide_0", "slide_1", "silent", "oblong"}


def test_bad_slides_can_be_tolerated(hostile: Path, sammil: Sammil) -> None:
    assert sammil("segment", "--workers", 2, "--fail-over", "80%").code == 0


@pytest.mark.parametrize("mpp", ["0", "-1", "coarse", "nan", "inf"])
def test_a_resolution_that_is_none_is_refused_with_its_line(study: Path, sammil: Sammil, mpp: str) -> None:
    (study / "data/slides.csv").write_text(f"slide_id,mpp\nslide_0,1.0\nslide_1,{mpp}\n", encoding="utf-8")
    answer = sammil("segment")
    assert answer.code == 2
    assert f"data/slides.csv, line 3: mpp {mpp!r} is no positive number" in answer.err
