"""What would be done, and why."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import PARAMS, JsonOption, ParamsOption, SetOption, SlidesOption

app = typer.Typer()


@app.command()
def status(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    as_json: JsonOption = False,
) -> None:
    """Say what the next run would compute, and why.

    Of segment, patch, sam and extract; and which tables and slides changed since the models were trained. Computes and
    writes nothing.
    """
    from sammil_cli import console
    from sammil_cli.config import load_settings
    from sammil_cli.preflight import status as stage
    from sammil_cli.preflight.since_training import since_training
    from sammil_cli.project.project import Project

    console.set_up(as_json=as_json)
    project = Project(slides=slides)
    found = stage.run(project, load_settings(params, assignments or ()))
    changed = since_training(project)
    stage.report(found)
    console.say(*changed)
    trained = [{"stage": "train", "problem": None, "slides": [], "changed": changed}] if changed else []
    console.print_json([*stage.as_records(found), *trained])


@app.command()
def why(
    slide: Annotated[str, typer.Argument(metavar="SLIDE", help="A slide's id: its file name without the suffix.")],
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    as_json: JsonOption = False,
) -> None:
    """Say why one slide would be computed, or would not.

    Each stage in words: up to date and made with which settings, what has changed, or why it could not be done.
    """
    from sammil_cli import console
    from sammil_cli.config import load_settings
    from sammil_cli.preflight import status as stage
    from sammil_cli.project.project import Project

    console.set_up(as_json=as_json)
    project = Project(slides=slides)
    stage.check_slide(project, slide)
    found = stage.run(project, load_settings(params, assignments or ()), frozenset({slide}))
    stage.explain(slide, found)
    console.print_json(stage.as_records(found))


@app.command()
def code(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    wsi_sam: Annotated[bool, typer.Option("--wsi-sam", help="Of wsi-sam train, too.")] = False,
) -> None:
    """Write which code the results depend on, for DVC.

    One file for each stage, artifacts/code/STAGE.txt: it changes where the stage's results may change.
    """
    from sammil_cli.config import ON_REQUEST, load_settings
    from sammil_cli.project.code_in_use import write_code_files
    from sammil_cli.project.project import Project

    also = tuple(ON_REQUEST) if wsi_sam else ()
    write_code_files(Project(), load_settings(params, assignments or ()), also)
