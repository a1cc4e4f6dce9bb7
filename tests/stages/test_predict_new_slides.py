"""sammil predict from raw slides: tables, page, pictures and evidence in one command, and what it refuses."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csv_rows import by_slide, rows_of
from inline_executor import open_inline
from PIL import Image

from sammil_cli.project.process_list import Row, write_rows
from sammil_cli.runner import per_slide
from sammil_cli.stages import new_bags
from sammil_cli.storage.geojson import read_own_geojson

Sammil = Callable[..., Any]
LISTS = ("segment", "patch", "sam", "extract", "visualize", "evidence")


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


@pytest.fixture
def new(done: Path) -> Path:
    """Two new slides of one patient, one damaged, a PNG without mpp, and one of the training; `done` has the models."""
    folder = done / "new"
    folder.mkdir()
    shutil.copy("data/slides/slide_0.tif", folder / "new_0.tif")
    shutil.copy("data/slides/slide_1.tif", folder / "new_1.tif")
    shutil.copy("data/slides/slide_1.tif", folder / "slide_1.tif")
    (folder / "cut.tif").write_bytes((folder / "new_0.tif").read_bytes()[:900])
    with Image.open("data/slides/slide_2.tif") as slide:
        slide.save(done / "photo.png")
    (done / "table.csv").write_text(
        "slide_id,path,patient_id,mpp,note\nnew_0,,p,,\nnew_1,,p,,mine\nslide_1,,q,,\nphoto,photo.png,,1.0,\n"
    )
    return folder


def test_raw_slides_become_tables_page_pictures_and_evidence_and_a_second_call_computes_nothing(
    new: Path, sammil: Sammil, inline: None
) -> None:
    words = ("predict", "runs", "new", "table.csv", "--out", "out", "--device", "cpu")
    answer = sammil(*words)
    assert answer.code == 1, answer  # for the damaged one
    good = {"new_0", "new_1", "photo", "slide_1"}
    rows = by_slide(Path("out/predictions.csv"))
    assert rows.keys() == good
    assert {name: row["in_sample"] for name, row in rows.items()} == dict.fromkeys(good, "false")
    assert {name: row["models"] for name, row in rows.items()} == {**dict.fromkeys(good, "3"), "slide_1": "1"}
    own = by_slide(Path("runs/predictions.csv"))["slide_1"]  # its bag is made anew, and is the same
    assert rows["slide_1"]["probability_tumour"] == own["probability_tumour"]
    patients = {row["patient_id"]: row for row in rows_of(Path("out/predictions_patients.csv"))}
    assert {name: row["slides"] for name, row in patients.items()} == {"p": "2", "q": "1", "photo": "1"}
    assert "thresholds that the models chose on their validation patients" in " ".join(answer.out.split())
    assert {row["threshold_of"] for row in patients.values()} == {"patients"}
    for name in good:
        assert Path(f"out/slides/{name}.png").stat().st_size > 10_000
        table, shapes = (
            rows_of(Path(f"out/slides/{name}.csv")),
            read_own_geojson(Path(f"out/evidence/{name}.geojson"), ""),
        )
        assert sum(shape.object_type == "detection" for shape in shapes[0]) == len(table) > 10
        assert any(shape.class_name == "Region" for shape in shapes[0])
    listed = by_slide(Path("out/process_lists/predict.csv"))
    assert listed["cut"]["code"] == "E_OPEN"
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert page.index("E_OPEN") < page.index("Patients: 3") < page.index("slides/new_0.png")
    assert by_slide(Path("out/process_lists/patch.csv"))["photo"]["remarks"].startswith("grid ")
    assert not any("grid " in row["remarks"] for row in listed.values())  # counted, and no doubt
    assert "grid " not in re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not Path("out/slides/cut.png").exists()
    assert {path.name for path in Path("data/slides").iterdir()} == {f"slide_{number}.tif" for number in range(6)}

    before = Path("out/predictions.csv").read_bytes()
    assert sammil(*words).code == 1
    for stage in LISTS:
        states = {row["status"] for row in rows_of(Path(f"out/process_lists/{stage}.csv"))}
        assert states <= {"reused", "set-aside"}, stage
    assert Path("out/predictions.csv").read_bytes() == before


def test_one_of_them_alone_and_what_no_longer_has_a_slide(new: Path, sammil: Sammil, inline: None) -> None:
    words = ("predict", "runs/models/repeat_0_fold_0", "new/new_0.tif", "new/new_1.tif", "--params", "params.yaml")
    answer = sammil(*words, "--out", "out", "--only", "new_1", "--no-pictures", "--device", "cpu", "--json")
    assert answer.code == 0, answer
    assert [one["slide_id"] for one in json.loads(answer.out)] == ["new_1"]
    assert by_slide(Path("out/predictions.csv")).keys() == {"new_1"}
    assert not Path("out/slides").exists()
    assert "no patient" not in answer.out
    answer = sammil(*words, "--out", "out", "--only", "new_7")
    assert answer.code == 2
    assert "--only names the slide 'new_7', which is not in the slides that are given" in answer.err


def test_where_nothing_can_be_judged_the_page_says_why(new: Path, sammil: Sammil, inline: None) -> None:
    answer = sammil("predict", "runs", "new/cut.tif", "photo.png", "--out", "out", "--device", "cpu")
    assert answer.code == 1
    assert "give a table (slide_id,path,mpp) with the µm per pixel of level 0 of photo" in answer.out
    assert "0 of 2 slide(s) done" in answer.out
    assert "Not judged: 2" in Path("out/index.html").read_text(encoding="utf-8")
    assert not Path("out/predictions.csv").exists()


def test_after_ctrl_c_the_same_command_goes_on(
    new: Path, sammil: Sammil, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("predict", "runs", "new/new_0.tif", "--out", "out", "--no-pictures", "--device", "cpu")
    run = new_bags.run_stage

    def stopped(stage: str, *more: Any) -> Any:
        if stage == "extract":
            raise KeyboardInterrupt
        return run(stage, *more)

    monkeypatch.setattr(new_bags, "run_stage", stopped)
    answer = sammil(*words)
    assert answer.code == 130
    assert "run the same command to go on" in answer.err
    monkeypatch.setattr(new_bags, "run_stage", run)
    assert sammil(*words).code == 0
    assert [row["status"] for row in rows_of(Path("out/process_lists/sam.csv"))] == ["reused"]


# ---------------------------------------------------------------------------------------------- refusals


def test_weights_that_are_not_here_are_refused_before_any_work(
    new: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")
    Path("other.yaml").write_text("proposer: sam\nsam_model: vit_b\nencoder: texture\n")
    answer = sammil("predict", "runs", "new", "--params", "other.yaml", "--out", "out")
    assert answer.code == 3
    assert "sam_vit_b_01ec64.pth are not here" in answer.err
    assert "sammil weights fetch vit_b" in answer.err
    assert not Path("out").exists()


def test_models_that_do_not_say_how_bags_are_made_need_settings(new: Path, sammil: Sammil) -> None:
    shutil.copytree("runs/models/repeat_0_fold_0", "lone")
    answer = sammil("predict", "lone", "new", "--out", "out")
    assert answer.code == 2
    assert "does not say how its bags were made" in answer.err
    assert "--params params.yaml" in answer.err
    assert not Path("out").exists()


def test_settings_that_make_other_bags_are_refused_slide_by_slide_and_nothing_of_an_earlier_call_stays(
    new: Path, sammil: Sammil, inline: None
) -> None:
    earlier = [Path("out") / name for name in ("index.html", "predictions.csv", "predictions_patients.csv")]
    earlier.append(Path("out/slides/new_0.png"))
    for path in (*earlier, Path("out/slides/mine.txt")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_rows(Path("out/process_lists/visualize.csv"), [Row(slide_id="new_0", status="done")])
    shutil.copy("params.yaml", "other.yaml")
    text = Path("other.yaml").read_text(encoding="utf-8")
    Path("other.yaml").write_text(text.replace("patch_px: 128", "patch_px: 64"))
    answer = sammil("predict", "runs", "new/new_0.tif", "--params", "other.yaml", "--out", "out", "--device", "cpu")
    assert answer.code == 2
    assert "patch_px 128 in training, 64 in these bags" in answer.err
    assert not [path for path in earlier if path.exists()]
    assert Path("out/slides/mine.txt").exists()


@pytest.mark.parametrize(
    ("words", "message", "fix"),
    [
        (("new", "--out", "table.csv"), "--out table.csv is no folder", "--out table; the table is predictions.csv"),
        (("new", "--bags", "artifacts/bags"), "slides are given and --bags artifacts/bags, too", "leave one of them"),
        (("own.csv",), "own.csv names no slide file", "give it a column path"),
        (("nowhere",), "nowhere does not exist", "a folder of slides"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    new: Path, sammil: Sammil, words: tuple[str, ...], message: str, fix: str
) -> None:
    Path("own.csv").write_text("slide_id,patient_id\na,p\n")
    answer = sammil("predict", "runs", *words)
    assert answer.code == 2
    assert message in answer.err
    assert fix in answer.err


def test_a_slide_in_the_place_of_the_model_is_noticed(new: Path, sammil: Sammil) -> None:
    answer = sammil("predict", "new/new_0.tif")
    assert answer.code == 2
    assert "new/new_0.tif is no model, and the first word names one" in answer.err
    assert "fix: sammil predict MODEL new/new_0.tif" in answer.err
