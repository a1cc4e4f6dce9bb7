"""sammil segment --tune: a sheet, numbers, and lines to copy; the tissue folder stays as it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from csv_rows import rows_of

from sammil_cli.config import SegmentSettings
from sammil_cli.jobs.segment import spec_of
from sammil_cli.preflight.tune import MOST_SLIDES, advice, candidates, choose_slides
from sammil_cli.report.tissue_trials import Trial, rank

Sammil = Callable[..., Any]


def tissue_folder() -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("artifacts/tissue").iterdir()}


def table() -> list[dict[str, str]]:
    return rows_of(Path("artifacts/tune/tissue.csv"))


def test_the_sheet_has_a_row_for_each_slide_and_a_column_for_each_setting(study: Path, sammil: Sammil) -> None:
    before = tissue_folder()
    listing = Path("artifacts/process_lists/segment.csv").read_bytes()
    # What the segmenter finds on slide_1 without its small piece: the settings that drop it are the closest.
    drawn = json.loads(Path("artifacts/tissue/slide_1.geojson").read_text())
    drawn["features"] = drawn["features"][:1]
    Path("data/edits/slide_1.geojson").write_text(json.dumps(drawn))
    answer = sammil("segment", "--tune", "--only", "slide_0,slide_1", "--workers", 1)
    assert answer.code == 0, answer
    assert tissue_folder() == before
    assert Path("artifacts/process_lists/segment.csv").read_bytes() == listing
    sheet = cv2.imread("artifacts/tune/tissue.png")
    assert sheet is not None
    found = table()
    settings = [row["setting"] for row in found if row["slide_id"] == "slide_0"]
    assert {"current", "otsu", "od", "bwh-biopsy", "tcga", "faint", "ihc"} <= set(settings)
    assert {row["slide_id"] for row in found} == {"slide_0", "slide_1"}
    assert sheet.shape[1] >= 150 * len(settings)
    current = {row["slide_id"]: row for row in found if row["setting"] == "current"}
    area = json.loads(before["slide_1.geojson"][0])["features"][0]["properties"]["measurements"]["area_um2"]
    total = float(current["slide_1"]["area_um2"])
    assert current["slide_0"]["edit_iou"] == ""
    assert float(current["slide_1"]["edit_iou"]) == pytest.approx(area / total, abs=0.01)
    assert float(current["slide_1"]["tissue_share"]) == pytest.approx(total / (1200 * 900), abs=1e-3)
    assert "ranked first: " in answer.out
    assert "artifacts/tune/tissue.png" in answer.out


def test_a_blank_slide_is_shown_and_a_broken_one_is_told(study: Path, sammil: Sammil) -> None:
    for slide in list(Path("data/slides").glob("*.tif"))[1:]:
        slide.unlink()
    (study / "data/slides/broken.tif").write_bytes(b"II*\0 no more")
    answer = sammil("segment", "--tune", "-S", "tissue_threshold=255", "--workers", 1, "--json")
    assert answer.code == 0
    blank = next(row for row in table() if row["setting"] == "current")
    assert (blank["pieces"], blank["remarks"]) == ("0", "no tissue")
    spoken = json.loads(answer.out)
    assert spoken["ranks"][-1]["doubtful"] == 1
    assert any("segmenter: " in line or "tissue_threshold: " in line for line in spoken["advice"])


def test_the_sample_is_the_same_each_time_and_has_the_edited_slides() -> None:
    ids = [f"s{index:03}" for index in range(100)]
    first = choose_slides(ids, {"s017", "s099"})
    assert first == choose_slides(ids, {"s017", "s099"})
    assert len(first) == MOST_SLIDES
    assert {"s017", "s099"} < set(first)
    assert choose_slides(ids[:3], set()) == ids[:3]


@pytest.mark.parametrize("name", ["saturation", "otsu", "od"])
def test_no_setting_is_tried_twice(name: str) -> None:
    named = candidates(SegmentSettings(segmenter=name))
    specs = [spec_of(settings) for settings in named.values()]
    assert len(set(specs)) == len(specs) >= 8
    assert next(iter(named)) == "current"
    assert ("half threshold" in named) == (name != "otsu")


def trial(slide: str, setting: str, *, agreement: float = 0.9, iou: float | None = None, remarks: str = "") -> Trial:
    return Trial(
        slide_id=slide,
        setting=setting,
        picture=np.zeros((2, 2, 3), np.uint8),
        tissue_share=0.2,
        pieces=3,
        area_um2=1e6,
        agreement=agreement,
        edit_iou=iou,
        remarks=(remarks,) if remarks else (),
    )


def test_drawings_decide_then_doubtful_slides_then_agreement() -> None:
    flag, pen = "little-tissue: 0.1%", "pen: 2.0% of the slide"
    trials = [
        *(
            trial("a", name, agreement=value, remarks=note)
            for name, value, note in (("current", 0.95, flag), ("otsu", 0.8, pen), ("od", 0.9, ""))
        ),
        *(trial("b", name) for name in ("current", "otsu", "od")),
    ]
    assert [one.setting for one in rank(trials)] == ["od", "otsu", "current"]
    drawn = [trial("c", "current", iou=0.9), trial("c", "otsu", iou=0.95), trial("c", "od", iou=0.7)]
    ranks = rank([*trials, *drawn])
    assert [(one.setting, one.edit_iou) for one in ranks] == [("otsu", 0.95), ("current", 0.9), ("od", 0.7)]


def everything(slide: str, setting: str, iou: float | None = None) -> Trial:
    return replace(trial(slide, setting, iou=iou, remarks="much-tissue: 99%"), tissue_share=0.99, pieces=1)


def test_a_setting_that_calls_a_quarter_of_the_slides_all_tissue_or_none_is_never_first() -> None:
    ids = [f"s{number:02}" for number in range(12)]
    trials = [trial(name, "otsu", iou=0.7 if name == "s00" else None) for name in ids]
    trials += [trial("s00", "faint", iou=0.95)]
    trials += [everything(name, "faint") if name < "s07" else trial(name, "faint") for name in ids[1:]]
    trials += [replace(trial(name, "none", iou=0.99 if name == "s00" else None), pieces=0) for name in ids]
    trials += [trial("s00", "od", iou=0.8)]
    trials += [everything(name, "od") if name < "s03" else trial(name, "od") for name in ids[1:]]
    ranks = rank(trials)
    assert [(one.setting, one.all_or_none, one.degenerate) for one in ranks] == [
        ("od", 2, False),
        ("otsu", 0, False),
        ("none", 11, True),
        ("faint", 6, True),
    ]
    first = ranks[0]
    assert (first.edits, first.slides, first.edit_iou, first.edit_iou_sd) == (1, 12, 0.8, None)
    assert (first.least_share, first.largest_share) == (0.2, 0.99)
    assert advice(trials, SegmentSettings())[:3] == [
        "ranked first: od (IoU 0.80 with the edits on 1 of 12 slides: few; draw more before you trust it)",
        "ranked last, whatever its IoU: none: all tissue or none on 11 of 12 slides",
        "ranked last, whatever its IoU: faint: all tissue or none on 6 of 12 slides",
    ]


def test_slides_that_every_setting_calls_all_tissue_or_that_were_drawn_so_count_against_none() -> None:
    small = [everything(name, setting) for name in "ab" for setting in ("otsu", "od")]
    drawn = [everything(name, "otsu", iou=0.98) for name in "cd"] + [trial(name, "od", iou=0.2) for name in "cd"]
    assert [(one.setting, one.all_or_none, one.degenerate) for one in rank(small + drawn)] == [
        ("otsu", 2, False),
        ("od", 2, False),
    ]


def test_the_spread_over_edits_is_told() -> None:
    trials = [trial(name, "otsu", iou=iou) for name, iou in (("a", 0.7), ("b", 0.9), ("c", 0.8), ("d", None))]
    (first,) = rank(trials)
    assert (first.edits, first.edit_iou, first.edit_iou_sd) == (3, pytest.approx(0.8), pytest.approx(0.1))
    assert advice(trials, SegmentSettings())[0] == "ranked first: otsu (IoU 0.80±0.10 with the edits on 3 of 4 slides)"


def test_the_advice_can_be_copied() -> None:
    flag = "methods-disagree: 0.2"
    trials = [
        trial("a", "otsu"), trial("a", "current", agreement=0.5), trial("a", "od", agreement=0.7),
        trial("b", "otsu"), trial("b", "current", agreement=0.5), trial("b", "od", agreement=0.7),
        trial("c", "otsu", remarks=flag), trial("c", "current", remarks=flag), trial("c", "od"),
        trial("d", "otsu"), trial("d", "current", remarks=flag), trial("d", "od", remarks=flag),
    ]  # fmt: skip
    assert advice(trials, SegmentSettings()) == [
        "ranked first: otsu",
        "for params.yaml:",
        "  segmenter: otsu",
        "for data/slides.csv:",
        "  slide_id,segmenter",
        "  c,od",
    ]
    assert advice([trial("a", "current")], SegmentSettings()) == ["ranked first: current"]


def test_shapes_far_from_any_slide_do_not_stop_the_sheet(study: Path, sammil: Sammil) -> None:
    far = shapely.geometry.mapping(shapely.box(10_000, 10_000, 11_000, 11_000))
    Path("data/edits/slide_1.geojson").write_text(json.dumps({"type": "Feature", "geometry": far}))
    answer = sammil("segment", "--tune", "--only", "slide_0,slide_1", "--workers", 1)
    assert answer.code == 0
    assert "left out: slide_1  E_EDIT" in answer.out
    assert {row["slide_id"] for row in table()} == {"slide_0"}
