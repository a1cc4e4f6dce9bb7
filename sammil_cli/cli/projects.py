"""Commands that start a project."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import PARAMS, ParamsOption, RunAsked, SetOption, WorkersOption, read_settings, run_options

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new project.")],
    preset: Annotated[
        str, typer.Option(help="Where the settings start: default, camelyon16, tcga-nsclc or demo.")
    ] = "default",
    update: Annotated[bool, typer.Option("--update", help="Only renew dvc.yaml for the installed sammil.")] = False,
    dvc: Annotated[bool, typer.Option("--dvc/--no-dvc", help="Set up Git and DVC.")] = True,
    wsi_sam: Annotated[
        bool, typer.Option("--wsi-sam", help="With a stage that trains WSI-SAM on data/lesions.")
    ] = False,
) -> None:
    """Start a project for your own slides."""
    from sammil_cli import console
    from sammil_cli.project import init as stage

    console.set_up()
    stage.run(folder, preset, update=update, dvc=dvc, wsi_sam=wsi_sam)


@app.command()
def demo(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    out: Annotated[Path, typer.Option(help="Data folder, written.")] = Path("data"),
    workers: WorkersOption = None,
) -> None:
    """Draw the demo cohort: slides, labels, lesions.

    The lesions are what a heatmap should find.
    """
    from sammil_cli.config import DemoSettings

    settings = read_settings(params, assignments, DemoSettings)
    from sammil_cli import console
    from sammil_cli.project.project import Project
    from sammil_cli.stages import demo as stage

    console.set_up()
    project = Project(slides=out / "slides", labels=out / "labels.csv", lesions=out / "lesions")
    stage.run(project, settings, run_options("cpu", RunAsked(workers=workers)))
