"""Commands that bring other tools' files along, and write theirs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import (
    PARAMS,
    FailOverOption,
    JsonOption,
    OnlyOption,
    RunAsked,
    SetOption,
    SlidesTableOption,
    VerboseOption,
    WorkersOption,
    read_settings,
    run_options,
)

app = typer.Typer()


@app.command("convert-legacy")
def convert_legacy(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of an older run (CLAM, SAM-MIL, TRIDENT, STAMP, AtlasPatch, DTFD), of .npy or .csv features, "
            "a file of it, weights, or MATLAB files of a classical MIL set. [default: all in data/features]",
            show_default=False,
        ),
    ] = None,
    features: Annotated[Path | None, typer.Option(help="Folder of the features, where several are found.")] = None,
    segments: Annotated[
        Path | None, typer.Option(help="Folder of SAM-MIL's segments, where they are not in SOURCE.")
    ] = None,
    coords: Annotated[
        Path | None, typer.Option(help="Folder of the coordinate files, where several are found.")
    ] = None,
    process_list: Annotated[Path | None, typer.Option(help="The run's process list, where several are found.")] = None,
    need_segments: Annotated[
        bool | None,
        typer.Option(
            "--segments-needed/--no-segments",
            help="Whether a SAM-MIL run without its segments is refused, or gives bags without regions. "
            "[default: refused]",
        ),
    ] = None,
    need_coords: Annotated[
        bool | None,
        typer.Option(
            "--coords-needed/--no-coords",
            help="Whether features without coordinates are refused, or give bags without heatmaps. [default: refused]",
        ),
    ] = None,
    grids: Annotated[bool, typer.Option("--grids", help="Take the coordinates only, to encode them anew.")] = False,
    patch_px_level0: Annotated[
        int | None, typer.Option(min=1, help="Patch side in level-0 pixels; wins over what the files say.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Label table to take. [default: the only one found]")] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Folder or file of splits to take. [default: the only ones found]")
    ] = None,
    slides: Annotated[
        Path | None, typer.Option(help="Folder of slides to check against. [default: data/slides if it holds any]")
    ] = None,
    no_slides: Annotated[bool, typer.Option("--no-slides", help="Do not check against the slides.")] = False,
    check_patches: Annotated[int, typer.Option(min=0, help="Patches of each slide that are read again.")] = 8,
    check_features: Annotated[int, typer.Option(min=0, help="Patches of each slide that are encoded anew.")] = 0,
    classes: Annotated[
        str | None,
        typer.Option(help="Weights, results: names of the classes, the positive one last. [default: class_0,class_1]"),
    ] = None,
    encoder_name: Annotated[
        str | None, typer.Option(help="The encoder of the features, if known; of several in a file, the one to take.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Weights: mean or max, whose files look alike.")] = None,
    group_features: Annotated[
        bool | None,
        typer.Option(
            "--group-features/--no-group-features", help="Weights: whether they were trained with group features."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder, written. [default: artifacts/bags, or artifacts/patches; weights: runs/published/<file>]"
        ),
    ] = None,
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    params: Annotated[Path | None, typer.Option("--params", help="The settings file, if there is one.")] = None,
    assignments: SetOption = None,
    only: OnlyOption = None,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make bags, grids or models of other tools' files.

    The content of SOURCE shows what it is; without SOURCE, all folders in data/features are converted together.
    Labels, splits and results that lie there come along. Unsafe pickles are refused, and nothing in them is run.
    """
    from sammil_cli import console
    from sammil_cli.config import ConvertSettings, ExtractSettings
    from sammil_cli.exchange import convert_legacy as stage
    from sammil_cli.exchange import convert_weights
    from sammil_cli.jobs.slide_checks import SlideChecks
    from sammil_cli.project.process_list import exit_code
    from sammil_cli.project.project import Project

    console.set_up(verbose=verbose, as_json=as_json)
    convert_weights.check_model(model)
    if source is not None and convert_weights.is_weight_file(source):
        names = None if classes is None else [name.strip() for name in classes.split(",")]
        facts = convert_weights.run(
            source, out, classes=names, encoder_name=encoder_name, model=model, group_features=group_features
        )
        console.print_json({"stage": "convert-legacy", "model": facts.model, "classes": list(facts.classes)})
        return
    if params is None and source is None and PARAMS.exists():  # features in hand are a project's, with its settings
        params = PARAMS
    settings = read_settings(params, assignments, ConvertSettings, fail_over=fail_over)
    project = Project(slides_table=slides_table)
    wanted = stage.request_of(settings, project)
    encode = read_settings(params, assignments, ExtractSettings) if check_features else None
    request = replace(
        wanted,
        features=features,
        segments=segments,
        coords=coords,
        process_list=process_list,
        with_segments=wanted.with_segments if need_segments is None else need_segments,
        with_coords=wanted.with_coords if need_coords is None else need_coords,
        grids=grids,
        patch_px_level0=patch_px_level0 or wanted.patch_px_level0,
        encoder=encoder_name or wanted.encoder,
        slides=None if no_slides else slides or wanted.slides,
        checks=SlideChecks(
            patches=check_patches,
            features=check_features,
            encoder=stage.encoder_to_check(encode, encoder_name or wanted.encoder) if encode else None,
        ),
        labels=labels,
        splits=splits,
        classes=classes,
    )
    rows, written = stage.run(source, request, project, run_options("cpu", RunAsked(workers=workers, only=only)), out)
    if rows:
        stage.report(rows, written, project)
    console.print_json({"stage": "convert-legacy", "slides": [row.__dict__ for row in rows]})
    raise typer.Exit(exit_code(rows, settings.fail_over))


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(help="A model's folder, such as runs/models/repeat_0_fold_0; with --to: a project or bags."),
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file, or with --to the folder, written.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="TOOL",
            help="clam | sam-mil | trident: bags, grids and tables in its layout.",
            autocompletion=completion.layouts,
        ),
    ] = None,
) -> None:
    """Write weights or bags as other tools have them.

    A trained model's weights under the published names, or with --to a project's bags in another tool's layout.
    """
    from sammil_cli import console
    from sammil_cli.exchange import export as weights
    from sammil_cli.exchange import export_layout
    from sammil_cli.storage.paths import ModelPath

    console.set_up()
    if to is None:
        weights.run(ModelPath(source), out)
    else:
        export_layout.run(source, to, out)
