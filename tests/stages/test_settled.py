"""What `auto` comes to: the model's own recipe, the common one, or what the user wrote."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from encoded_project import make_project

from sammil_cli import choices
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.mil.recipe import COMMON, Recipe
from sammil_cli.stages.settled import settled
from sammil_cli.training.trained_model import model_class

every_model = pytest.mark.parametrize("name", choices.names(choices.MODELS))


def recipe_in(settings: TrainSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in Recipe.__dataclass_fields__}


@every_model
def test_auto_is_what_the_models_paper_does_or_what_is_common_to_all(name: str) -> None:
    assert recipe_in(settled(TrainSettings(model=name))) == asdict(model_class(name).recipe)
    assert recipe_in(settled(TrainSettings(model=name, recipe="common"))) == asdict(COMMON)


@every_model
def test_what_is_written_goes_before_either_recipe(name: str) -> None:
    own = {"epochs": 7, "loss": "binary", "clip_norm": None, "betas": (0.7, 0.8), "choose_last": 3, "dropout": 0.5}
    for recipe in ("paper", "common"):
        found = recipe_in(settled(TrainSettings(model=name, recipe=recipe, **own)))
        others = asdict(COMMON if recipe == "common" else model_class(name).recipe)
        assert found == {**others, **own}


def test_a_flag_of_group_features_that_would_mark_nothing_is_refused() -> None:
    for groups, named in (("auto", "auto, which is false of abmil"), (False, "false")):
        with pytest.raises(InputError, match=f"group_features is {named}: it would mark nothing") as caught:
            settled(TrainSettings(model="abmil", group_features=groups, group_feature_flag=True))
        assert caught.value.remedy == "set group_features: true, or group_feature_flag: false"
    assert settled(TrainSettings(model="abmil", group_features=True, group_feature_flag=True)).group_feature_flag
    assert settled(TrainSettings(model="sam-mil", group_feature_flag=True)).group_feature_flag


def test_a_settled_training_stays_as_it_is() -> None:
    once = settled(TrainSettings(model="transmil"))
    assert settled(once) == once


def test_an_unknown_model_or_option_is_refused() -> None:
    with pytest.raises(InputError, match="unknown model"):
        settled(TrainSettings(model="transmill"))
    with pytest.raises(InputError, match=r"model_options\.heads of abmil"):
        settled(TrainSettings(model="abmil", model_options={"heads": 2}))


def test_training_says_what_auto_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Callable[..., Any], inline_training: None
) -> None:
    monkeypatch.chdir(
        make_project(tmp_path / "project", {"model": "dsmil", "folds": 2, "epochs": 2, "patience": "auto"})
    )
    answer = sammil("train")
    assert answer.code == 0, answer
    line = next(line for line in answer.out.splitlines() if "learning rate" in line)
    for part in ("adam, learning rate 0.0001 (cosine)", "binary", "at most 2 epochs", "best by auc-and-accuracy"):
        assert part in line
