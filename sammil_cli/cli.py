"""The command line: parse, call one stage, turn errors into exit codes; nothing else.

Heavy modules are imported inside the commands, so that `sammil --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sammil_cli import __version__
from sammil_cli.errors import SammilError

app = typer.Typer(
    name="sammil",
    help="Whole-slide images to slide-level diagnoses with SAM-MIL.\n\n"
    "The pipeline: segment, patch, sam, extract, train, evaluate, visualize; or all at once: dvc repro.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ParamsOption = Annotated[Path, typer.Option("--params", help="The settings file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("-S", "--set", metavar="KEY=VALUE", help="Overrides a key of params.yaml; repeatable."),
]
OnlyOption = Annotated[
    str | None, typer.Option(help="Only these slides: ids separated by commas, or a process list (its failures).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes. [default: cores, or 1 on a GPU]")]
FailOverOption = Annotated[
    str | None, typer.Option(metavar="SHARE", help="Exit with 1 only when more slides than this fail, such as 5%.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
SlidesOption = Annotated[Path, typer.Option(help="Folder of slides.")]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch missing published weights first.")]

PARAMS = Path("params.yaml")
INTERRUPTED = 130


def main() -> None:
    """Entry point of the `sammil` command."""
    try:
        app(standalone_mode=True)
    except SammilError as error:
        from sammil_cli.console import print_error

        print_error(error.message, error.remedy)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what Typer makes of Ctrl-C
            from sammil_cli.console import print_error

            print_error("interrupted; everything that was finished is kept", "run the same command to go on")
        raise


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sammil {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _settings(params: Path | None, assignments: list[str] | None, stage: str, **options: Any) -> Any:
    """Settings of a stage: option > -S > params.yaml > default."""
    from sammil_cli.config import load_settings

    settings = load_settings(params, assignments or ()).stage(stage)
    given = {key: value for key, value in options.items() if value is not None}
    return settings.model_copy(update=given) if given else settings


def _options(device: str, workers: int | None, only: str | None, download: bool = False) -> Any:
    from sammil_cli.stages.project import RunOptions, read_only
    from sammil_cli.stages.run import choose_device, choose_workers

    chosen = choose_device(device)
    return RunOptions(device=chosen, workers=choose_workers(workers, chosen), only=read_only(only), download=download)


def _share(text: str | None) -> float | None:
    from sammil_cli.stages.run import read_share

    return None if text is None else read_share(text)


def _per_slide(
    stage: str, project: Any, settings: Any, options: Any, out: Path, *, as_json: bool, verbose: bool
) -> None:
    """Runs a per-slide stage, prints its process list and exits with its code."""
    from sammil_cli import console
    from sammil_cli.stages.per_slide import exit_code, summarise
    from sammil_cli.stages.pipeline import stage_module

    console.set_up(verbose=verbose, quiet=as_json)
    rows = stage_module(stage).run(project, settings, options)
    if as_json:
        console.print_json({"stage": stage, "slides": [row.__dict__ for row in rows]})
    else:
        summarise(stage, rows, out, project.process_lists / f"{stage}.csv")
    raise typer.Exit(exit_code(rows, settings.fail_over))


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

    settings = _settings(params, assignments, "segment", fail_over=_share(fail_over))
    project = Project(slides=slides, slides_table=slides_table, tissue=out)
    options = _options("cpu", workers, only)
    _per_slide("segment", project, settings, options, out, as_json=as_json, verbose=verbose)


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

    settings = _settings(params, assignments, "patch", fail_over=_share(fail_over))
    project = Project(tissue=tissue, patches=out)
    options = _options("cpu", workers, only)
    _per_slide("patch", project, settings, options, out, as_json=as_json, verbose=verbose)


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

    settings = _settings(params, assignments, "sam", fail_over=_share(fail_over))
    project = Project(slides=slides, tissue=tissue, regions=out)
    options = _options(device, workers, only, download)
    _per_slide("sam", project, settings, options, out, as_json=as_json, verbose=verbose)


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

    settings = _settings(params, assignments, "extract", fail_over=_share(fail_over))
    project = Project(slides=slides, patches=patches, regions=regions, bags=out)
    options = _options(device, workers, only, download)
    _per_slide("extract", project, settings, options, out, as_json=as_json, verbose=verbose)


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

    settings = _settings(params, assignments, "visualize", fail_over=_share(fail_over))
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
    options = _options("cpu", workers, only)
    _per_slide("visualize", project, settings, options, out, as_json=as_json, verbose=verbose)


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
    settings = _settings(params, assignments, "extract", fail_over=_share(fail_over))
    layout = stage.find_layout(source, features, segments, coords, process_list, require_segments=need_segments)
    listing, out = Project().process_lists / "convert-legacy.csv", out or Project().bags
    rows = stage.run(
        layout,
        out,
        listing,
        slides_table,
        _options("cpu", workers, only),
        patch_px_level0=patch_px_level0,
        min_share=settings.membership_min_share,
    )
    if as_json:
        console.print_json({"stage": "convert-legacy", "slides": [row.__dict__ for row in rows]})
    else:
        summarise("convert-legacy", rows, out, listing)
    raise typer.Exit(exit_code(rows, settings.fail_over))


@app.command()
def train(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    bags: Annotated[Path, typer.Option(help="Feature bags.")] = Path("artifacts/bags"),
    labels: Annotated[Path, typer.Option(help="slide_id,label[,patient_id][,split].")] = Path("data/labels.csv"),
    out: Annotated[Path, typer.Option(help="Folder for models, folds and learning curves.")] = Path("runs"),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a model per fold; epoch and threshold are chosen on validation."""
    settings = _settings(params, assignments, "train")
    from sammil_cli import console
    from sammil_cli.stages import train as stage
    from sammil_cli.stages.project import Project

    console.set_up(verbose=verbose, quiet=as_json)
    project = Project(
        bags=bags,
        labels=labels,
        models=out / "models",
        splits=out / "splits.csv",
        learning_curves=out / "learning_curves",
    )
    facts = stage.run(project, settings, _options(device, workers, None))
    if as_json:
        shown = ("repeat", "fold", "epoch", "val_auc", "threshold")
        console.print_json([{name: getattr(fact, name) for name in shown} for fact in facts])


@app.command()
def evaluate(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    bags: Annotated[Path, typer.Option(help="Feature bags.")] = Path("artifacts/bags"),
    labels: Annotated[Path, typer.Option(help="slide_id,label[,patient_id][,split].")] = Path("data/labels.csv"),
    runs: Annotated[Path, typer.Option(help="What train wrote.")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Report folder.")] = Path("report"),
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Judge every fold on its test part: predictions, metrics, curves, a report page."""
    settings = _settings(params, assignments, "evaluate")
    from sammil_cli import console
    from sammil_cli.stages import evaluate as stage
    from sammil_cli.stages.project import Project

    console.set_up(verbose=verbose, quiet=as_json)
    project = Project(
        bags=bags,
        labels=labels,
        models=runs / "models",
        splits=runs / "splits.csv",
        predictions=runs / "predictions.csv",
        metrics=out / "metrics.json",
        curves=out / "curves",
        page=out / "index.html",
    )
    summary = stage.run(project, settings, _options(device, None, None))
    if as_json:
        console.print_json(summary)


@app.command()
def ablate(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    tables: Annotated[str, typer.Option(help="Of 2, 3, 4, 6 (the paper's) and protocol.")] = "2,3,4,6",
    bags: Annotated[Path, typer.Option(help="Feature bags.")] = Path("artifacts/bags"),
    labels: Annotated[Path, typer.Option(help="slide_id,label[,patient_id][,split].")] = Path("data/labels.csv"),
    runs: Annotated[Path, typer.Option(help="Models and folds of each variant, written.")] = Path("runs/ablation"),
    out: Annotated[Path, typer.Option(help="Tables, written.")] = Path("report/ablation"),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Take SAM-MIL apart as the paper does, on your cohort: tables with intervals."""
    settings, judged = _settings(params, assignments, "train"), _settings(params, assignments, "evaluate")
    from sammil_cli import console
    from sammil_cli.stages import ablate as stage
    from sammil_cli.stages.project import Project

    console.set_up(verbose=verbose)
    names = [name.strip() for name in tables.split(",") if name.strip()]
    project = Project(bags=bags, labels=labels)
    stage.run(project, settings, judged, _options(device, workers, None), names, runs=runs, out=out)


@app.command()
def predict(
    models: Annotated[Path, typer.Option(help="A model, or a folder of models.")] = Path("runs/models"),
    bags: Annotated[Path, typer.Option(help="Feature bags.")] = Path("artifacts/bags"),
    out: Annotated[Path, typer.Option(help="Table, written.")] = Path("runs/new_predictions.csv"),
    only: OnlyOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Judge slides by trained folds together, each slide by those that did not see it."""
    from dataclasses import asdict

    from sammil_cli import console
    from sammil_cli.stages import predict as stage

    console.set_up(verbose=verbose, quiet=as_json)
    verdicts = stage.run(models, bags, out, _options(device, None, only))
    if as_json:
        console.print_json([asdict(verdict) for verdict in verdicts])


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


@app.command()
def demo(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    out: Annotated[Path, typer.Option(help="Data folder, written.")] = Path("data"),
    workers: WorkersOption = None,
) -> None:
    """Draw the demo cohort: slides, labels and the lesions that a heatmap should find."""
    settings = _settings(params, assignments, "cohort")
    from sammil_cli import console
    from sammil_cli.stages import cohort as stage
    from sammil_cli.stages.project import Project

    console.set_up()
    project = Project(slides=out / "slides", labels=out / "labels.csv", lesions=out / "lesions")
    stage.run(project, settings, _options("cpu", workers, None))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The new project.")],
    preset: Annotated[
        str, typer.Option(help="Where the settings start: camelyon16, tcga-nsclc or demo.")
    ] = "camelyon16",
    update: Annotated[bool, typer.Option("--update", help="Only renew dvc.yaml for the installed sammil.")] = False,
    dvc: Annotated[bool, typer.Option("--dvc/--no-dvc", help="Set up Git and DVC.")] = True,
) -> None:
    """Start a project for your own slides."""
    from sammil_cli import console
    from sammil_cli.stages import init as stage

    console.set_up()
    stage.run(folder, preset, update=update, dvc=dvc)
