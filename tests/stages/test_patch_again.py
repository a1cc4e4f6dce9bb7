"""sammil patch on a project: what a changed threshold costs, regions of interest, and what an empty grid says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from csv_rows import by_slide

from sammil_cli.patches.file import read_patches
from sammil_cli.project.process_list import HEADER
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.geojson import Shape, write_geojson
from sammil_cli.tissue.mask import read_tissue

pytestmark = pytest.mark.usefixtures("inline_slides")

Sammil = Callable[..., Any]
SLIDES = [f"slide_{i}" for i in range(6)]


def rows() -> dict[str, dict[str, str]]:
    return by_slide(Path("artifacts/process_lists/patch.csv"))


def statuses() -> dict[str, str]:
    return {slide: row["code"] or row["status"] for slide, row in rows().items()}


def draw_roi(slide: str, shape: shapely.Polygon) -> None:
    drawn = Shape(geometry=shape, class_name="ROI")
    write_geojson(Path(f"data/rois/{slide}.geojson"), [(drawn, {})], offset_px=(0, 0), provenance={})


def test_scores_and_waterfall_stand_in_the_file_and_the_process_list(study: Path, sammil: Sammil) -> None:
    assert sammil("patch").code == 0
    grid = read_patches(Path("artifacts/patches/slide_0.h5"))
    assert set(grid.scores) == {"tissue", "blank", "pen", "dark", "blur"}
    assert (grid.scores["tissue"] >= 0.25).all()
    # Half of a patch that is half tissue is blank, about; pink tissue is neither pen nor black.
    assert np.corrcoef(grid.scores["tissue"], grid.scores["blank"])[0, 1] < -0.9
    assert not grid.scores["pen"].any()
    assert not grid.scores["dark"].any()
    assert list(grid.waterfall) == ["grid", "tissue", "kept"]
    assert (grid.waterfall["grid"], grid.waterfall["kept"]) == (9 * 7, len(grid.xy))
    assert rows()["slide_0"]["remarks"].startswith(f"grid 63 → tissue {len(grid.xy)} → kept {len(grid.xy)}")


def test_a_changed_threshold_needs_no_slide(study: Path, sammil: Sammil) -> None:
    assert sammil("patch").code == 0
    all_patches = read_patches(Path("artifacts/patches/slide_0.h5"))
    shutil.rmtree("data/slides")
    assert sammil("patch", "-S", "patch_max_blank=0.4").code == 0
    assert statuses() == dict.fromkeys(SLIDES, "done")
    few = read_patches(Path("artifacts/patches/slide_0.h5"))
    kept = all_patches.scores["blank"].astype(float) <= 0.4
    np.testing.assert_array_equal(few.xy, all_patches.xy[kept])
    assert 0 < len(few.xy) < len(all_patches.xy)
    assert list(few.waterfall) == ["grid", "tissue", "blank", "kept"]
    assert sammil("patch").code == 0
    assert statuses() == dict.fromkeys(SLIDES, "reused")


@pytest.mark.parametrize(
    ("setting", "code", "remedy"),
    [
        ("patch_px=2000", "E_SMALL", "patch_px"),
        ("patch_mpp=0.5", "E_COARSE", "patch_mpp"),
        ("patch_min_tissue=1", "", None),
        ("patch_max_blur=0.001", "E_ARTEFACTS", "patch_max_blur"),
    ],
)
def test_the_step_that_leaves_nothing_has_a_code_and_names_its_setting(
    study: Path, sammil: Sammil, setting: str, code: str, remedy: str | None
) -> None:
    answer = sammil("patch", "--only", "slide_0", "-S", setting)
    row = rows()["slide_0"]
    assert (row["code"], answer.code) == (code, int(bool(code)))
    assert remedy in row["remedy"] if remedy else row["remedy"] == ""


def test_a_region_of_interest_restricts_its_slide_and_redoes_no_other(study: Path, sammil: Sammil) -> None:
    assert sammil("patch").code == 0
    before = read_patches(Path("artifacts/patches/slide_2.h5"))
    draw_roi("slide_2", shapely.box(128, 128, 512, 512))
    assert sammil("patch").code == 0
    assert {slide for slide, status in statuses().items() if status == "done"} == {"slide_2"}
    after = read_patches(Path("artifacts/patches/slide_2.h5"))
    inside = ((before.xy >= 128) & (before.xy + 128 <= 512)).all(axis=1)
    np.testing.assert_array_equal(after.xy, before.xy[inside])
    assert "→ roi 9 →" in rows()["slide_2"]["remarks"]
    Path("data/rois/slide_2.geojson").unlink()
    assert sammil("patch").code == 0
    assert set(statuses().values()) == {"reused"}


def test_a_region_of_interest_on_glass_sets_its_slide_aside(study: Path, sammil: Sammil) -> None:
    tissue = read_tissue(Path("artifacts/tissue/slide_1.geojson"))
    corner = shapely.box(1000, 0, 1190, 200)
    assert not tissue.polygons.intersects(corner)
    draw_roi("slide_1", corner)
    assert sammil("patch").code == 1
    assert statuses() == {**dict.fromkeys(SLIDES, "done"), "slide_1": "E_ROI"}
    assert "roi 0" in rows()["slide_1"]["message"]


def test_a_region_of_interest_of_no_slide_is_told(study: Path, sammil: Sammil) -> None:
    draw_roi("Slide_2", shapely.box(128, 128, 512, 512))
    answer = sammil("patch")
    assert answer.code == 0
    assert "there is no slide 'Slide_2'; did you mean slide_2" in answer.out


def test_a_region_of_interest_of_a_slide_that_was_set_aside_says_so(study: Path, sammil: Sammil) -> None:
    write_csv(
        Path("artifacts/process_lists/segment.csv"), HEADER, [("pale", "set-aside", "E_NO_TISSUE", "glass", "", 1, "")]
    )
    draw_roi("pale", shapely.box(128, 128, 512, 512))
    said = sammil("patch").out
    assert "passed over: data/rois/pale.geojson: sammil segment did not do slide 'pale': E_NO_TISSUE glass" in said
    assert "there is no slide" not in said


def test_a_damaged_region_of_interest_costs_its_slide_only(study: Path, sammil: Sammil) -> None:
    Path("data/rois/slide_4.geojson").write_text(json.dumps({"type": "FeatureCollection"})[:-3], encoding="utf-8")
    assert sammil("patch").code == 1
    assert statuses() == {**dict.fromkeys(SLIDES, "done"), "slide_4": "E_EDIT"}


def test_a_slide_whose_artefact_maps_are_gone_says_what_to_run(study: Path, sammil: Sammil) -> None:
    Path("artifacts/tissue/slide_3.h5").unlink()
    assert sammil("patch").code == 1
    assert statuses() == {**dict.fromkeys(SLIDES, "done"), "slide_3": "E_UPSTREAM"}
    assert "sammil segment" in rows()["slide_3"]["remedy"]
    assert sammil("segment").code == 0  # the store has it
    assert sammil("patch").code == 0


def test_overlap_multiplies_the_patches(study: Path, sammil: Sammil) -> None:
    assert sammil("patch", "-S", "patch_overlap=0.5", "--only", "slide_0").code == 0
    grid = read_patches(Path("artifacts/patches/slide_0.h5"))
    assert (grid.step_px_level0, grid.patch_px_level0) == (64, 128)
    assert grid.waterfall["grid"] == 17 * 13
    assert (grid.xy % 64 == 0).all()
    assert (grid.xy % 128 != 0).any()
