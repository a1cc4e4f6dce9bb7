"""sammil evaluate: the folds of a training, or trained models on a cohort of another place."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import (
    PARAMS,
    BagsOption,
    DeviceOption,
    JsonOption,
    LabelsOption,
    ParamsOption,
    SetOption,
    VerboseOption,
    read_settings,
    run_options,
)

_OF_FOLDS, _OF_OTHERS = ("labels", "runs", "changed_labels"), ("models", "by")


def evaluate(
    context: typer.Context,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    bags: BagsOption = Path("artifacts/bags"),
    labels: LabelsOption = Path("data/labels.csv"),
    runs: Annotated[Path, typer.Option(help="What train wrote.")] = Path("runs"),
    on: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="An external cohort: judge its slides, not the folds.")
    ] = None,
    models: Annotated[
        Path, typer.Option(metavar="RUN|BUNDLE", help="With --on: a run, a project, a model, or a bundle.")
    ] = Path("runs"),
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="With --on: each value of a column of LABELS, such as site; repeatable.",
            autocompletion=completion.columns,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Report folder. [default: report; with --on report/external]")
    ] = None,
    device: DeviceOption = "auto",
    changed_labels: Annotated[
        bool, typer.Option(help="Judge by labels that changed since training; the report says so.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Judge every fold on its test part, or other slides.

    Writes predictions, metrics, curves and a report page. With --on an external cohort is judged: by trained models
    together, at the threshold that they bring along, beside their internal folds.
    """
    from sammil_cli.config import EvaluateSettings

    settings = read_settings(params, assignments, EvaluateSettings)
    from sammil_cli import console
    from sammil_cli.project.process_list import exit_code

    _check_options(context, _OF_OTHERS if on is None else _OF_FOLDS, external=on is not None)
    console.set_up(verbose=verbose, as_json=as_json)
    options = run_options(device)
    if on is not None:
        from sammil_cli.stages import external

        folder = out or Path("report/external")
        summary, rows = external.run(on, models, bags, folder, settings, options, by=tuple(by or ()))
        console.print_json(summary)
        raise typer.Exit(exit_code(rows, 0.0))
    from sammil_cli.project.project import Project
    from sammil_cli.stages import evaluate as stage

    report = out or Path("report")
    project = Project(
        bags=bags,
        labels=labels,
        models=runs / "models",
        splits=runs / "splits.csv",
        predictions=runs / "predictions.csv",
        metrics=report / "metrics.json",
        curves=report / "curves",
        page=report / "index.html",
    )
    console.print_json(stage.run(project, settings, options, changed_labels=changed_labels))


def _check_options(context: typer.Context, others: tuple[str, ...], *, external: bool) -> None:
    """Refuses options that would be passed over."""
    from sammil_cli.errors import InputError

    for name in others:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            if external:
                fix = {"labels": "give the labels by --on", "runs": "name the models by --models"}.get(name)
                raise InputError(f"{option} does not go with --on", remedy=fix or "leave it out")
            raise InputError(f"{option} is for an external cohort", remedy="name its labels: --on LABELS")
