"""One row of an ablation: a variant of the settings, trained and judged in a folder of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sammil_cli.config import TrainSettings, assigned
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.ablation import VARIANTS
from sammil_cli.report.metrics import Predictions
from sammil_cli.stages import evaluate, train


def train_variant(
    project: Project, settings: TrainSettings, variant: str, folder: Path, options: RunOptions, *, reseed: int = 0
) -> tuple[Predictions, dict[str, Any]]:
    """Trains what is not trained yet, on the bags and labels of the project.

    Args:
        variant: a key of `report.ablation.VARIANTS`. folder: of its models, folds and learning curves.
        reseed: added to the seed of the training; the folds stay.

    Returns:
        Out-of-fold predictions, and what the row was made of, for a JSON file.
    """
    place = place_of(project, folder)
    facts = train.run(place, settings_of(settings, variant), options, reseed=reseed)
    record = {"settings": VARIANTS[variant], "reseed": reseed, "epochs": [fact.epoch + 1 for fact in facts]}
    return evaluate.out_of_fold(place, options.device), record


def place_of(project: Project, folder: Path) -> Project:
    """The project with models, folds and learning curves in a folder of their own."""
    return replace(
        project, models=folder / "models", splits=folder / "splits.csv", learning_curves=folder / "learning_curves"
    )


def settings_of(settings: TrainSettings, variant: str) -> TrainSettings:
    """The settings with what a variant sets."""
    values: dict[str, object] = settings.model_dump()
    for key, value in VARIANTS[variant].items():
        values = assigned(values, key, value)
    return TrainSettings.model_validate(values)


def said(variant: str) -> str:
    """What a variant sets, in brackets, for people."""
    overrides = VARIANTS[variant]
    return "(" + (", ".join(f"{key}={value}" for key, value in overrides.items()) or "the settings as they are") + ")"
