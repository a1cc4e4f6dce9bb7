"""What would be done, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import PARAMS, JsonOption, ParamsOption, SetOption, SlidesOption

if TYPE_CHECKING:
    from sammil_cli.config import Settings
    from sammil_cli.preflight.status import AskedFor
    from sammil_cli.project.project import Project

app = typer.Typer()


@app.command()
def status(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    as_json: JsonOption = False,
) -> None:
    """Say what the next run would compute, and why.

    Of every stage from segment to explain, and of wsi-sam train where the project has it; and which tables and
    slides changed since the models were trained. Computes and writes nothing.
    """
    from sammil_cli import console
    from sammil_cli.config import load_settings
    from sammil_cli.preflight import status as stage
    from sammil_cli.preflight.since_training import since_training
    from sammil_cli.preflight.status_after_bags import after_bags
    from sammil_cli.preflight.status_report import as_records, report
    from sammil_cli.project.project import Project

    console.set_up(as_json=as_json)
    project, settings = Project(slides=slides), load_settings(params, assignments or ())
    found = stage.run(project, settings, asked_for=_asked_for(project, settings))
    changed = since_training(project)
    found += after_bags(project, settings, found, changed)
    report(found)
    console.say(*changed)
    records = as_records(found)
    console.print_json([one | ({"changed": changed} if one["stage"] == "train" else {}) for one in records])


@app.command()
def why(
    slide: Annotated[
        str,
        typer.Argument(
            metavar="SLIDE", help="A slide's id: its file name without the suffix.", autocompletion=completion.slide_ids
        ),
    ],
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
    from sammil_cli.preflight.since_training import since_training
    from sammil_cli.preflight.status_after_bags import after_bags
    from sammil_cli.preflight.status_report import as_records, explain
    from sammil_cli.project.project import Project

    console.set_up(as_json=as_json)
    project, settings = Project(slides=slides), load_settings(params, assignments or ())
    stage.check_slide(project, slide)
    found = stage.run(project, settings, frozenset({slide}), _asked_for(project, settings))
    found += after_bags(project, settings, found, since_training(project))
    explain(slide, found, project.bags)
    console.print_json(as_records(found))


def _asked_for(project: "Project", settings: "Settings") -> "AskedFor | None":
    """The stage that trains WSI-SAM, in projects that have it."""
    from sammil_cli.prompting.asked_for import trains_tokens

    if not trains_tokens(project):
        return None
    import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

    from sammil_cli.prompting.training_status import stage_of

    return stage_of(project, settings)


@app.command()
def code(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    wsi_sam: Annotated[bool, typer.Option("--wsi-sam", help="Of wsi-sam train, too.")] = False,
    features: Annotated[bool, typer.Option("--features", help="Of convert-legacy, too.")] = False,
    tiles: Annotated[bool, typer.Option("--tiles", help="Of tiles, too.")] = False,
) -> None:
    """Write which code the results depend on, for DVC.

    One file for each stage, artifacts/code/STAGE.txt: it changes where the stage's results may change.
    """
    from sammil_cli.config import load_settings
    from sammil_cli.project.code_in_use import write_code_files
    from sammil_cli.project.project import Project

    asked = {"wsi-sam-train": wsi_sam, "convert-legacy": features, "tiles": tiles}
    also = [name for name, is_asked in asked.items() if is_asked]
    write_code_files(Project(), load_settings(params, assignments or ()), also)
