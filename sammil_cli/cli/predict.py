"""The command that uses trained models: on raw slides, or on bags that exist."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sammil_cli.cli.options import (
    DownloadOption,
    EncoderDeviceOption,
    RunAsked,
    run_options,
    shares_run_options,
    workers_of,
)

app = typer.Typer()


@app.command()
@shares_run_options
def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A bundle (.sammil), a trained model, a folder of them, a run, a project."
        ),
    ] = Path("runs/models"),
    slides: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SLIDE…",
            help="Slides, folders of slides, or a table: slide_id, and any of path, patient_id, mpp, scene and the "
            "settings of segment. None: bags are judged.",
        ),
    ] = None,
    *,
    bags: Annotated[
        Path | None, typer.Option(help="Instead of slides: bags, made as the model's. [default: artifacts/bags]")
    ] = None,
    params: Annotated[Path | None, typer.Option(help="How bags are made. [default: as the model's own were]")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables, page, pictures and evidence, written.")] = Path(
        "runs/new_predictions"
    ),
    patient_rule: Annotated[
        Literal["mean", "max"], typer.Option(help="How the slides of a patient speak for it.")
    ] = "mean",
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw every slide, and write its evidence for QuPath.")
    ] = True,
    device: EncoderDeviceOption = "auto",
    download: DownloadOption = False,
    asked: RunAsked,
) -> None:
    """Judge new slides: from pixels to evidence in QuPath.

    Finds tissue, patches and regions and encodes them as the model's training did. A slide of the training is judged by
    the models that did not see it.
    """
    from dataclasses import asdict
    from functools import partial

    from sammil_cli import console
    from sammil_cli.project.process_list import exit_code, read_share
    from sammil_cli.project.project import read_only
    from sammil_cli.runner.machine import of_models
    from sammil_cli.stages import predict_slides as stage
    from sammil_cli.stages.new_bags import how_bags_are_made

    console.set_up(verbose=asked.verbose, as_json=asked.as_json)
    allowed = 0.0 if asked.fail_over is None else read_share(asked.fail_over)
    how = {"predict": run_options(of_models(device), RunAsked(only=asked.only)), "visualize": run_options("cpu", asked)}
    found = stage.run(
        stage.Asked(model=model, slides=slides or (), bags=bags, params=params),
        stage.Wanted(out=out, pictures=pictures, rule=patient_rule),
        how,
        partial(
            how_bags_are_made, device=device, workers=workers_of(asked), only=read_only(asked.only), download=download
        ),
    )
    undone = [row.__dict__ for row in found.rows if not row.done]
    console.print_json([*(asdict(verdict) for verdict in found.verdicts), *undone])
    raise typer.Exit(exit_code(found.rows, allowed))
