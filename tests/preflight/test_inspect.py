"""`sammil inspect`: one line for each slide, what is odd, and what to do about slides that cannot be used."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tifffile
from csv_rows import by_slide
from slide_maker import ArrayReader, draw_asymmetric, write_pyramid

from sammil_cli import console
from sammil_cli.errors import SlideError
from sammil_cli.preflight import inspect
from sammil_cli.preflight.inspect import SlideFacts, describe, report
from sammil_cli.project.project import read_only
from sammil_cli.slides.files import SlideFiles

RGB = draw_asymmetric()


def test_a_slide_is_described_by_what_its_file_says(asymmetric_slide: Path) -> None:
    assert describe("asymmetric", asymmetric_slide, None) == SlideFacts(
        slide_id="asymmetric",
        path=asymmetric_slide,
        kind="tiff",
        size_px=(640, 448),
        downsamples=(1, 2, 4),
        mpp=pytest.approx(2.0),
        mpp_source="TIFF tags",
    )
    assert describe("asymmetric", asymmetric_slide, 0.5).flags == ("slides.csv says 0.5, the file 2 µm per pixel",)


def test_a_slide_without_resolution_is_described_all_the_same(tmp_path: Path) -> None:
    facts = describe("a", write_pyramid(tmp_path / "a.tif", RGB, mpp=None), None)
    assert (facts.code, facts.status, facts.size_px, facts.mpp) == ("E_MPP", "set-aside", (640, 448), None)
    assert facts.remedy.endswith("a,<µm per pixel of level 0>")
    assert describe("a", tmp_path / "a.tif", 0.5).code == ""


def test_the_lens_and_the_resolution_are_compared(tmp_path: Path) -> None:
    text = "Aperio Image Library v12\r\n640x448|AppMag = 40|MPP = 0.5"
    tifffile.imwrite(tmp_path / "a.svs", RGB, photometric="rgb", tile=(64, 64), description=text, metadata=None)
    facts = describe("a", tmp_path / "a.svs", None)
    assert (facts.kind, facts.mpp, facts.mpp_source, facts.objective) == ("aperio", 0.5, "openslide.mpp-x", 40)
    assert facts.flags == ("0.5 µm per pixel does not go with 40x (about 0.25)",)


def describe_array(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> SlideFacts:
    """What is said of a slide in memory."""
    reader = ArrayReader(RGB, (0.5, 0.5))
    for name, value in changes.items():
        setattr(reader, name, value)
    monkeypatch.setattr(inspect, "open_reader", lambda path, scene: reader)
    return describe("a", Path("my slides/a.tif"), None)


def test_the_scanned_area_is_told_where_it_is_not_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_array(monkeypatch).bounds_px is None
    assert describe_array(monkeypatch, bounds_px=(30, 20, 100, 90)).bounds_px == (30, 20, 100, 90)


def test_a_large_slide_of_one_level_gets_the_command_that_makes_a_pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    (flag,) = describe_array(monkeypatch, size_px=(50_000, 40_000)).flags
    assert flag == (
        "a single level of 6.0 GB; faster as a pyramid: vips tiffsave 'my slides/a.tif' 'my slides/a_pyramid.tif' "
        "--tile --pyramid --compression jpeg --Q 90 --bigtiff"
    )


def test_a_damaged_level_is_a_flag_and_a_damaged_slide_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(worst: int) -> Callable[..., Any]:
        def read(xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> Any:
            if level >= worst:
                raise SlideError("E_READ", f"level {level} cannot be decoded", remedy="copy it again")
            return RGB

        return read

    facts = describe_array(monkeypatch, downsamples=(1, 4), read=failing(1))
    assert (facts.code, facts.flags) == ("", ("level 1 cannot be decoded; the next finer level is read instead",))
    with pytest.raises(SlideError, match="level 0"):
        describe_array(monkeypatch, read=failing(0))


def test_a_cohort_is_inspected_from_the_command_line(
    tmp_path: Path, sammil: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slides = tmp_path / "data" / "slides"
    for index in range(5):
        write_pyramid(slides / f"s{index}.tif", RGB, mpp=0.5, downsamples=(1,))
    write_pyramid(slides / "odd.tif", RGB, mpp=0.25)
    (slides / "text.svs").write_text("no slide")
    (slides / "v.vsi").write_bytes(b"x")
    answer = sammil("inspect", "--workers", 2, "--out", "table.csv", "--json")
    assert answer.code == 1
    said = json.loads(answer.out)
    assert said["files"] == {"slides": 7, "unsupported": {".vsi": 1}, "sidecars": {}}
    rows = by_slide(Path("table.csv"))
    assert [record["slide_id"] for record in said["slides"]] == list(rows) == sorted(rows)
    assert {name: row["code"] for name, row in rows.items() if row["code"]} == {"text": "E_OPEN"}
    assert {name: row["flags"] for name, row in rows.items() if row["flags"]} == {
        "odd": "unlike the other slides: 0.25 µm per pixel, most have about 0.5"
    }
    assert rows["odd"]["downsamples"] == "1 2 4"
    assert read_only("table.csv") == {"text"}
    assert sammil("inspect", "--only", "s0,s1", "--workers", 1).code == 0


def facts_of(slide_id: str, **changes: Any) -> SlideFacts:
    return SlideFacts(
        slide_id=slide_id,
        path=Path(f"{slide_id}.svs"),
        kind="hamamatsu",
        size_px=(123_456, 100_000),
        downsamples=(1.0, 4.0, 16.0, 256.25),
        mpp=0.2277,
        mpp_source="DICOM PixelSpacing",
        objective=40,
        **changes,
    )


def test_the_report_fits_a_terminal_and_cuts_nothing_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    console.set_up()
    long = "TCGA-05-4244-01Z-00-DX1.d4ff32cd-38cf-40ea-8213-45c2b100ac01"
    unknown = replace(
        facts_of("b"), mpp=None, mpp_source="", code="E_MPP", message="it does not say", status="set-aside", remedy="x"
    )
    broken = SlideFacts(slide_id="c", path=Path("c"), code="E_OPEN", message="torn", remedy="mend it", status="failed")
    report([facts_of(long, flags=("it is odd",), bounds_px=(1, 2, 3, 4)), unknown, broken], SlideFiles({}))
    lines = capsys.readouterr().out.splitlines()
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 100
    assert "".join(line.split("  ")[0] for line in table[1:5]).startswith(long)
    for cell in ("123456 x 100000", "4 to 1/256", "0.2277", "DICOM PixelSpacing", "40x", "37.04"):
        assert cell in table[1]
    assert f"{long}: scanned are 3 x 4 px at x=1, y=2" in lines
    assert f"{long}: it is odd" in lines
    assert lines[lines.index("failed: c  E_OPEN  torn") + 1] == "    fix: mend it"
    assert "    b,<µm per pixel of level 0>" in lines
    assert lines[-1] == "inspect: 1 of 3 slides can be used"
