"""A training with flagged group features through its whole life: keys, models, predictions, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from csv_rows import by_slide
from encoded_project import DIM, PATCHES, REGIONS, make_project

from sammil_cli.jobs.patch_scores import score_patches
from sammil_cli.jobs.train import TrainJob
from sammil_cli.stages import train
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.model_facts import read_facts
from sammil_cli.training.trained_model import read_model

Sammil = Callable[..., Any]

QUICK = {"folds": 2, "epochs": 2, "patience": 9, "min_epochs": 0, "learning_rate": 0.001, "bootstrap_draws": 100}
FLAG = ("-S", "group_feature_flag=true")
FOLD = Path("runs/models/repeat_0_fold_0")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> list[bool]:
    """A project as working directory; gets of each fold that is trained whether it is flagged."""
    monkeypatch.chdir(make_project(tmp_path / "project", QUICK))
    flags: list[bool] = []
    work = train.work

    def spying(job: TrainJob) -> None:
        flags.append(job.settings.group_feature_flag)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    return flags


def test_a_flagged_model_lives_as_every_model_does_and_is_never_taken_for_another(
    trained: list[bool], sammil: Sammil
) -> None:
    assert sammil("train").code == 0
    shutil.copytree(FOLD, "mixed/plain")
    answer = sammil("train", *FLAG)
    assert "train: sam-mil with flagged group features on 6 normal" in answer.out
    assert trained == [False, False, True, True]  # no plain fold was taken for a flagged one
    facts = read_facts(FOLD)
    assert (facts.spec.dim, facts.encoder.dim, facts.spec.group_feature_flag) == (DIM + 1, DIM, True)
    record = json.loads(Path("runs/record.json").read_text(encoding="utf-8"))
    assert record["params"]["group_feature_flag"] is True

    bags, model = BagFolder(Path("artifacts/bags"), "cpu"), read_model(FOLD, "cpu")[0]
    drawn = score_patches(bags.read("slide_03"), FOLD).attention  # what `visualize` draws
    with torch.inference_mode():
        attention = model(bags.of_model(model)("slide_03")).attention
    assert len(attention) == PATCHES + REGIONS
    assert drawn == pytest.approx(attention[:PATCHES].double().numpy())

    assert sammil("evaluate").code == 0
    metrics = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["group_features"], metrics["group_feature_flag"]) == (True, True)
    answer = sammil("reproduce", "--device", "cpu")
    assert answer.code == 0, answer
    assert trained[4:] == [True, True]

    shutil.copytree(FOLD, "mixed/flagged")
    said = {}
    for folder in ("mixed/plain", "mixed/flagged", "mixed"):
        answer = sammil("predict", folder, "--no-pictures", "--out", "said", "--device", "cpu")
        assert answer.code == 0, answer
        said[folder] = by_slide(Path("said/predictions.csv"))["slide_03"]
    key = "uncalibrated_tumour"  # one has seen the slide, or both have: the others are left out
    alone = [float(said[folder][key]) for folder in ("mixed/plain", "mixed/flagged")]
    assert alone[0] != alone[1]
    assert float(said["mixed"][key]) == pytest.approx(sum(alone) / 2, abs=2e-6)

    answer = sammil("export", FOLD, "--out", "out.safetensors")
    assert answer.code == 2
    assert "an input more than features, which no published model has" in answer.err
    assert "group_feature_flag: false" in answer.err

    assert sammil("train").code == 0  # from the store
    assert len(trained) == 6


def test_a_flag_that_marks_nothing_is_refused_before_any_work(trained: list[bool], sammil: Sammil) -> None:
    answer = sammil("train", "-S", "model=abmil", *FLAG)
    assert answer.code == 2
    assert "group_features is auto, which is false of abmil: it would mark nothing" in answer.err
    assert trained == []
