"""Commands that work slide by slide."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    PARAMS,
    DownloadOption,
    EncoderDeviceOption,
    ParamsOption,
    RunAsked,
    SetOption,
    SlidesOption,
    SlidesTableOption,
    gpu_options,
    read_settings,
    run_options,
    run_per_slide,
    shares_run_options,
)

app = typer.Typer()


@app.command()
@shares_run_options
def segment(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    edits: Annotated[
        Path,
        typer.Option(help="Tissue you drew in QuPath, <slide>.geojson: taken instead of what the segmenter finds."),
    ] = Path("data/edits"),
    out: Annotated[Path, typer.Option(help="Tissue masks, written.")] = Path("artifacts/tissue"),
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Instead: draw up to 12 slides (of --only) under many settings on one sheet, rank the settings, "
            "and print the lines for params.yaml and data/slides.csv. Writes tune/ beside OUT, no tissue masks.",
        ),
    ] = False,
    asked: RunAsked,
) -> None:
    """Find tissue: polygons (GeoJSON for QuPath) and overlays.

    With --tune: which settings of this step suit your slides.
    """
    from sammil_cli.config import SegmentSettings
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, SegmentSettings, asked.fail_over)
    project = Project(slides=slides, slides_table=slides_table, edits=edits, tissue=out)
    options = run_options("cpu", asked)
    if tune:
        from sammil_cli import console
        from sammil_cli.preflight import tune as stage

        console.set_up(verbose=asked.verbose, as_json=asked.as_json)
        trials, sheet = stage.run(project, settings, options)
        stage.report(trials, settings, sheet)
        console.print_json(stage.as_record(trials, settings, sheet))
        return
    from sammil_cli.stages import segment as segment_stage

    run_per_slide("segment", segment_stage.run, project, settings, options, out, asked)


@app.command()
@shares_run_options
def patch(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    tissue: Annotated[Path, typer.Option(help="Tissue masks and artefact maps.")] = Path("artifacts/tissue"),
    rois: Annotated[
        Path, typer.Option(help="Regions of interest, <slide>.geojson: patches of that slide lie inside only.")
    ] = Path("data/rois"),
    out: Annotated[Path, typer.Option(help="Patch grids, written.")] = Path("artifacts/patches"),
    images: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Then write patches of each slide as PNG, all or N spread evenly, as sammil extract reads them.",
        ),
    ] = None,
    images_out: Annotated[Path, typer.Option(help="Pictures of patches, written.")] = Path("artifacts/patch_images"),
    slides: SlidesOption = Path("data/slides"),
    asked: RunAsked,
) -> None:
    """Lay the grid of patches over the tissue.

    Scores each patch for artefacts; reads no slide. With --images: writes patches as pictures, too.
    """
    from sammil_cli.config import ExtractSettings, PatchSettings, TrainSettings
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, PatchSettings, asked.fail_over)
    project = Project(tissue=tissue, rois=rois, patches=out, slides=slides, patch_images=images_out)
    options = run_options("cpu", asked)
    from sammil_cli.stages import patch as stage

    if images is None:
        run_per_slide("patch", stage.run, project, settings, options, out, asked)
        return
    from sammil_cli import console
    from sammil_cli.project.process_list import exit_code, summarise
    from sammil_cli.stages import patch_images

    count = patch_images.read_count(images)
    encode = read_settings(params, assignments, ExtractSettings, asked.fail_over)
    seed = read_settings(params, assignments, TrainSettings).seed
    console.set_up(verbose=asked.verbose, as_json=asked.as_json)
    rows = stage.run(project, settings, options)
    summarise("patch", rows, out, project.process_lists / "patch.csv")
    drawn = patch_images.run(project, encode, count, seed, options)
    summarise(patch_images.STAGE, drawn, images_out, project.process_lists / f"{patch_images.STAGE}.csv")
    stages = (("patch", rows), (patch_images.STAGE, drawn))
    console.print_json([{"stage": name, "slides": [row.__dict__ for row in found]} for name, found in stages])
    raise typer.Exit(max(exit_code(found, settings.fail_over) for _, found in stages))


@app.command()
@shares_run_options
def sam(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks.")] = Path("artifacts/tissue"),
    annotations: Annotated[
        Path, typer.Option(help="Regions you drew in QuPath, <slide>.geojson: for the proposer geojson.")
    ] = Path("data/annotations"),
    out: Annotated[Path, typer.Option(help="Regions, written.")] = Path("artifacts/regions"),
    features: Annotated[
        Path | None,
        typer.Option(
            help="Bags that were made elsewhere (sammil convert-legacy): finds regions for these, on their tissue, or "
            "where their patches lie. The proposers features and geojson need no slide."
        ),
    ] = None,
    device: EncoderDeviceOption = "auto",
    download: DownloadOption = False,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Instead: say what is to do, and the minutes and gigabytes that it takes on this machine. "
            "Measures for a moment; does no slide, and needs no weights.",
        ),
    ] = False,
    asked: RunAsked,
) -> None:
    """Find regions: by SAM, superpixels, drawings, features.

    Of slides, or with --features of bags that exist. With --estimate: how long it would take, and whether memory will
    do.
    """
    from sammil_cli import choices
    from sammil_cli.config import SamSettings
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, SamSettings, asked.fail_over)
    project = Project(
        slides=slides,
        slides_table=slides_table,
        tissue=tissue,
        annotations=annotations,
        ungrouped=features,
        regions=out,
    )
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    options = gpu_options(proposer, settings, device, asked, download=download, needs_weights=not estimate)
    if estimate:
        from sammil_cli import console
        from sammil_cli.errors import InputError
        from sammil_cli.preflight import sam_estimate

        console.set_up(verbose=asked.verbose, as_json=asked.as_json)
        if features is not None:
            raise InputError(
                "--estimate measures slides with tissue, and not --features", remedy="leave one of them out"
            )
        found = sam_estimate.run(project, settings, options)
        sam_estimate.report(found, settings)
        console.print_json(sam_estimate.as_record(found))
        return
    from sammil_cli.stages import sam as stage

    run_per_slide("sam", stage.run, project, settings, options, out, asked)


@app.command()
@shares_run_options
def extract(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    patches: Annotated[Path, typer.Option(help="Patch grids.")] = Path("artifacts/patches"),
    regions: Annotated[Path, typer.Option(help="Regions.")] = Path("artifacts/regions"),
    features: Annotated[
        Path | None,
        typer.Option(
            help="Bags that were made elsewhere (sammil convert-legacy): groups their patches by the regions, in place "
            "of encoding any. Needs no slide and no weights."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Feature bags, written.")] = Path("artifacts/bags"),
    device: EncoderDeviceOption = "auto",
    download: DownloadOption = False,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Instead: time a few patches of your slides on this machine, and say how long the slides that are to "
            "be done take, how much disk, and what bounds it. Writes nothing; needs the encoder's weights.",
        ),
    ] = False,
    asked: RunAsked,
) -> None:
    """Encode patches: feature bags with group features.

    With --features: group the patches of bags that are there already. With --estimate: how long encoding would take.
    """
    from sammil_cli import choices
    from sammil_cli.config import ExtractSettings
    from sammil_cli.jobs.encoder_settings import check_pooling
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, ExtractSettings, asked.fail_over)
    project = Project(slides=slides, patches=patches, regions=regions, ungrouped=features, bags=out)
    if features is not None:
        options = run_options("cpu", asked)
    else:
        check_pooling(settings)  # before weights are missed, or fetched
        encoder = choices.load(choices.ENCODERS, settings.encoder)
        options = gpu_options(encoder, settings, device, asked, download=download)
    if estimate:
        from sammil_cli import console
        from sammil_cli.preflight import extract_estimate

        console.set_up(verbose=asked.verbose, as_json=asked.as_json)
        found = extract_estimate.run(project, settings, options)
        extract_estimate.report(found, settings)
        console.print_json(extract_estimate.as_record(found))
        return
    from sammil_cli.stages import extract as stage

    run_per_slide("extract", stage.run, project, settings, options, out, asked)


@app.command()
@shares_run_options
def tiles(
    source: Annotated[
        Path, typer.Argument(help="Holds a folder of PNG or JPEG tiles for each slide, called like the slide.")
    ] = Path("data/tiles"),
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    out: Annotated[Path, typer.Option(help="Feature bags, written.")] = Path("artifacts/bags"),
    device: EncoderDeviceOption = "auto",
    download: DownloadOption = False,
    asked: RunAsked,
) -> None:
    """Encode pre-cut tiles: feature bags without slides.

    In place of segment, patch, sam and extract, from folders of pictures. Names say where tiles lie, or do not.
    """
    from sammil_cli import choices
    from sammil_cli.config import TilesSettings
    from sammil_cli.jobs.encoder_settings import check_pooling
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, TilesSettings, asked.fail_over)
    check_pooling(settings)  # before weights are missed, or fetched
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    options = gpu_options(encoder, settings, device, asked, download=download)
    from sammil_cli.stages import tiles as stage

    run_per_slide("tiles", stage.run, Project(tiles=source, bags=out), settings, options, out, asked)
