"""SRMIL from params.yaml on: trained, judged, exported, used; and bags whose places nobody knows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from encoded_project import PATCHES, SLIDES, make_project, write_random_bag
from safetensors.torch import load_file

from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.mil.models.srmil import PUBLISHED
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]

QUICK = {"model": "srmil", "folds": 3, "epochs": 16, "choose_last": 6, "learning_rate": 0.002, "bootstrap_draws": 100}


def put(path: Path, *, placed: bool) -> None:
    """Moves a bag's patches onto a grid with a hole, or forgets where they lie."""
    bag = read_bag(BagPath(path))
    place = np.arange(PATCHES) + (np.arange(PATCHES) > 7)
    xy = np.stack([place % 5, place // 5], 1) * 128 if placed else np.full((PATCHES, 2), -1)
    bag = replace(bag, features=np.array(bag.features), xy=xy.astype(np.int32))
    path.unlink()
    write_bag(BagPath(path), bag, {"step": "extract"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    for slide in SLIDES:
        put(folder / f"artifacts/bags/{slide}.h5", placed=True)
    return folder


@pytest.mark.stress  # half a minute; models on slides are trained and judged, too
@pytest.mark.slow
def test_srmil_is_trained_judged_exported_and_used(project: Path, sammil: Sammil) -> None:
    answer = sammil("train", "--device", "cpu")
    assert answer.code == 0, answer
    facts = read_facts(project / "runs/models/repeat_0_fold_0")
    assert answer.err == ""
    assert facts.spec.dropout == 0.11  # its paper's
    assert 10 <= facts.epoch < 16
    settings = facts.provenance["key"]["settings"]
    assert (settings["optimiser"], settings["sampling"], settings["chosen_by"]) == ("adamw", "fixed", "accuracy")
    header = (project / "runs/learning_curves/repeat_0_fold_0.csv").read_text(encoding="utf-8").splitlines()[0]
    assert {"loss_bag", "loss_masked", "loss_reconstruction"} <= set(header.split(","))

    answer = sammil("evaluate", "--device", "cpu")
    assert answer.code == 0, answer
    rows = rows_of(project / "runs/predictions.csv")
    right = sum(row["predicted"] == row["label"] for row in rows)
    assert right >= 10  # of 12: five patches of a positive slide are far off

    answer = sammil("export", "runs/models/repeat_0_fold_0", "--out", "srmil.safetensors")
    assert answer.code == 0, answer
    assert set(load_file(project / "srmil.safetensors")) == set(PUBLISHED[0].names(2))


def test_bags_without_places_are_refused_in_training_with_the_fix(project: Path, sammil: Sammil) -> None:
    for slide in SLIDES[:2]:
        put(project / f"artifacts/bags/{slide}.h5", placed=False)
    answer = sammil("train", "--device", "cpu")
    assert answer.code == 2
    said = " ".join(answer.err.split())
    assert "srmil looks at neighbours, and of 2 of 12 bags (slide_00, slide_01) it is not known where" in said
    assert "convert the bags with their coordinates and --patch-px-level0 N" in said
    assert not (project / "runs/models").exists()
    assert sammil("train", "--device", "cpu", "-S", "model=mean", "-S", "epochs=1", "-S", "choose_last=1").code == 0


def test_bags_whose_places_were_lost_after_training_are_refused_in_judging(project: Path, sammil: Sammil) -> None:
    assert sammil("train", "--device", "cpu", "-S", "epochs=2", "-S", "choose_last=1").code == 0
    for slide in SLIDES:
        put(project / f"artifacts/bags/{slide}.h5", placed=False)
    answer = sammil("evaluate", "--device", "cpu")
    assert answer.code == 2
    assert "srmil looks at neighbours, and of 4 of 4 bags (" in " ".join(answer.err.split())


def test_a_bag_without_places_costs_its_own_slide_in_prediction(project: Path, sammil: Sammil) -> None:
    assert sammil("train", "--device", "cpu", "-S", "epochs=2", "-S", "choose_last=1").code == 0
    for name, placed in (("new_01", True), ("new_02", False)):
        write_random_bag(project / "artifacts/bags", name, 70)
        put(project / f"artifacts/bags/{name}.h5", placed=placed)
    answer = sammil("predict", "--no-pictures", "--only", "new_01,new_02", "--device", "cpu")
    assert answer.code == 1, answer
    assert [row["slide_id"] for row in rows_of(project / "runs/new_predictions/predictions.csv")] == ["new_01"]
    (row,) = (
        row
        for row in rows_of(project / "runs/new_predictions/process_lists/predict.csv")
        if row["slide_id"] == "new_02"
    )
    assert row["code"] == "E_BAG"
    assert "it is not known where its patches lie on their grid" in row["message"]
    assert "--patch-px-level0" in row["remedy"]
