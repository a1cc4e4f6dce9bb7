"""Commands that start a project."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import PARAMS, ParamsOption, RunAsked, SetOption, WorkersOption, read_settings, run_options

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new project.")],
    preset: Annotated[
        str,
        typer.Option(
            help="Where the settings start: default, camelyon16, tcga-nsclc or demo.", autocompletion=completion.presets
        ),
    ] = "default",
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="The encoder, such as uni2_h, and the side and µm per pixel of its patches.",
            autocompletion=completion.encoders,
        ),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Only renew dvc.yaml for the installed sammil.")] = False,
    dvc: Annotated[bool, typer.Option("--dvc/--no-dvc", help="Set up Git and DVC.")] = True,
    wsi_sam: Annotated[
        bool, typer.Option("--wsi-sam", help="With a stage that trains WSI-SAM on data/lesions.")
    ] = False,
    from_features: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Features you have already (CLAM, TRIDENT, STAMP, DTFD, SAM-MIL, .npy, .csv); may be given several "
            "times. With --update they come into a project that is there.",
        ),
    ] = None,
    from_tiles: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Pre-cut tiles: a folder of PNG or JPEG for each slide, called like it; may be given several times.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Their labels. [default: the only table found with the features]"),
    ] = None,
    splits: Annotated[Path | None, typer.Option(metavar="FILE|FOLDER", help="Their splits, as CLAM has them.")] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            metavar="PROPOSER",
            help="Find regions for the features: features, superpixels, sam, geojson or wsi-sam.",
            autocompletion=completion.proposers,
        ),
    ] = None,
) -> None:
    """Start a project: for slides, features or pre-cut tiles."""
    from sammil_cli import console
    from sammil_cli.errors import InputError
    from sammil_cli.project import init as stage

    console.set_up()
    of_features = {"--labels": labels, "--splits": splits, "--regions": regions}
    if sources := from_features or from_tiles:
        if wsi_sam:
            raise InputError("--wsi-sam trains on slides, not on features or tiles", remedy="leave one of the two out")
        if from_features and from_tiles:
            fix = "leave one of the two out"
            raise InputError("--from-features and --from-tiles start different projects", remedy=fix)
        if encoder and from_features:
            raise InputError("features in hand are encoded already", remedy="leave --encoder out")
        from sammil_cli.exchange import features_project

        tiles = bool(from_tiles)
        asked = features_project.Asked(
            sources=sources, tiles=tiles, labels=labels, splits=splits, regions=regions, encoder=encoder
        )
        features_project.run(folder, preset, asked, update=update, dvc=dvc)
        return
    if alone := [option for option, value in of_features.items() if value is not None]:
        fix = "give their folder with --from-features or --from-tiles"
        raise InputError(f"{alone[0]} belongs to features or tiles in hand", remedy=fix)
    stage.run(folder, preset, update=update, dvc=dvc, wsi_sam=wsi_sam, encoder=encoder)


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
