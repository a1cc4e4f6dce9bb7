"""`sammil wsi-sam train` as it is typed, and projects that have it as a stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml
from drawn_project import draw
from inline_executor import open_inline
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.doctor.dvc import pipeline
from sammil_cli.doctor.finding import Asked
from sammil_cli.project.project import Project
from sammil_cli.runner import per_slide

Sammil = Callable[..., Any]


@pytest.fixture
def study(project: Project, sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a params.yaml, as working directory."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    params = {"wsi_sam_epochs": 1, "wsi_sam_fields": 1, **sam}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def test_it_trains_says_so_and_prints_json(sammil: Sammil, study: Path) -> None:
    answer = sammil("wsi-sam", "train", "--device", "cpu")
    assert answer.code == 0, answer.err
    for part in ("3 done", "epoch 1: loss dice_high", "held out, Dice / IoU: box", "runs/wsi_sam"):
        assert part in answer.out
    again = sammil("wsi-sam", "train", "--device", "cpu", "--json")
    found = json.loads(again.out)
    assert (found["reused"], found["epoch"]) == (True, 0)
    assert {row["slide_id"] for row in found["slides"]} == {"s0", "s1", "s2"}
    assert 0 <= found["figures"]["val_iou_box"] <= found["figures"]["val_dice_box"] <= 1


def test_a_slide_that_cannot_be_used_is_exit_code_1_unless_it_is_allowed_for(sammil: Sammil, study: Path) -> None:
    write_pyramid(study / "data/slides/coarse.tif", draw_asymmetric(), mpp=2.0)
    draw(study / "data/lesions/coarse.geojson", shapely.box(50, 50, 200, 200))
    answer = sammil("wsi-sam", "train", "--device", "cpu")
    assert answer.code == 1
    assert "E_COARSE" in answer.out
    assert (study / "runs/wsi_sam/tokens.safetensors").is_file()
    assert sammil("wsi-sam", "train", "--device", "cpu", "--fail-over", "30%").code == 0


def test_missing_weights_are_exit_code_3_with_the_way_to_get_them(
    sammil: Sammil, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(study / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(study / "cache"))
    answer = sammil("wsi-sam", "train", "-S", "sam_checkpoint=null", "-S", "sam_checkpoint_sha256=null")
    assert answer.code == 3
    assert "sammil weights fetch vit_b" in answer.err


def test_slides_of_one_patient_are_exit_code_2(sammil: Sammil, study: Path) -> None:
    (study / "data/labels.csv").write_text("slide_id,label,patient_id\ns0,t,p\ns1,t,p\ns2,t,p\n")
    answer = sammil("wsi-sam", "train", "--device", "cpu")
    assert answer.code == 2
    assert "two patients" in answer.err


def test_a_project_that_asks_for_it_has_the_stage_its_code_and_its_settings(
    sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sammil("init", "study", "--wsi-sam", "--no-dvc").code == 0
    study = tmp_path / "study"
    stages = yaml.safe_load((study / "dvc.yaml").read_text())["stages"]
    assert stages["wsi-sam-train"]["cmd"] == "sammil wsi-sam train"
    assert "runs/wsi_sam" in stages["wsi-sam-train"]["outs"]
    assert "runs/wsi_sam" in stages["sam"]["deps"]
    params = yaml.safe_load((study / "params.yaml").read_text())
    assert {key for stage in stages.values() for key in stage.get("params", ())} == set(params)
    made = {out for stage in stages.values() for out in stage["outs"]}
    assert [dep for dep in stages["wsi-sam-train"]["deps"] if dep not in made and not (study / dep).exists()] == []
    monkeypatch.chdir(study)
    write_pyramid(study / "data/slides/s.tif", draw_asymmetric())
    assert stages["code"]["cmd"] == "sammil code --wsi-sam"
    assert sammil("code", "--wsi-sam").code == 0
    assert "sammil_cli.prompting.loop" in (study / "artifacts/code/wsi-sam-train.txt").read_text()
    assert sorted(stages["code"]["outs"]) == sorted(
        path.relative_to(study).as_posix() for path in (study / "artifacts/code").iterdir()
    )


def test_an_update_keeps_the_stage_or_adds_it_and_says_which_settings_to_add(
    sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sammil("init", "study", "--no-dvc")
    assert "wsi-sam" not in (tmp_path / "study/dvc.yaml").read_text()
    answer = sammil("init", "study", "--update", "--wsi-sam")
    with_stage = (tmp_path / "study/dvc.yaml").read_text()
    assert "wsi-sam-train" in with_stage
    added = [line for line in answer.out.splitlines() if line.startswith("wsi_sam_")]
    assert any(line.startswith("wsi_sam_fields: 10 ") for line in added)
    with (tmp_path / "study/params.yaml").open("a") as params:
        params.write("\n".join(added) + "\n")
    again = sammil("init", "study", "--update")
    assert (tmp_path / "study/dvc.yaml").read_text() == with_stage
    assert "add to" not in again.out


def test_the_doctor_takes_the_stage_for_sammils_own(
    sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sammil("init", ".", "--wsi-sam", "--no-dvc")
    (found,) = pipeline(Asked(params=Path("params.yaml")))
    assert found.state == "ok", found
