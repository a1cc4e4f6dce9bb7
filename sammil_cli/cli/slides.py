"""Commands that work slide by slide."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sammil_cli.cli.options import (
    PARAMS,
    ClusterOption,
    DeviceOption,
    DownloadOption,
    ExecutorOption,
    FailOverOption,
    JsonOption,
    OnlyOption,
    ParamsOption,
    SchedulerOption,
    SetOption,
    SlidesOption,
    SlidesTableOption,
    VerboseOption,
    WorkersOption,
    gpu_options,
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
    only: OnlyOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find tissue: polygons (GeoJSON for QuPath) and overlays.

    With --tune: which settings of this step suit your slides.
    """
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "segment", fail_over=share(fail_over))
    project = Project(slides=slides, slides_table=slides_table, edits=edits, tissue=out)
    options = run_options("cpu", workers, only, executor=executor, scheduler=scheduler, cluster=cluster)
    if tune:
        from sammil_cli import console
        from sammil_cli.stages import tune as stage

        console.set_up(verbose=verbose, quiet=as_json)
        trials, sheet = stage.run(project, settings, options)
        if as_json:
            console.print_json(stage.as_record(trials, settings, sheet))
        else:
            stage.report(trials, settings, sheet)
        return
    run_per_slide("segment", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def patch(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    tissue: Annotated[Path, typer.Option(help="Tissue masks and artefact maps.")] = Path("artifacts/tissue"),
    rois: Annotated[
        Path, typer.Option(help="Regions of interest, <slide>.geojson: patches of that slide lie inside only.")
    ] = Path("data/rois"),
    out: Annotated[Path, typer.Option(help="Patch grids, written.")] = Path("artifacts/patches"),
    only: OnlyOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Lay the grid of patches over the tissue.

    Scores each patch for artefacts; reads no slide.
    """
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "patch", fail_over=share(fail_over))
    project = Project(tissue=tissue, rois=rois, patches=out)
    options = run_options("cpu", workers, only, executor=executor, scheduler=scheduler, cluster=cluster)
    run_per_slide("patch", project, settings, options, out, as_json=as_json, verbose=verbose)


@app.command()
def sam(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks.")] = Path("artifacts/tissue"),
    annotations: Annotated[
        Path, typer.Option(help="Regions you drew in QuPath, <slide>.geojson: for the proposer geojson.")
    ] = Path("data/annotations"),
    out: Annotated[Path, typer.Option(help="Regions, written.")] = Path("artifacts/regions"),
    only: OnlyOption = None,
    device: DeviceOption = "auto",
    download: DownloadOption = False,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    fail_over: FailOverOption = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Instead: say what is to do, and the minutes and gigabytes that it takes on this machine. "
            "Measures for a moment; does no slide, and needs no weights.",
        ),
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Find regions: by SAM, superpixels or drawings.

    With --estimate: how long it would take, and whether memory will do.
    """
    from sammil_cli import choices
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "sam", fail_over=share(fail_over))
    project = Project(slides=slides, tissue=tissue, annotations=annotations, regions=out)
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    if not (download or estimate):
        _expect_weights(proposer, settings, device)
    options = gpu_options(
        proposer, device, workers, only, download, executor=executor, scheduler=scheduler, cluster=cluster
    )
    if estimate:
        from sammil_cli import console
        from sammil_cli.stages import sam_estimate

        console.set_up(verbose=verbose, quiet=as_json)
        found = sam_estimate.run(project, settings, options)
        if as_json:
            console.print_json(sam_estimate.as_record(found))
        else:
            sam_estimate.report(found, settings)
        return
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
    executor: ExecutorOption = "local",
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Encode patches: feature bags with group features."""
    from sammil_cli import choices
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "extract", fail_over=share(fail_over))
    project = Project(slides=slides, patches=patches, regions=regions, bags=out)
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    if not download:
        _expect_weights(encoder, settings, device)
    options = gpu_options(
        encoder, device, workers, only, download, executor=executor, scheduler=scheduler, cluster=cluster
    )
    run_per_slide("extract", project, settings, options, out, as_json=as_json, verbose=verbose)


def _expect_weights(choice: Any, settings: Any, device: str) -> None:
    """Refuses at once what the stage would refuse after it has loaded torch, which takes seconds."""
    from sammil_cli.stages.run import check_device_word
    from sammil_cli.stages.weights import expect

    check_device_word(device)
    expect(choice, settings)
