"""What is wrong with a cohort, before any compute."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import PARAMS, JsonOption, ParamsOption, SetOption, SlidesOption, read_settings

app = typer.Typer()


@app.command()
def check(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    labels: Annotated[Path, typer.Option(help="slide_id,label[,patient_id][,split].")] = Path("data/labels.csv"),
    slides_table: Annotated[Path, typer.Option(help="What you say of slides: slide_id,mpp.")] = Path("data/slides.csv"),
    bags: Annotated[Path, typer.Option(help="Feature bags, where there are any.")] = Path("artifacts/bags"),
    as_json: JsonOption = False,
) -> None:
    """Check labels, slides and tables; list all that is wrong, each with its row and its fix."""
    from sammil_cli import console
    from sammil_cli.stages.check import as_record, exit_code, report, run
    from sammil_cli.stages.project import Project

    console.set_up(quiet=as_json)
    given = params if params != PARAMS or params.exists() else None  # a cohort can be checked before sammil init
    settings = read_settings(given, assignments, "train")
    found = run(Project(slides=slides, labels=labels, slides_table=slides_table, bags=bags), settings)
    if as_json:
        console.print_json(as_record(found))
    else:
        report(found)
    raise typer.Exit(exit_code(found))
