"""sammil status and sammil why, of what comes after the bags: models, figures, pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline_executor import open_inline

from sammil_cli.runner import per_slide

Sammil = Callable[..., Any]


def found(sammil: Sammil, *words: str) -> dict[str, dict[str, Any]]:
    answer = sammil("status", "--json", *words)
    assert answer.code == 0, answer
    return {stage["stage"]: stage for stage in json.loads(answer.out)}


def training(stage: dict[str, Any]) -> tuple[str, list[str]]:
    return stage["training"]["state"], stage["training"]["reasons"]


def states(stage: dict[str, Any]) -> set[str]:
    return {slide["state"] for slide in stage["slides"]}


def test_a_finished_project_is_up_to_date_to_the_last_picture(done: Path, sammil: Sammil) -> None:
    stages = found(sammil)
    assert training(stages["train"]) == ("up to date", [])
    assert training(stages["evaluate"]) == ("up to date", [])
    assert states(stages["visualize"]) == {"up to date"}
    assert "nothing to do" in sammil("status").out


def test_a_changed_setting_is_followed_by_all_that_comes_after_it(done: Path, sammil: Sammil) -> None:
    stages = found(sammil, "-S", "dropout=0.5")
    assert training(stages["train"]) == ("to compute", ["dropout changed"])
    assert training(stages["evaluate"]) == ("follows", ["follows train"])
    assert states(stages["visualize"]) == {"follows"}
    stages = found(sammil, "-S", "interval=0.8", "-S", "top_patches=3")
    assert training(stages["train"]) == ("up to date", [])
    assert training(stages["evaluate"]) == ("to compute", ["interval changed"])
    assert states(stages["visualize"]) == {"to compute"}
    assert {reason for slide in stages["visualize"]["slides"] for reason in slide["reasons"]} == {"made otherwise"}
    assert training(found(sammil, "-S", "patch_min_tissue=0.9")["train"])[1] == ["follows extract"]


def test_figures_of_other_models_and_missing_ones_are_named(done: Path, sammil: Sammil) -> None:
    predictions = Path("runs/predictions.csv")
    header, first, *rows = predictions.read_text(encoding="utf-8").splitlines()
    at = header.split(",").index("uncalibrated_threshold")
    other = [[*row[:at], "0.123456", *row[at + 1 :]] for row in (line.split(",") for line in (first, *rows))]
    predictions.write_text("\n".join([header, *map(",".join, other), ""]), encoding="utf-8")
    last = found(sammil)["evaluate"]
    assert training(last) == ("to compute", ["other models"])
    predictions.unlink()
    assert training(found(sammil)["evaluate"]) == ("to compute", ["not judged yet"])


def test_why_says_in_which_folds_a_slide_was_what(done: Path, sammil: Sammil) -> None:
    slide = sorted(Path("artifacts/bags").glob("*.h5"))[0].stem
    said = sammil("why", slide).out
    assert "test part of 0." in said
    assert "judging: up to date" in said
    assert "up to date" in said.split("visualize")[1]


def test_explanations_are_said_not_to_be_made_until_somebody_asks_for_them(done: Path, sammil: Sammil) -> None:
    stages = found(sammil)
    for name in ("explain", "evidence"):
        assert stages[name]["slides"] == []
        assert stages[name]["not_made"] == "not made; run: sammil explain"
    out = sammil("status").out
    assert out.count("not made; run: sammil explain") == 2
    assert "nothing to do" in out
    assert sammil("why", "slide_0").out.count("not made; run: sammil explain") == 2


def test_explanations_are_up_to_date_follow_the_models_and_miss_what_is_deleted(
    done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    assert sammil("explain", "-S", "bootstrap_draws=100").code == 0
    made = ("explain", "evidence")
    stages = found(sammil)
    assert [states(stages[name]) for name in made] == [{"up to date"}, {"up to date"}]
    assert [len(stages[name]["slides"]) for name in made] == [6, 6]
    stages = found(sammil, "-S", "dropout=0.5")
    assert [states(stages[name]) for name in made] == [{"follows"}, {"follows"}]
    assert "explain  " in sammil("why", "slide_0", "-S", "dropout=0.5").out
    stages = found(sammil, "-S", "top_patches=3")  # of pictures, and so of what QuPath is given
    assert [states(stages[name]) for name in made] == [{"up to date"}, {"follows"}]
    assert {reason for slide in stages["evidence"]["slides"] for reason in slide["reasons"]} == {"follows visualize"}
    Path("report/explain/slides/slide_0.json").unlink()
    Path("report/evidence/slide_1.geojson").unlink()
    stages = found(sammil)
    for name, slide in zip(made, ("slide_0", "slide_1"), strict=True):
        assert {one["slide_id"]: one["state"] for one in stages[name]["slides"] if one["state"] != "up to date"} == {
            slide: "from the store"
        }


def test_evidence_that_was_packed_stays_up_to_date(done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    assert sammil("explain", "--gz", "-S", "bootstrap_draws=100").code == 0
    assert states(found(sammil)["evidence"]) == {"up to date"}


def test_nothing_is_said_of_models_before_the_first_training(done: Path, sammil: Sammil) -> None:
    Path("runs/record.json").unlink()
    assert "train" not in found(sammil)
