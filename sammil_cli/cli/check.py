"""What is wrong with a cohort, before any compute."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    PARAMS,
    BagsOption,
    JsonOption,
    LabelsOption,
    ParamsOption,
    SetOption,
    SlidesOption,
    SlidesTableOption,
    read_settings,
)

app = typer.Typer()


@app.command()
def check(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    labels: LabelsOption = Path("data/labels.csv"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    bags: BagsOption = Path("artifacts/bags"),
    contents: Annotated[
        bool, typer.Option("--contents", help="Instead read every file that sammil wrote, and verify its checksum.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List all that is wrong with labels, slides and tables.

    Before any compute, each with its row and its fix; exit code 2 with errors. The names of bags and of drawings in
    data/edits, data/rois, data/annotations and data/lesions are looked at, too. --contents looks at results instead.
    """
    from sammil_cli import console
    from sammil_cli.config import Settings
    from sammil_cli.preflight.check import as_record, exit_code, report, run
    from sammil_cli.project.project import Project

    console.set_up(as_json=as_json)
    if contents:
        from sammil_cli.preflight import check_contents

        report_on = check_contents.run(Project(slides=slides, labels=labels, slides_table=slides_table, bags=bags))
        check_contents.report(report_on)
        console.print_json(check_contents.as_record(report_on))
        raise typer.Exit(check_contents.exit_code(report_on))
    given = params if params != PARAMS or params.exists() else None  # a cohort can be checked before sammil init
    settings = read_settings(given, assignments, Settings)
    found = run(Project(slides=slides, labels=labels, slides_table=slides_table, bags=bags), settings)
    report(found)
    console.print_json(as_record(found))
    raise typer.Exit(exit_code(found))
