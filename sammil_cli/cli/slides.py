"""Commands that work slide by slide."""

from pathlib import Path
from typing import Annotated

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
    slides_table: Annotated[
        Path, typer.Option(help="What you say about single slides: slide_id,mpp and settings of this step.")
    ] = Path("data/slides.csv"),
    edits: Annotated[
        Path, typer.Option(help="Polygons you drew in QuPath, <slide>.geojson; they win over the segmenter.")
    ] = Path("data/edits"),
    out: Annotated[Path, typer.Option(help="Tissue masks, written.")] = Path("artifacts/tissue"),
    tune: Annotated[
        bool, typer.Option("--tune", help="Try many settings on up to 12 slides; writes artifacts/tune, nothing else.")
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
    """Find tissue: slides to polygons (GeoJSON for QuPath) and overlays."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "segment", fail_over=share(fail_over))
    project = Project(slides=slides, slides_table=slides_table, edits=edits, tissue=out)
    options = run_options("cpu", workers, only, executor=executor, scheduler=scheduler, cluster=cluster)
    if tune:
        from sammil_cli.stages.tune import tune_tissue

        raise typer.Exit(tune_tissue(project, settings, options, as_json=as_json, verbose=verbose))
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
    """Lay the grid of patches over the tissue, score artefacts; reads no slide."""
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
    out: Annotated[Path, typer.Option(help="Regions, written.")] = Path("artifacts/regions"),
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
    """Find regions with the Segment Anything Model (or superpixels)."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "sam", fail_over=share(fail_over))
    project = Project(slides=slides, tissue=tissue, regions=out)
    options = run_options(device, workers, only, download, executor=executor, scheduler=scheduler, cluster=cluster)
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
    """Encode patches into feature bags with group features."""
    from sammil_cli.stages.project import Project

    settings = read_settings(params, assignments, "extract", fail_over=share(fail_over))
    project = Project(slides=slides, patches=patches, regions=regions, bags=out)
    options = run_options(device, workers, only, download, executor=executor, scheduler=scheduler, cluster=cluster)
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
