"""sammil status and sammil why in projects that train WSI-SAM: how far it is, how fresh, and what of each slide."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml
from drawn_project import draw
from inline_executor import open_inline
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.project.pipeline import render_dvc
from sammil_cli.project.project import Project
from sammil_cli.prompting import loop
from sammil_cli.runner import per_slide

Sammil = Callable[..., Any]

STAGE = "wsi-sam-train"
DRAWN = ["s0", "s1", "s2"]


@pytest.fixture
def study(project: Project, sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with drawings and a params.yaml, as working directory; its sam reads the tokens."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    params = {"wsi_sam_epochs": 2, "wsi_sam_fields": 1, "proposer": "wsi-sam", **sam}
    params["wsi_sam_tokens"] = "runs/wsi_sam/tokens.safetensors"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def found(sammil: Sammil, *words: object, stage: str = STAGE) -> dict[str, Any]:
    answer = sammil("status", "--json", *words)
    assert answer.code == 0, answer
    return next((one for one in json.loads(answer.out) if one["stage"] == stage), {})


def states(record: dict[str, Any]) -> dict[str, str]:
    return {slide["slide_id"]: slide["state"] for slide in record["slides"]}


def said(sammil: Sammil, *words: object) -> str:
    answer = sammil(*words)
    assert answer.code == 0, answer
    return " ".join(answer.out.replace("│", " ").split())


def test_a_project_without_the_stage_does_not_show_it(study: Path, sammil: Sammil) -> None:
    assert found(sammil) == {}
    assert STAGE not in said(sammil, "why", "s0")


def test_before_the_first_training_fields_come_first_and_slides_without_a_drawing_are_passed_over(
    study: Path, sammil: Sammil
) -> None:
    (study / "dvc.yaml").write_text(render_dvc(demo=False, wsi_sam=True))
    (study / "data/lesions/s1.geojson").unlink()
    record = found(sammil)
    assert states(record) == {"s0": "follows", "s2": "follows"}
    assert record["training"]["state"] == "follows"
    assert record["training"]["there"] == ""
    assert states(found(sammil, stage="sam")) == dict.fromkeys(DRAWN, "follows")
    assert "passed over: it has no drawing in data/lesions" in said(sammil, "why", "s1")
    for path in (study / "data/lesions").iterdir():
        path.unlink()
    assert "has a drawing in data/lesions" in found(sammil)["problem"]


def test_an_interrupted_training_says_after_which_epoch_it_goes_on(
    study: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = loop.write_checkpoint

    def once(*words: Any) -> None:
        write(*words)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_checkpoint", once)
        assert sammil("wsi-sam", "train", "--device", "cpu").code != 0
    record = found(sammil)
    assert states(record) == dict.fromkeys(DRAWN, "up to date")
    assert (record["training"]["state"], record["training"]["resumes_after"]) == ("to compute", 1)
    assert "training to compute: goes on after epoch 1 of 2" in said(sammil, "status")
    assert found(sammil, "-S", "wsi_sam_batch=1")["training"]["resumes_after"] is None


def train(sammil: Sammil, code: int = 0) -> None:
    assert sammil("wsi-sam", "train", "--device", "cpu").code == code


def test_what_was_trained_is_up_to_date_and_a_slide_that_failed_has_its_code_and_remedy(
    study: Path, sammil: Sammil
) -> None:
    write_pyramid(study / "data/slides/coarse.tif", draw_asymmetric(), mpp=2.0)
    draw(study / "data/lesions/coarse.geojson", shapely.box(50, 50, 200, 200))
    train(sammil, code=1)
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    record = found(sammil)
    assert states(record) == {**dict.fromkeys(DRAWN, "up to date"), "coarse": "not done"}
    assert (record["training"]["state"], record["training"]["reasons"]) == ("up to date", [])
    assert record["training"]["parts"].keys() == {*DRAWN, "coarse"}
    table = said(sammil, "status")
    assert "1 × not done: E_COARSE" in table
    assert "training up to date; runs/wsi_sam has epoch" in table
    why = said(sammil, "why", "coarse")
    assert "set-aside: E_COARSE" in why
    assert "fix: " in why
    assert "the tokens in runs/wsi_sam did not see it" in why
    why = said(sammil, "why", "s0")
    assert "made with wsi_sam_fields 1, wsi_sam_mpp 1, seed" in why
    assert "(patient s0)" in why
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


def test_a_changed_setting_makes_it_stale_and_sam_follows_where_it_reads_the_tokens(
    study: Path, sammil: Sammil
) -> None:
    assert sammil("segment", "--workers", 1).code == 0
    train(sammil)
    assert found(sammil)["training"]["state"] == "up to date"
    assert states(found(sammil, stage="sam")) == dict.fromkeys(DRAWN, "to compute")
    change = ("-S", "wsi_sam_epochs=3")
    record = found(sammil, *change)
    assert states(record) == dict.fromkeys(DRAWN, "up to date")
    assert (record["training"]["state"], record["training"]["details"]) == ("to compute", ["wsi_sam_epochs: 2 → 3"])
    assert "training: to compute wsi_sam_epochs: 2 → 3" in said(sammil, "why", "s0", *change)
    sam = found(sammil, *change, stage="sam")
    assert {(slide["state"], *slide["reasons"]) for slide in sam["slides"]} == {("follows", f"follows {STAGE}")}
    others = found(sammil, *change, "-S", "proposer=superpixels", stage="sam")
    assert states(others) == dict.fromkeys(DRAWN, "to compute")
    held = found(sammil, "-S", "wsi_sam_val_fraction=0.6")["training"]
    assert held["reasons"] == ["other patients are held out"]
    assert found(sammil, "-S", "sam_colours=min-max")["training"]["reasons"] == ["another SAM"]
    assert "wrong.pth" in found(sammil, "-S", "sam_checkpoint=wrong.pth")["problem"]
    change = ("-S", "wsi_sam_fields=2")
    record = found(sammil, *change)
    assert states(record) == dict.fromkeys(DRAWN, "to compute")
    assert record["training"]["state"] == "follows"
    assert "wsi_sam_fields: 1 → 2" in said(sammil, "why", "s0", *change)


def test_what_was_touched_since_is_named(study: Path, sammil: Sammil) -> None:
    train(sammil)
    labels = study / "data/labels.csv"
    labels.write_text("slide_id,label,patient_id\ns0,t,p\ns1,t,p\ns2,t,s2\n")
    training = found(sammil)["training"]
    assert "other patients" in training["reasons"]
    assert "data/labels.csv" in training["files"]
    labels.write_text("slide_id,label,patient_id\ns0,t,p\ns1,t,p\ns2,t,p\n")
    assert "of one patient" in found(sammil)["problem"]
    labels.unlink()
    drawing = study / "data/lesions/s1.geojson"
    drawn = drawing.read_text()
    draw(drawing, shapely.box(430, 270, 600, 470))
    assert states(found(sammil)) == {"s0": "up to date", "s1": "to compute", "s2": "up to date"}
    assert "data/lesions/s1.geojson changed at " in said(sammil, "why", "s1")
    drawing.unlink()
    record = found(sammil)
    assert states(record)["s1"] == "to remove"
    assert "it has no drawing in data/lesions any more: its fields would be removed" in said(sammil, "why", "s1")
    assert "1 slide(s) left out" in record["training"]["reasons"]
    drawing.write_text(drawn)
    (study / "runs/wsi_sam/curve.csv").unlink()
    training = found(sammil)["training"]
    assert (training["state"], training["reasons"]) == ("from the store", ["not in its folder"])
    (study / "runs/wsi_sam/record.json").write_text("{}")
    training = found(sammil)["training"]
    assert training["reasons"] == ["runs/wsi_sam/record.json cannot be read (sammil check --contents)"]
    shutil.rmtree(study / ".sammil")
    assert found(sammil)["training"]["reasons"] == ["the fields of its slides come first"]
