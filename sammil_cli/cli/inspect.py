"""What the slides say about themselves."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    JsonOption,
    OnlyOption,
    RunAsked,
    SlidesOption,
    SlidesTableOption,
    VerboseOption,
    WorkersOption,
    run_options,
)

app = typer.Typer()


@app.command()
def inspect(
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    out: Annotated[Path | None, typer.Option(help="Table, written as CSV.")] = None,
    only: OnlyOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say what the slides are and which cannot be used.

    Format, levels, µm per pixel and its source, what is odd, and the fix for what cannot be used.
    """
    from sammil_cli import console
    from sammil_cli.preflight.inspect import as_record, report, run, write_table
    from sammil_cli.project.project import Project

    console.set_up(verbose=verbose, as_json=as_json)
    options = run_options("cpu", RunAsked(workers=workers, only=only))
    facts, found = run(Project(slides=slides, slides_table=slides_table), options)
    if out is not None:
        write_table(out, facts)
    report(facts, found)
    files = {"slides": len(found.ids), "unsupported": found.unsupported, "sidecars": found.sidecars}
    console.print_json({"stage": "inspect", "slides": [as_record(fact) for fact in facts], "files": files})
    raise typer.Exit(int(any(fact.code for fact in facts)))
