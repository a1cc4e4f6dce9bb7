"""The commands: each is a call of the function that the command calls, on the project in the working folder.

They write what the commands write, and use again what was done before.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

from sammil_cli import choices
from sammil_cli.api.results import read_predictions
from sammil_cli.api.settings import read_settings
from sammil_cli.api.voice import voice
from sammil_cli.config import (
    EvaluateSettings,
    ExtractSettings,
    PatchSettings,
    SamSettings,
    SegmentSettings,
    Settings,
    StageSettings,
    TrainSettings,
    VisualizeSettings,
)
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.how_to_run import Workers, how_a_choice_runs, how_to_run

if TYPE_CHECKING:
    from sammil_cli.report.metrics import Predictions
    from sammil_cli.training.model_facts import ModelFacts

P = TypeVar("P", bound=StageSettings)
_PerSlide = Callable[[Project, P, RunOptions], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` found: `metrics`, as report/metrics.json holds them (docs/evaluation.md), and each prediction."""

    metrics: dict[str, Any]
    predictions: "Predictions"


@dataclass(frozen=True, kw_only=True)
class ExternalEvaluation:
    """What `evaluate_on` found: `metrics`, as the report's metrics.json holds them, and what became of each slide."""

    metrics: dict[str, Any]
    rows: tuple[Row, ...]


def segment(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil segment`: finds the tissue of every slide.

    Args:
        project: where everything lies; None = as in a project of `sammil init`.
        settings: None = those of params.yaml.
        workers: processes at once, or those of a cluster; None = as many as the cores or GPUs allow.
        only: ids of the slides to do; None = all.

    Returns:
        a row for each slide: a slide that cannot be done says why, and costs no other one.

    Raises:
        InputError: no slides, or wrong settings.
    """
    from sammil_cli.stages import segment as stage

    where, own = project or Project(), _own(settings, SegmentSettings)
    return _per_slide("segment", stage.run, where, own, how_to_run("cpu", workers, only), where.tissue)


def patch(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil patch`: lays the grid of patches over the tissue of every slide; else as `segment`."""
    from sammil_cli.stages import patch as stage

    where, own = project or Project(), _own(settings, PatchSettings)
    return _per_slide("patch", stage.run, where, own, how_to_run("cpu", workers, only), where.patches)


def sam(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil sam`: finds the regions of every slide; else as `segment`.

    Args:
        device: `auto`, `cpu`, `cuda` (all GPUs), `cuda:1`, or `mps` (Apple's GPU).

    Raises:
        MissingError: the proposer's weights are not here: `sammil weights fetch`.
    """
    from sammil_cli.stages import sam as stage

    where, own = project or Project(), _own(settings, SamSettings)
    how = how_a_choice_runs(choices.load(choices.PROPOSERS, own.proposer), own, device, workers, only)
    return _per_slide("sam", stage.run, where, own, how, where.regions)


def extract(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil extract`: makes the feature bag of every slide; else as `sam`."""
    from sammil_cli.stages import extract as stage

    where, own = project or Project(), _own(settings, ExtractSettings)
    if where.ungrouped is None:
        how = how_a_choice_runs(choices.load(choices.ENCODERS, own.encoder), own, device, workers, only)
    else:  # nothing is encoded
        how = how_to_run("cpu", workers, only)
    return _per_slide("extract", stage.run, where, own, how, where.bags)


def train(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    workers: int | None = None,
) -> "list[ModelFacts]":
    """`sammil train`: a model for each fold; epoch and threshold are chosen on validation.

    Args:
        project, settings: as of `segment`; device: as of `sam`.
        workers: processes, each of which trains a fold; None = as many as the cores or GPUs allow.

    Returns:
        of each fold what goes with its weights: classes, epoch, AUC on validation, threshold.

    Raises:
        InputError: labels and bags do not fit together, or too few patients.
    """
    from sammil_cli.stages import train as stage

    whole = settings or read_settings()
    with voice():
        how = how_to_run(device, workers)
        return stage.run(project or Project(), whole.stage(TrainSettings), how, whole=whole)


def evaluate(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    changed_labels: bool = False,
) -> Evaluation:
    """`sammil evaluate`: judges every fold on its test patients, and writes the report.

    Args:
        project, settings, device: as of `train`.
        changed_labels: judge by labels that changed since training; the report says so.

    Raises:
        InputError: nothing is trained, or bags or labels are others since.
    """
    from sammil_cli.stages import evaluate as stage

    where, own = project or Project(), _own(settings, EvaluateSettings)
    with voice():
        metrics = stage.run(where, own, how_to_run(device), changed_labels=changed_labels)
    return Evaluation(metrics=metrics, predictions=read_predictions(where.predictions))


def evaluate_on(
    labels: str | Path,
    models: str | Path = "runs",
    settings: Settings | None = None,
    *,
    bags: str | Path = "artifacts/bags",
    out: str | Path = "report/external",
    by: Collection[str] = (),
    device: str = "auto",
) -> ExternalEvaluation:
    """`sammil evaluate --on`: judges an external cohort by trained models together, at the threshold that they bring.

    Args:
        labels: its table. models: a run, a project, a model, or a bundle. bags: its bags, made as the models' own.
        settings: as of `segment`; device: as of `sam`. out: the folder of the report.
        by: columns of the table; each of their values is judged by itself, too.

    Raises:
        InputError: the table is wrong, or the models can judge none of the slides.
    """
    from sammil_cli.stages import external

    own = _own(settings, EvaluateSettings)
    with voice():
        how = how_to_run(device)
        metrics, rows = external.run(Path(labels), Path(models), Path(bags), Path(out), own, how, by=tuple(by))
    return ExternalEvaluation(metrics=metrics, rows=tuple(rows))


def visualize(
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    by: str | None = None,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil visualize`: draws the attention and evidence of every slide; else as `segment`.

    Args:
        by: who draws: a fold (`0.2`), `all` models together, or all that did not see the slide (`unseen`). None = the
            fold that did not see it, and for new slides all.

    Raises:
        InputError: there is no such fold, or no slide to draw.
    """
    from sammil_cli.stages import visualize as stage

    where, own = project or Project(), _own(settings, VisualizeSettings)
    return _per_slide(
        "visualize", partial(stage.run, by=by), where, own, how_to_run("cpu", workers, only), where.pictures
    )


def _own(settings: Settings | None, stage: type[P]) -> P:
    return (settings or read_settings()).stage(stage)


def _per_slide(stage: str, run: "_PerSlide[P]", project: Project, settings: P, how: RunOptions, out: Path) -> list[Row]:
    with voice():
        rows = run(project, settings, how)
        summarise(stage, rows, out, project.process_lists / f"{stage}.csv")
    return rows
