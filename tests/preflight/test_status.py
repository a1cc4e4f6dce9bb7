"""sammil status and sammil why say what a run would do, do nothing themselves, and are right about it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study_fixtures import set_params

from sammil_cli.config import Settings
from sammil_cli.storage import code
from sammil_cli.storage.code import Code

Sammil = Callable[..., Any]

STAGES = ["segment", "patch", "sam", "extract"]
SLIDES = [f"slide_{i}" for i in range(6)]
ALL = dict.fromkeys(SLIDES, "up to date")


def states(sammil: Sammil, *words: object) -> dict[str, dict[str, str]]:
    answer = sammil("status", "--json", *words)
    assert answer.code == 0, answer
    return {
        stage["stage"]: {slide["slide_id"]: slide["state"] for slide in stage["slides"]}
        for stage in json.loads(answer.out)
        if stage["stage"] in STAGES  # of what comes after the bags: test_status_after_bags.py
    }


def reasons(sammil: Sammil, *words: object) -> dict[str, set[str]]:
    found = json.loads(sammil("status", "--json", *words).out)
    return {stage["stage"]: {text for slide in stage["slides"] for text in slide["reasons"]} for stage in found}


def why(sammil: Sammil, slide: str, *words: object) -> str:
    answer = sammil("why", slide, *words)
    assert answer.code == 0, answer
    return str(answer.out)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_finished_project_has_nothing_to_do_and_nothing_is_written(done: Path, sammil: Sammil) -> None:
    before = snapshot(done)
    assert states(sammil) == dict.fromkeys(STAGES, ALL)
    assert "nothing to do" in sammil("status").out
    said = why(sammil, "slide_3")
    assert said.count("up to date") == 7
    assert "segmenter saturation" in said
    assert "patch_px 128" in said
    assert "encoder texture: prepared: patches as they are; computed in float32" in said
    made_with = [line.partition("made with ")[2].split(", ") for line in said.splitlines() if "made with" in line]
    assert len(made_with) == 5
    assert {setting.split()[0] for settings in made_with for setting in settings} <= set(Settings.model_fields)
    assert snapshot(done) == before


def test_before_the_first_run_of_a_stage_its_slides_are_new_and_later_stages_follow(
    study: Path, sammil: Sammil
) -> None:
    found = states(sammil)
    assert found["segment"] == ALL
    assert found["patch"] == found["sam"] == dict.fromkeys(SLIDES, "to compute")
    assert found["extract"] == dict.fromkeys(SLIDES, "follows")
    shutil.rmtree(study / "artifacts")
    shutil.rmtree(study / ".sammil")
    found = states(sammil)
    assert found.pop("segment") == dict.fromkeys(SLIDES, "to compute")
    assert list(found.values()) == [dict.fromkeys(SLIDES, "follows")] * 3
    assert [reasons(sammil)[stage] for stage in STAGES] == [{"new slide"}, *[{"follows segment"}] * 3]


def test_a_changed_setting_is_named_with_both_values(done: Path, sammil: Sammil) -> None:
    change = ("-S", "patch_px=96")
    found = states(sammil, *change)
    assert found["segment"] == found["sam"] == ALL
    assert found["patch"] == dict.fromkeys(SLIDES, "to compute")
    assert found["extract"] == dict.fromkeys(SLIDES, "follows")
    assert reasons(sammil, *change)["patch"] == {"patch_px changed"}
    assert "patch_px: 128 → 96" in why(sammil, "slide_3", *change)
    assert "tissue_threshold: 8 → 30" in why(sammil, "slide_3", "-S", "tissue_threshold=30")
    assert "patch_max_blur: 1 → 0.5" in why(sammil, "slide_3", "-S", "patch_max_blur=0.5")


def test_what_it_says_is_what_the_run_does(done: Path, sammil: Sammil) -> None:
    change = ("-S", "patch_min_tissue=0.9")
    assert set(states(sammil, *change)["patch"].values()) == {"to compute"}
    assert "patch: 6 done" in sammil("patch", "--workers", 1, *change).out
    assert set(states(sammil, *change)["patch"].values()) == {"up to date"}
    assert set(states(sammil)["patch"].values()) == {"from the store"}
    assert reasons(sammil)["patch"] == {"patch_min_tissue changed"}
    assert "patch: 6 reused" in sammil("patch").out
    assert states(sammil) == dict.fromkeys(STAGES, ALL)


def test_a_changed_slide_file_and_a_new_one(done: Path, sammil: Sammil) -> None:
    slides = done / "data" / "slides"
    shutil.copy(slides / "slide_1.tif", slides / "slide_9.tif")
    with (slides / "slide_2.tif").open("ab") as file:
        file.write(b"\0")
    os.utime(slides / "slide_2.tif", (time.mktime((2026, 3, 4, 10, 42, 0, 0, 0, -1)),) * 2)
    found = states(sammil)
    assert found["segment"] == {**ALL, "slide_2": "to compute", "slide_9": "to compute"}
    for stage in STAGES[1:]:
        assert found[stage] == {**ALL, "slide_2": "follows", "slide_9": "follows"}
    assert reasons(sammil)["segment"] == {"slide file changed", "new slide"}
    assert "the slide file changed on 2026-03-04 at 10:42" in why(sammil, "slide_2")
    assert "it is new" in why(sammil, "slide_9")


def test_a_removed_slide(done: Path, sammil: Sammil) -> None:
    (done / "data/slides/slide_4.tif").unlink()
    found = states(sammil)
    assert found["segment"]["slide_4"] == "to remove"
    assert {slide: state for slide, state in found["segment"].items() if slide != "slide_4"} == {
        slide: "up to date" for slide in SLIDES if slide != "slide_4"
    }
    assert {found[stage]["slide_4"] for stage in STAGES} == {"to remove"}
    assert "no longer among the slides" in why(sammil, "slide_4")


def test_a_resolution_a_scene_and_a_drawing_of_the_user(done: Path, sammil: Sammil) -> None:
    (done / "data/slides.csv").write_text("slide_id,mpp,scene\nslide_0,0.5,\nslide_2,,1\n")
    assert "its resolution in data/slides.csv: none → 0.5 µm per pixel" in why(sammil, "slide_0")
    assert "its scene in data/slides.csv: none → 1" in why(sammil, "slide_2")
    edit = done / "data/edits/slide_1.geojson"
    edit.parent.mkdir(exist_ok=True)
    edit.write_text("{}")
    assert "data/edits/slide_1.geojson was added at " in why(sammil, "slide_1")
    changes = {"resolution in slides.csv changed", "scene in slides.csv changed", "edited polygons"}
    assert reasons(sammil)["segment"] == changes
    assert states(sammil)["segment"] == {**ALL, **dict.fromkeys(("slide_0", "slide_1", "slide_2"), "to compute")}


def test_other_code_of_a_stage(done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> None:
    from sammil_cli.stages import patch

    monkeypatch.setattr(patch, "code_of_slide", lambda *_: Code({"sammil_cli.jobs.patch": "0" * 16}, {}))
    assert reasons(sammil)["patch"] == {"code changed"}
    assert "sammil's code for patch, or that of a plug-in it uses, changed" in why(sammil, "slide_5")


def test_an_out_file_that_was_changed_by_hand_or_is_gone_comes_back_from_the_store(done: Path, sammil: Sammil) -> None:
    tissue = done / "artifacts/tissue/slide_1.geojson"
    tissue.write_text(tissue.read_text().replace("Tissue", "tissue"))
    (done / "artifacts/bags/slide_2.h5").unlink()
    found = states(sammil)
    assert found["segment"] == {**ALL, "slide_1": "from the store"}
    assert found["patch"] == {**ALL, "slide_1": "follows"}
    assert found["extract"] == {**ALL, "slide_1": "follows", "slide_2": "from the store"}
    assert "would be brought back from the result store" in why(sammil, "slide_2")


def test_a_slide_that_could_not_be_done_stays_listed_with_its_remedy(study: Path, sammil: Sammil) -> None:
    (study / "data/slides/slide_3.tif").write_bytes(b"")
    assert sammil("segment", "--workers", 1).code == 1
    found = states(sammil)
    assert {found[stage]["slide_3"] for stage in STAGES} == {"not done"}
    assert "not done: E_EMPTY" in reasons(sammil)["segment"]
    said = why(sammil, "slide_3")
    assert "set-aside: E_EMPTY  the file has no content (0 bytes)" in said
    assert "fix: copy or download it again" in said
    assert "segment could not do it" in said


def test_missing_weights_are_told_and_the_other_stages_are_judged(
    done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    answer = sammil("status", "--json", "-S", "proposer=sam", "-S", "sam_checkpoint=none.pth")
    assert answer.code == 0
    found = {stage["stage"]: stage for stage in json.loads(answer.out)}
    assert "none.pth" in found["sam"]["problem"]
    assert {slide["state"] for slide in found["patch"]["slides"]} == {"up to date"}
    assert "not known: " in why(sammil, "slide_0", "-S", "proposer=sam", "-S", "sam_checkpoint=none.pth")


def test_an_unknown_slide_is_refused_with_its_neighbours(done: Path, sammil: Sammil) -> None:
    answer = sammil("why", "slide_33")
    assert answer.code == 2
    assert "there is no slide 'slide_33' in data/slides" in answer.err
    assert "did you mean slide_3" in answer.err


def test_a_project_without_slides_is_refused(tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}")
    answer = sammil("status")
    assert answer.code == 2
    assert "data/slides does not exist" in answer.err


def test_results_of_other_libraries_are_named_and_with_strict_versions_made_anew(
    done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "computed with" not in why(sammil, "slide_1")
    real = code._version_of
    monkeypatch.setattr(code, "_version_of", lambda package: "99.1" if package == "shapely" else real(package))
    code.code_of.cache_clear()
    try:
        assert states(sammil)["patch"] == ALL  # results are used across versions
        said = why(sammil, "slide_1")
        assert f"computed with shapely {real('shapely')} (here 99.1); strict_versions: true would redo it" in said
        assert "numpy" not in said
        table = " ".join(sammil("status").out.split())
        assert f"6 × computed with shapely {real('shapely')}" in table
        assert "nothing to do" in table
        set_params(done, strict_versions=True)
        found = states(sammil)
        assert found["segment"] == dict.fromkeys(ALL, "to compute")
        assert "other versions of libraries" in reasons(sammil)["segment"]
        assert "would be computed" in why(sammil, "slide_1")
    finally:
        code.code_of.cache_clear()
