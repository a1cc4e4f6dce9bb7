"""Commands that bring other tools' files along, and write theirs."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    FailOverOption,
    JsonOption,
    OnlyOption,
    SetOption,
    VerboseOption,
    WorkersOption,
    read_settings,
    run_options,
    share,
)

app = typer.Typer()


@app.command("convert-legacy")
def convert_legacy(
    source: Annotated[
        Path, typer.Argument(help="Folder of a SAM-MIL run (h5_files or pt_files, segments, ...), or a weight file.")
    ],
    features: Annotated[Path | None, typer.Option(help="Feature folder. [default: h5_files or pt_files]")] = None,
    segments: Annotated[Path | None, typer.Option(help="Folder of segments pickles. [default: segments]")] = None,
    coords: Annotated[Path | None, typer.Option(help="Folder of coordinates h5. [default: patches]")] = None,
    process_list: Annotated[Path | None, typer.Option(help="The run's process list CSV.")] = None,
    need_segments: Annotated[
        bool, typer.Option("--segments-needed/--no-segments", help="Bags without regions?")
    ] = True,
    patch_px_level0: Annotated[int | None, typer.Option(help="Patch side in level-0 pixels, if unsaid.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Weights: class names, the positive one last. [default: class_0,class_1]")
    ] = None,
    encoder_name: Annotated[str | None, typer.Option(help="Weights: the encoder of their features, if known.")] = None,
    model: Annotated[str | None, typer.Option(help="Weights: mean or max, whose files look alike.")] = None,
    group_features: Annotated[
        bool | None,
        typer.Option("--group-features/--no-group-features", help="Weights: whether they were trained with them."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Written. [default: artifacts/bags; of weights: runs/published/<file>]")
    ] = None,
    slides_table: Annotated[Path, typer.Option(help="Resolutions you give: slide_id,mpp.")] = Path("data/slides.csv"),
    params: Annotated[Path | None, typer.Option("--params", help="The settings file, if there is one.")] = None,
    assignments: SetOption = None,
    only: OnlyOption = None,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Convert a SAM-MIL run into bags, or published weights into a bundle; unsafe pickles are refused."""
    from sammil_cli import console
    from sammil_cli.stages import convert_legacy as stage
    from sammil_cli.stages import convert_weights
    from sammil_cli.stages.per_slide import exit_code, summarise
    from sammil_cli.stages.project import Project

    console.set_up(verbose=verbose, quiet=as_json)
    if convert_weights.is_weight_file(source):
        facts = convert_weights.run(
            source, out, classes=classes, encoder_name=encoder_name, model=model, group_features=group_features
        )
        if as_json:
            console.print_json({"stage": "convert-legacy", "model": facts.model, "classes": list(facts.classes)})
        return
    settings = read_settings(params, assignments, "extract", fail_over=share(fail_over))
    layout = stage.find_layout(source, features, segments, coords, process_list, require_segments=need_segments)
    listing, out = Project().process_lists / "convert-legacy.csv", out or Project().bags
    rows = stage.run(
        layout,
        out,
        listing,
        slides_table,
        run_options("cpu", workers, only),
        patch_px_level0=patch_px_level0,
        min_share=settings.membership_min_share,
    )
    if as_json:
        console.print_json({"stage": "convert-legacy", "slides": [row.__dict__ for row in rows]})
    else:
        summarise("convert-legacy", rows, out, listing)
    raise typer.Exit(exit_code(rows, settings.fail_over))


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a model, such as runs/models/repeat_0_fold_0.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file, written.")],
) -> None:
    """Write a trained model's weights under the names of the published code."""
    from sammil_cli import console
    from sammil_cli.stages import export as stage

    console.set_up()
    stage.run(bundle, out)
