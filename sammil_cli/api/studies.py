"""Runs and models beside one another."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

from sammil_cli.api.settings import read_settings
from sammil_cli.api.voice import voice
from sammil_cli.config import EvaluateSettings, Settings, TrainSettings
from sammil_cli.project.project import Project
from sammil_cli.runner.how_to_run import Workers, how_to_run

if TYPE_CHECKING:
    from sammil_cli.studies.benchmark import Benchmarked
    from sammil_cli.studies.compare import RunsCompared


def compare(
    *runs: str | Path,
    other_seed: str | Path | None = None,
    patient_rule: Literal["mean", "max"] = "mean",
    interval: float = 0.95,
    draws: int = 2000,
    out: str | Path = "report/comparison",
) -> "RunsCompared":
    """`sammil compare`: runs beside the first of them, on the slides and patients that both judge.

    Args:
        runs: projects, or what `train` and `evaluate` wrote.
        other_seed: the reference trained with another seed: how far a seed alone moves it.
        patient_rule: a patient's probability: the mean of its slides, or that of the slide most probably positive.
        interval: level of the intervals; draws: of patients, for them.
        out: the folder of tables.

    Raises:
        InputError: fewer than two runs, one that cannot be read, or one of other classes.
    """
    from sammil_cli.studies import compare as study

    asked = study.Asked(level=interval, draws=draws, rule=patient_rule)
    with voice():
        return study.run(
            [Path(run) for run in runs], None if other_seed is None else Path(other_seed), asked, Path(out)
        )


def benchmark(
    models: Sequence[str] = (),
    bags: Sequence[str | Path] = ("artifacts/bags",),
    settings: Settings | None = None,
    *,
    embeddings: Sequence[str | Path] = (),
    labels: str | Path = "data/labels.csv",
    out: str | Path = "report/benchmark",
    device: str = "auto",
    workers: int | Workers | None = None,
) -> "Benchmarked":
    """`sammil benchmark`: models on folders of bags, all on the same slides and folds; the first is the reference.

    What runs/benchmark holds already is not trained again.

    Args:
        models: names, with settings after colons (`abmil:model_options.gated=true`); `mean-pool` is logistic regression
            on the mean of the patches. None named = it, abmil and the model of the settings.
        bags: folders of bags; `name=folder` gives one a name.
        settings: folds, recipe, interval and all else; None = those of params.yaml.
        embeddings: folders of slide embeddings, one vector a slide, which logistic regression is fitted on.
        out: the folder of table and figure. device: as of `sam`; workers: as of `segment`, each trains a fold.

    Returns:
        records (one for each row: means over folds, pooled AUC, difference to the reference with p, costs), and the
        rows that failed, with their fix.

    Raises:
        InputError: nothing to compare, an unknown model or setting, a folder that does not exist, or no slide that
            all have.
    """
    from sammil_cli.studies import benchmark as study

    whole = settings or read_settings()
    asked = study.Asked(
        models=tuple(models) or study.default_models(whole.model),
        bags=tuple(str(folder) for folder in bags),
        embeddings=tuple(str(folder) for folder in embeddings),
    )
    with voice():
        return study.run(
            Project(labels=Path(labels)),
            whole.stage(TrainSettings),
            whole.stage(EvaluateSettings),
            how_to_run(device, workers),
            asked,
            runs=Path("runs/benchmark"),
            out=Path(out),
        )
