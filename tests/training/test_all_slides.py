"""One model on all slides: no validation part, so nothing is chosen; no test part, so nothing is judged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from study_fixtures import set_params
from toy_cohort import TRAIN, VAL, build, toy_bag

from sammil_cli.cohort.cohort import Cohort, Member, patients_of
from sammil_cli.errors import InputError
from sammil_cli.mil.recipe import CutShort, Recipe
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.fold import Fold, check_tested, fold_of_all
from sammil_cli.training.loop import train_fold
from sammil_cli.training.model_facts import read_facts
from sammil_cli.training.splits import draw_folds

FOLDS = {"folds": 1, "repeats": 1, "val_fraction": 0.2, "seed": 1}


def cohort(**changes: Any) -> Cohort:
    members = tuple(Member(slide_id=f"s{i}", label=i % 2, patient_id=f"P{i}") for i in range(4))
    facts = {"classes": ("normal", "tumour"), "members": members, "patients": patients_of(members)}
    return Cohort(**{**facts, **changes})


def test_one_fold_trains_on_all_slides() -> None:
    assert draw_folds(cohort(), **FOLDS) == [fold_of_all(["s0", "s1", "s2", "s3"])]
    assert [fold.repeat for fold in draw_folds(cohort(), **{**FOLDS, "repeats": 2})] == [0, 1]


def test_labels_that_give_every_slide_to_training_train_on_all_whatever_folds_says() -> None:
    assert draw_folds(cohort(trains_all=True), **{**FOLDS, "folds": 5}) == [fold_of_all(["s0", "s1", "s2", "s3"])]


def test_the_papers_protocol_needs_a_test_fold() -> None:
    with pytest.raises(InputError, match="test fold"):
        draw_folds(cohort(), **FOLDS, protocol="paper")


def test_a_class_without_a_slide_here_is_refused() -> None:
    with pytest.raises(InputError, match="'benign'"):
        draw_folds(cohort(classes=("normal", "tumour", "benign")), **FOLDS)


def test_folds_without_a_test_part_are_refused_where_they_are_judged() -> None:
    with pytest.raises(InputError, match="no test part") as refused:
        check_tested([fold_of_all(["s0"])])
    assert "evaluate --on" in refused.value.remedy
    check_tested([Fold(repeat=0, fold=0, train=("a",), val=("b",), test=("c",))])


def trained(recipe: Recipe, val: Any = (), **more: Any) -> Any:
    return train_fold(build(), toy_bag, TRAIN, val, recipe, seed=1, log=lambda *_, **__: None, **more)


def test_without_validation_the_last_epoch_is_kept_and_patience_does_not_count() -> None:
    found = trained(Recipe(epochs=5, patience=1, min_epochs=0))
    assert found.epoch == 4
    assert found.val_probabilities.shape == (0, 2)
    assert np.isnan(found.val_auc)


def test_a_recipe_cut_short_trains_as_the_whole_one_up_to_there(tmp_path: Path) -> None:
    settings = {"epochs": 6, "patience": 9, "min_epochs": 0, "learning_rate": 0.01}
    part = trained(CutShort(**settings, stop_after=3), checkpoint=tmp_path / "run.safetensors")
    assert part.epoch == 2
    again = trained(CutShort(**settings, stop_after=6), checkpoint=tmp_path / "run.safetensors")  # goes on at epoch 3
    whole = trained(Recipe(**settings), val=VAL)
    straight = trained(Recipe(**settings))
    assert again.epoch == straight.epoch == 5
    for name, tensor in straight.state.items():
        assert np.array_equal(tensor.numpy(), again.state[name].numpy()), name
    assert whole.every_epoch.shape[0] == 6


@pytest.mark.usefixtures("inline_training")
@pytest.mark.parametrize("way", ["folds", "split"])
def test_train_makes_one_model_that_has_seen_all_and_evaluate_says_what_to_do(
    done: Path, sammil: Callable[..., Any], way: str
) -> None:
    shutil.rmtree(done / "runs")
    if way == "folds":
        set_params(done, folds=1)
    else:
        lines = (done / "data/labels.csv").read_text().splitlines()
        (done / "data/labels.csv").write_text(
            "\n".join([f"{lines[0]},split", *(f"{line},train" for line in lines[1:])])
        )
    said = sammil("train", "--workers", 1)
    assert said.code == 0, said
    assert "one model on all" in said.out
    assert "4 epochs, of which the last one is kept" in said.out
    facts = read_facts(ModelPath(done / "runs/models/repeat_0_fold_0"))
    assert (facts.chosen_on, facts.threshold, facts.temperature, facts.epoch) == ("nothing", 0.5, 1.0, 3)
    assert facts.val_auc is None
    assert facts.trained_on is not None
    assert len(facts.trained_on.slides) == 6
    assert {row["role"] for row in rows_of(done / "runs/splits.csv")} == {"train"}
    refused = sammil("evaluate")
    assert refused.code == 2
    assert "no test part" in refused.err
    assert "sammil evaluate --on LABELS" in refused.err
    assert sammil("predict", "--no-pictures").code == 0
    assert {row["in_sample"] for row in rows_of(done / "runs/new_predictions/predictions.csv")} == {"true"}
