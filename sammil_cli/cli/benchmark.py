"""The command that compares many models on one cohort."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import (
    PARAMS,
    ClusterOption,
    DeviceOption,
    ExecutorOption,
    JsonOption,
    LabelsOption,
    ParamsOption,
    RunAsked,
    SchedulerOption,
    SetOption,
    VerboseOption,
    WorkersOption,
    run_options,
    words,
)

app = typer.Typer()


@app.command()
def benchmark(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            autocompletion=completion.several_models,
            help="Models, between commas; settings after colons (abmil:model_options.gated=true); mean-pool: logistic "
            "regression on the mean of the patches. [default: mean-pool, abmil, and that of params.yaml]",
        ),
    ] = None,
    bags: Annotated[
        str, typer.Option(metavar="DIRS", help="Folders of feature bags, between commas; name=DIR gives one a name.")
    ] = "artifacts/bags",
    embeddings: Annotated[
        str, typer.Option(metavar="DIRS", help="Folders of slide embeddings (h5, one vector a slide), between commas.")
    ] = "",
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The model, or MODEL@FOLDER, that all are compared with. [default: the first]"
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Outer folds. [default: of params.yaml]")] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="How often the folds are drawn anew. [default: of params.yaml]")
    ] = None,
    labels: LabelsOption = Path("data/labels.csv"),
    runs: Annotated[Path, typer.Option(help="Models, folds and results of each row, written.")] = Path(
        "runs/benchmark"
    ),
    out: Annotated[Path, typer.Option(help="Table and figure, written.")] = Path("report/benchmark"),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare models and features on one cohort, in one table.

    All rows have the same slides and folds. What was trained before is taken as it is.
    """
    from sammil_cli.config import EvaluateSettings, TrainSettings, load_settings

    own = [f"{key}={value}" for key, value in (("folds", folds), ("repeats", repeats)) if value is not None]
    whole = load_settings(params, [*(assignments or ()), *own])
    from dataclasses import asdict

    from sammil_cli import console
    from sammil_cli.project.project import Project
    from sammil_cli.studies import benchmark as stage

    console.set_up(verbose=verbose, as_json=as_json)
    asked = stage.Asked(
        models=words(models) if models is not None else stage.default_models(whole.model),
        bags=words(bags),
        embeddings=words(embeddings),
        reference=reference,
    )
    found = stage.run(
        Project(labels=labels),
        whole.stage(TrainSettings),
        whole.stage(EvaluateSettings),
        run_options(device, RunAsked(workers=workers, executor=executor, scheduler=scheduler, cluster=cluster)),
        asked,
        runs=runs,
        out=out,
    )
    console.print_json({"rows": found.records, "failed": [asdict(one) for one in found.failed], "remark": found.remark})
    raise typer.Exit(1 if found.failed else 0)
