"""One row of an ablation: a variant of the settings, trained and judged in a folder of its own."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import TrainSettings, assigned
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.ablation import VARIANTS
from sammil_cli.report.metrics import Predictions, fold_metrics
from sammil_cli.stages import evaluate, train

Variant = tuple[Predictions, dict[str, Any]]  # out of fold, and what it was made of
_NO_TIME = 0.1  # of the longest row


def train_variant(
    project: Project, settings: TrainSettings, variant: str, folder: Path, options: RunOptions, *, reseed: int = 0
) -> Variant:
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


class VariantLines:
    """A line for each row of an ablation once it is judged: its AUC, how long it took, how long the others take.

    Args:
        total: how many rows there are. clock: seconds; another one in tests.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._took = total, clock, list[float]()

    def made(self, name: str, detail: str, make: Callable[[], Variant]) -> Variant:
        """What `make` gives; nothing that it prints on stdout is seen, and its progress bears the row's name.

        Args:
            detail: what the row is made with, in brackets; said once.
        """
        number, begun = len(self._took) + 1, self._clock()
        with console.hushed(), console.within(f"{number} of {self._total}, {name}"):
            found = make()
        self._took.append(self._clock() - begun)
        rows = found[0]
        area = fold_metrics(rows.labels, rows.probabilities, rows.predicted).get("auc")
        figure = f"AUC {console.three_digits(area)}, {console.time_words(self._took[-1])}"
        console.say(f"{number} of {self._total}, {name}{f' {detail}' if detail else ''}: {figure}{self._left()}")
        return found

    def _left(self) -> str:
        """What was trained before takes no time, and says nothing of the rows to come."""
        trained = [seconds for seconds in self._took if seconds >= max(1.0, _NO_TIME * max(self._took))]
        if not trained or len(self._took) == self._total:
            return ""
        return f", about {console.time_words((self._total - len(self._took)) * statistics.mean(trained))} left"


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
