"""Commands that work slide by slide."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    PARAMS,
    DeviceOption,
    DownloadOption,
    FailOverOption,
    JsonOption,
    OnlyOption,
    ParamsOption,
    SetOption,
    SlidesOption,
    VerboseOption,
    WorkersOption,
    read_settings,
    run_options,
    run_per_slide,
    share,
)

app = typer.Typer()


@app.command()
def segment(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: Annotated[Path, typer.Option(help="Resolutions you give: slide_id,mpp.")] = Path("data/slides.csv"),
    out: Annotated[Path, typer.Option(help="Tissue masks, written.")] = Path("artifacts/tissue"),
    only: OnlyOption = None,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find tissue: slides to polygons (GeoJSON for QuPath) and overlays."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "segment", fail_over=share(fail_over))
    project = Project(slides=slides, slides_table=slides_table, tissue=out)
    options = run_options("cpu", workers, only)
    run_per_slide("segment", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def patch(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    tissue: Annotated[Path, typer.Option(help="Tissue masks.")] = Path("artifacts/tissue"),
    out: Annotated[Path, typer.Option(help="Patch grids, written.")] = Path("artifacts/patches"),
    only: OnlyOption = None,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Lay the grid of patches over the tissue."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "patch", fail_over=share(fail_over))
    project = Project(tissue=tissue, patches=out)
    options = run_options("cpu", workers, only)
    run_per_slide("patch", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def sam(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks.")] = Path("artifacts/tissue"),
    out: Annotated[Path, typer.Option(help="Regions, written.")] = Path("artifacts/regions"),
    only: OnlyOption = None,
    device: DeviceOption = "auto",
    download: DownloadOption = False,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find regions with the Segment Anything Model (or superpixels)."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "sam", fail_over=share(fail_over))
    project = Project(slides=slides, tissue=tissue, regions=out)
    options = run_options(device, workers, only, download)
    run_per_slide("sam", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def extract(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    patches: Annotated[Path, typer.Option(help="Patch grids.")] = Path("artifacts/patches"),
    regions: Annotated[Path, typer.Option(help="Regions.")] = Path("artifacts/regions"),
    out: Annotated[Path, typer.Option(help="Feature bags, written.")] = Path("artifacts/bags"),
    only: OnlyOption = None,
    device: DeviceOption = "auto",
    download: DownloadOption = False,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Encode patches into feature bags with group features."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "extract", fail_over=share(fail_over))
    project = Project(slides=slides, patches=patches, regions=regions, bags=out)
    options = run_options(device, workers, only, download)
    run_per_slide("extract", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def visualize(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    patches: Annotated[Path, typer.Option(help="Patch grids.")] = Path("artifacts/patches"),
    regions: Annotated[Path, typer.Option(help="Regions.")] = Path("artifacts/regions"),
    bags: Annotated[Path, typer.Option(help="Feature bags.")] = Path("artifacts/bags"),
    models: Annotated[Path, typer.Option(help="Trained folds.")] = Path("runs/models"),
    splits: Annotated[Path, typer.Option(help="The folds.")] = Path("runs/splits.csv"),
    lesions: Annotated[Path, typer.Option(help="Known lesions, drawn where there are any.")] = Path("data/lesions"),
    out: Annotated[Path, typer.Option(help="Pictures, written.")] = Path("report/slides"),
    only: OnlyOption = None,
    workers: WorkersOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Draw attention and evidence of every slide, by the model that did not see it."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "visualize", fail_over=share(fail_over))
    project = Project(
        slides=slides,
        patches=patches,
        regions=regions,
        bags=bags,
        models=models,
        splits=splits,
        lesions=lesions,
        pictures=out,
    )
    options = run_options("cpu", workers, only)
    run_per_slide("visualize", project, settings, options, out, as_json=as_json, verbose=verbose)


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
