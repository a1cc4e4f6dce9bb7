"""A decision from params.yaml to the models, the report and predictions: nothing is trained for another one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from encoded_project import make_project
from judged_study import make_study

from sammil_cli.bundles.models import open_models
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs.train import TrainJob
from sammil_cli.stages import train

Sammil = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("no_pictures")

QUICK = {"model": "mean", "folds": 3, "epochs": 3, "patience": 99, "min_epochs": 0, "learning_rate": 0.001}
MODELS = Path("runs/models")
BAGS = Path("artifacts/bags")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Sammil, inline_training: None) -> list[str]:
    """A trained project as working directory; the folds that are trained from then on."""
    monkeypatch.chdir(make_project(tmp_path / "project", QUICK))
    assert sammil("train").code == 0
    names: list[str] = []
    work = train.work

    def spying(job: TrainJob) -> None:
        names.append(job.fold.name)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    return names


def facts(fold: int = 0) -> dict[str, Any]:
    return dict(json.loads((MODELS / f"repeat_0_fold_{fold}/model.json").read_text(encoding="utf-8")))


def test_another_decision_trains_nothing_and_decides_models_and_report_alike(
    trained: list[str], sammil: Sammil
) -> None:
    before = [facts(fold) for fold in range(3)]
    asked = ("-S", "decision=sensitivity", "-S", "decision_target=1.0")
    answer = sammil("train", *asked)
    assert (answer.code, trained) == (0, [])
    assert "the largest specificity with a sensitivity of at least 1 on validation" in answer.out
    assert "positive validation slides a fold cannot show it" in answer.err
    after = [facts(fold) for fold in range(3)]
    for old, new in zip(before, after, strict=True):
        assert new["operating_point"]["sensitivity"] == 1.0
        assert (new["decision"], new["decision_target"]) == ("sensitivity", 1.0)
        same = ("weights_sha256", "temperature", "validation", "epoch", "provenance")
        assert [old[name] for name in same] == [new[name] for name in same]
        positive = [p[1] for p, label in zip(*(new["validation"][k] for k in ("probabilities", "labels")), strict=True)
                    if label == 1]  # fmt: skip
        assert new["threshold"] <= min(positive)
    answer = sammil("evaluate", "-S", "bootstrap_draws=100")
    assert answer.code == 0, answer
    assert "threshold of each fold: the largest specificity with a sensitivity of at least 1" in answer.out
    report = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
    assert (report["decision"]["rule"], report["decision"]["target"]) == ("sensitivity", 1.0)
    assert report["decision"]["remark"] in Path("report/index.html").read_text(encoding="utf-8")
    for row in rows_of(Path("runs/predictions.csv")):
        of_fold = after[int(row["fold"])]
        assert float(row["threshold"]) == pytest.approx(of_fold["calibrated_threshold"], abs=1e-5)
        assert (row["predicted"] == "tumour") == (float(row["probability_tumour"]) >= float(row["threshold"]))
    assert sammil("train").code == 0
    assert (trained, [facts(fold) for fold in range(3)]) == ([], before)


def test_a_fixed_decision_is_a_calibrated_probability(trained: list[str], sammil: Sammil) -> None:
    assert sammil("train", "-S", "decision=fixed", "-S", "decision_target=0.3").code == 0
    assert [facts(fold)["calibrated_threshold"] for fold in range(3)] == pytest.approx([0.3] * 3)
    answer = sammil("evaluate", "-S", "bootstrap_draws=100")
    assert "a calibrated probability of 0.3" in answer.out
    assert "Had the threshold been chosen" not in answer.out
    assert not trained


def test_a_decision_that_cannot_be_is_refused_before_any_work(
    trained: list[str], sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = sammil("train", "-S", "decision=sensitivity")
    assert answer.code == 2
    assert "decision: sensitivity needs a target" in answer.err
    labels = Path("data/labels.csv")
    lines = labels.read_text(encoding="utf-8").replace("slide_03,tumour", "slide_03,other").replace(
        "slide_05,tumour", "slide_05,other"
    ).replace("slide_07,tumour", "slide_07,other")  # fmt: skip
    labels.write_text(lines, encoding="utf-8")
    answer = sammil("train", "-S", "decision=cost", "-S", "decision_target=5")
    assert answer.code == 2
    assert "decision: cost is defined for two classes, and there are 3" in answer.err
    assert not trained


def test_a_fixed_threshold_holds_for_patients_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [0, 0, 1, 1] * 3
    make_study(tmp_path, monkeypatch, decision="fixed", decision_target=0.45, labels=labels).run()
    make_study(tmp_path / "youden", monkeypatch, labels=labels).run()
    of_slides, of_patients, by_youden = (
        {row["threshold"] for row in rows_of(tmp_path / name)}
        for name in ("predictions.csv", "predictions_patients.csv", "youden/predictions_patients.csv")
    )
    assert of_slides == of_patients != by_youden


def test_abstention_is_said_in_report_table_predict_and_bundle(trained: list[str], sammil: Sammil) -> None:
    asked = ("-S", "abstain=0.6", "-S", "bootstrap_draws=100")
    answer = sammil("evaluate", *asked)
    assert answer.code == 0, answer
    assert "abstain at a coverage of 0.6" in answer.out
    found = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))["abstention"]
    rows = rows_of(Path("runs/predictions.csv"))
    assert found["abstained"] == pytest.approx(np.mean([row["abstained"] == "true" for row in rows]), abs=1e-6)
    assert found["covered"] == pytest.approx(
        np.mean([row["label"] in row["set"].split(" | ") for row in rows]), abs=1e-6
    )
    assert all((row["abstained"] == "false") == (row["set"] == row["predicted"]) for row in rows)
    scores = open_models(Path(), "cpu").conformal
    assert scores is not None
    assert scores.coverage == 0.6
    assert sammil("predict", "runs/models", "--bags", BAGS, "--out", "said", "--no-pictures").code == 0
    said = rows_of(next(Path("said").rglob("predictions.csv")))
    assert {row["coverage"] for row in said} == {"0.6"}
    assert all((row["abstained"] == "false") == (row["set"] == row["predicted"]) for row in said)
    assert sammil("bundle", ".", "-o", "m.sammil").code == 0
    assert open_models(Path("m.sammil"), "cpu").conformal == scores
    assert "at a coverage of 0.6" in sammil("bundle", "show", "m.sammil").out
    assert sammil("evaluate", "-S", "bootstrap_draws=100").code == 0
    assert open_models(Path(), "cpu").conformal is None  # it was not asked for


def test_scores_of_other_models_are_not_used(trained: list[str], sammil: Sammil) -> None:
    assert sammil("evaluate", "-S", "abstain=0.6", "-S", "bootstrap_draws=100").code == 0
    assert sammil("train", "-S", "decision=fixed", "-S", "decision_target=0.3").code == 0
    assert open_models(Path(), "cpu").conformal is None


def test_a_slide_that_is_unlike_the_training_slides_is_judged_with_a_remark(trained: list[str], sammil: Sammil) -> None:
    bag = read_bag(BAGS / "slide_00.h5")  # type: ignore[arg-type]
    Path("new").mkdir()
    for name, features in (("like", bag.features), ("unlike", bag.features + 30)):
        write_bag(Path("new") / f"{name}.h5", replace(bag, slide_id=name, features=features), {"step": "extract"})  # type: ignore[arg-type]
    answer = sammil("predict", "runs/models", "--bags", "new", "--out", "said", "--no-pictures")
    assert answer.code == 0, answer
    assert (
        "1 bag(s): its features lie farther from the training slides than any of these 8 from the others" in answer.out
    )
