"""`sammil init` and `sammil demo`: the two ways to begin."""

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sammil_cli.config import check, load_settings
from sammil_cli.project.pipeline import render_dvc
from sammil_cli.project.presets import preset

Sammil = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_init_writes_a_project_and_says_what_comes_next(sammil: Sammil, here: Path) -> None:
    answer = sammil("init", "study", "--preset", "tcga-nsclc", "--no-dvc")
    assert answer.code == 0
    assert files_in(here / "study") == {
        ".gitignore",
        "data/edits/.gitkeep",
        "data/labels.csv",
        "data/rois/.gitkeep",
        "data/annotations/.gitkeep",
        "data/slides.csv",
        "dvc.yaml",
        "params.yaml",
    }
    assert (here / "study" / "data" / "slides").is_dir()
    for part in (
        "tcga-nsclc",
        "study/data/slides",
        "study/data/labels.csv",
        "slide_id,label",
        "sammil segment, patch, sam",
    ):
        assert part in answer.out
    assert load_settings(here / "study" / "params.yaml") == check(preset("tcga-nsclc"), "preset")


def test_a_users_pipeline_has_no_demo_and_no_code_but_the_digests_of_its_stages(sammil: Sammil, here: Path) -> None:
    sammil("init", "study", "--no-dvc")
    stages = yaml.safe_load((here / "study" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    code = stages.pop("code")
    assert (code["cmd"], code["always_changed"], code.get("deps")) == ("sammil code", True, None)
    assert "demo" not in stages
    assert not [dep for stage in stages.values() for dep in stage["deps"] if "sammil_cli" in dep]
    assert all(f"artifacts/code/{name}.txt" in stage["deps"] for name, stage in stages.items())
    assert sorted(code["outs"]) == sorted(f"artifacts/code/{name}.txt" for name in stages)
    params = yaml.safe_load((here / "study" / "params.yaml").read_text(encoding="utf-8"))
    assert {key for stage in stages.values() for key in stage["params"]} == set(params)


def test_init_does_not_touch_a_project_that_is_there(sammil: Sammil, here: Path) -> None:
    sammil("init", "study", "--no-dvc")
    (here / "study" / "params.yaml").write_text("seed: 4\n", encoding="utf-8")
    answer = sammil("init", "study", "--no-dvc")
    assert answer.code == 2
    assert "study/params.yaml exists" in answer.err
    assert "--update" in answer.err
    assert (here / "study" / "params.yaml").read_text(encoding="utf-8") == "seed: 4\n"


def test_update_renews_the_pipeline_and_nothing_of_the_users(sammil: Sammil, here: Path) -> None:
    sammil("init", "study", "--no-dvc")
    study = here / "study"
    mine = {"params.yaml": "seed: 4\n", "data/labels.csv": "slide_id,label\na,x\n"}
    for name, text in {**mine, "dvc.yaml": "old", "steps.yaml": "old"}.items():
        (study / name).write_text(text, encoding="utf-8")
    assert sammil("init", "study", "--update").code == 0
    assert (study / "dvc.yaml").read_text(encoding="utf-8") == render_dvc(demo=False)
    assert not (study / "steps.yaml").exists()  # the stage `code` stands in for it
    assert {name: (study / name).read_text(encoding="utf-8") for name in mine} == mine


def test_update_without_a_project_is_refused(sammil: Sammil, here: Path) -> None:
    answer = sammil("init", "study", "--update")
    assert answer.code == 2
    assert "no params.yaml to update" in answer.err
    assert not (here / "study").exists()


def test_init_keeps_labels_that_are_there(sammil: Sammil, here: Path) -> None:
    (here / "study" / "data").mkdir(parents=True)
    (here / "study" / "data" / "labels.csv").write_text("slide_id,label\na,x\n", encoding="utf-8")
    assert sammil("init", "study", "--no-dvc").code == 0
    assert (here / "study" / "data" / "labels.csv").read_text(encoding="utf-8") == "slide_id,label\na,x\n"


def test_an_unknown_preset_is_refused_and_nothing_is_written(sammil: Sammil, here: Path) -> None:
    answer = sammil("init", "study", "--preset", "camelyon")
    assert answer.code == 2
    assert "camelyon16, default, demo, tcga-nsclc" in answer.err
    assert not (here / "study").exists()


@pytest.mark.parametrize(
    ("word", "patches", "said"),
    [
        (
            "uni2_h",
            (224, 0.5),
            ["224 px at 0.5 µm per pixel", "gated: ask for access at https://", "commercial use: no"],
        ),
        ("dinov2", (224, None), ["choose patch_mpp yourself", "weights  sammil weights fetch dinov2", "Apache-2.0"]),
        ("texture", (512, None), ["none needed"]),
        ("timm", (512, None), ["set encoder_backbone and encoder_weights"]),
    ],
)
def test_init_for_an_encoder_cuts_its_patches_and_says_what_it_needs(
    sammil: Sammil, here: Path, word: str, patches: tuple[int, float | None], said: list[str]
) -> None:
    answer = sammil("init", "p", "--no-dvc", "--encoder", word)
    assert answer.code == 0
    settings = yaml.safe_load((here / "p/params.yaml").read_text(encoding="utf-8"))
    assert (settings["encoder"], (settings["patch_px"], settings["patch_mpp"])) == (word, patches)
    for text in (f"encoder {word}", *said):
        assert text in answer.out
    again = sammil("init", "p", "--update", "--encoder", word)
    assert again.code == 2
    assert f"set encoder: {word}" in again.err


def test_init_for_an_encoder_that_is_none_is_refused_and_nothing_is_written(sammil: Sammil, here: Path) -> None:
    answer = sammil("init", "p", "--encoder", "uni2h")
    assert answer.code == 2
    assert "unknown encoder 'uni2h'" in answer.err
    assert "did you mean uni2_h?" in answer.err
    assert not (here / "p").exists()
    assert sammil("init", "p", "--encoder", "uni", "--from-features", here).code == 2


def test_init_makes_a_git_and_dvc_project(sammil: Sammil, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    assert sammil("init", "study").code == 0
    assert (here / "study" / ".git").is_dir()
    assert (here / "study" / ".dvc" / "config").is_file()


def test_init_without_git_says_so_and_how_to_go_on(sammil: Sammil, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))
    answer = sammil("init", "study")
    assert answer.code == 3
    assert "git is not installed" in answer.err
    assert "--no-dvc" in answer.err


DEMO = ("-S", "demo_slides=4", "-S", "demo_min_px=700", "-S", "demo_max_px=1000", "--workers", 1)


def test_demo_draws_slides_labels_and_lesions_into_a_new_project(sammil: Sammil, here: Path) -> None:
    sammil("init", ".", "--preset", "demo", "--no-dvc")
    answer = sammil("demo", *DEMO)
    assert answer.code == 0
    assert "4 slides" in answer.out
    with (here / "data" / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["slide_id"] for row in rows] == [f"demo_00{i}" for i in (1, 2, 3, 4)]
    assert sorted(row["label"] for row in rows) == ["normal", "normal", "tumour", "tumour"]
    slides = {path.stem for path in (here / "data" / "slides").glob("*.tif")}
    assert (
        slides == {path.stem for path in (here / "data" / "lesions").glob("*.geojson")} == {r["slide_id"] for r in rows}
    )


def test_demo_sizes_the_wrong_way_round_are_refused(sammil: Sammil, project: Path) -> None:
    answer = sammil("demo", "-S", "demo_min_px=1000", "-S", "demo_max_px=700")
    assert answer.code == 2
    assert "demo_min_px is larger than demo_max_px" in answer.err


@pytest.mark.parametrize("largest", [704, 710])
def test_demo_sizes_that_leave_no_choice_are_refused(sammil: Sammil, project: Path, largest: int) -> None:
    answer = sammil("demo", *DEMO[:2], "-S", "demo_min_px=704", "-S", f"demo_max_px={largest}", "--workers", 1)
    assert answer.code == 2
    assert "leave no choice" in answer.err


def test_a_smaller_demo_cohort_leaves_no_slide_of_a_larger_one_and_no_file_of_the_user_is_touched(
    sammil: Sammil, project: Path
) -> None:
    slides = project / "data/slides"
    slides.mkdir(parents=True, exist_ok=True)
    for name in ("demo_099.tif", "demo_mine.tif"):
        (slides / name).touch()
    assert sammil("demo", *DEMO, "--workers", 1).code == 0
    names = {path.name for path in slides.iterdir()}
    assert "demo_099.tif" not in names
    assert {"demo_001.tif", "demo_mine.tif"} <= names


def test_what_git_ignores_already_stays_and_what_is_missing_is_added(sammil: Sammil, here: Path) -> None:
    (here / "study").mkdir()
    (here / "study" / ".gitignore").write_text("remarks/\n/runs/", encoding="utf-8")
    sammil("init", "study", "--no-dvc")
    lines = (here / "study" / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["remarks/", "/runs/"]
    assert lines.count("/runs/") == 1
    # DVC commits what stages read and Git does not ignore: slides of a gigabyte.
    assert {"/data/slides/", "/artifacts/", "!/report/metrics.json"} <= set(lines)
