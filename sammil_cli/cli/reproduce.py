"""The command that runs a result again."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sammil_cli.cli.options import BagsOption, JsonOption, LabelsOption, SlidesOption, VerboseOption, WorkersOption

app = typer.Typer()


@app.command()
def reproduce(
    record: Annotated[Path, typer.Option(help="The run record that train wrote.")] = Path("runs/record.json"),
    source: Annotated[
        Literal["bags", "slides"], typer.Option("--from", help="Start at the bags, or at the slides.")
    ] = "bags",
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference of a metric or probability. "
            "[default: 0.00001; 0.01 on a GPU, or if code, libraries or device are others now]",
        ),
    ] = None,
    bags: BagsOption = Path("artifacts/bags"),
    labels: LabelsOption = Path("data/labels.csv"),
    slides: SlidesOption = Path("data/slides"),
    report: Annotated[Path, typer.Option(help="The report to compare with.")] = Path("report"),
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the new run's files there. [default: removed]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda (all GPUs) or cuda:1. [default: that of the record]")
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a result again from its record, and compare.

    Everything is computed anew, in a folder of its own. Exit code 0: the same numbers; 1: others.
    """
    from sammil_cli import console
    from sammil_cli.project.project import Project
    from sammil_cli.studies import reproduce as stage

    console.set_up(verbose=verbose, as_json=as_json)
    project = Project(
        record=record,
        predictions=record.parent / "predictions.csv",
        metrics=report / "metrics.json",
        bags=bags,
        labels=labels,
        slides=slides,
    )
    outcome = stage.run(project, source=source, device=device, workers=workers, tolerance=tolerance, keep=keep)
    console.print_json(stage.as_json(outcome))
    if outcome.agreement.verdict == "different":
        raise typer.Exit(1)
