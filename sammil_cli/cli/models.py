"""Commands that train, judge and use models."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.evaluate import evaluate
from sammil_cli.cli.options import (
    PARAMS,
    BagsOption,
    DeviceOption,
    DownloadOption,
    JsonOption,
    LabelsOption,
    ParamsOption,
    RunAsked,
    SetOption,
    SlidesOption,
    VerboseOption,
    WorkersOption,
    read_settings,
    run_options,
    run_per_slide,
    shares_run_options,
    words,
)

app = typer.Typer()


@app.command()
def train(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    bags: BagsOption = Path("artifacts/bags"),
    labels: LabelsOption = Path("data/labels.csv"),
    out: Annotated[Path, typer.Option(help="Folder for models, folds, learning curves and the run record.")] = Path(
        "runs"
    ),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a model for each fold.

    Epoch and threshold are chosen on validation.
    """
    from sammil_cli import console
    from sammil_cli.config import TrainSettings, load_settings

    settings = load_settings(params, assignments or ())
    from sammil_cli.project.project import Project
    from sammil_cli.stages import train as stage

    console.set_up(verbose=verbose, as_json=as_json)
    project = Project(
        bags=bags,
        labels=labels,
        models=out / "models",
        splits=out / "splits.csv",
        learning_curves=out / "learning_curves",
        record=out / "record.json",
    )
    options = run_options(device, RunAsked(workers=workers))
    facts = stage.run(project, settings.stage(TrainSettings), options, whole=settings)
    shown = ("repeat", "fold", "epoch", "val_auc", "calibrated_threshold", "positive_class")
    console.print_json([{name: getattr(fact, name) for name in shown} for fact in facts])


app.command()(evaluate)


@app.command()
@shares_run_options
def visualize(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    patches: Annotated[Path, typer.Option(help="Patch grids.")] = Path("artifacts/patches"),
    regions: Annotated[Path, typer.Option(help="Regions.")] = Path("artifacts/regions"),
    bags: BagsOption = Path("artifacts/bags"),
    models: Annotated[Path, typer.Option(help="Trained folds.")] = Path("runs/models"),
    splits: Annotated[Path, typer.Option(help="The folds.")] = Path("runs/splits.csv"),
    lesions: Annotated[Path, typer.Option(help="Known lesions, drawn where there are any.")] = Path("data/lesions"),
    out: Annotated[Path, typer.Option(help="Pictures, written.")] = Path("report/slides"),
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FOLD|all|unseen",
            help="Who draws: one fold (0.2), all models, or all that did not see the slide; what was drawn in sample "
            "says so across. [default: the fold that did not see it; new slides: all]",
        ),
    ] = None,
    asked: RunAsked,
) -> None:
    """Draw attention and evidence of every slide.

    Each slide is drawn by the model that did not see its patient.
    """
    from sammil_cli.config import VisualizeSettings
    from sammil_cli.project.project import Project

    settings = read_settings(params, assignments, VisualizeSettings, asked.fail_over)
    from sammil_cli.stages import visualize as stage

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
    options = run_options("cpu", asked)
    run_per_slide("visualize", partial(stage.run, by=by), project, settings, options, out, asked)


@app.command()
def ablate(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    tables: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.several_tables,
            help="Of 1 to 7 (the paper's) and regions (do SAM's help?); of mask and losses (SRMIL's); protocol. "
            "[default: 2,3,4,6; of model: srmil mask,losses]",
        ),
    ] = None,
    proposers: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.several_proposers,
            help="Whose regions the table regions compares. [default: that of params.yaml, and superpixels; without "
            "slides: features]",
        ),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.several_controls,
            help="Beside these: placebo (moved at random), true (cut to drawn lesions), '' for neither. [default: "
            "placebo, and true where lesions are drawn]",
        ),
    ] = None,
    bags: BagsOption = Path("artifacts/bags"),
    labels: LabelsOption = Path("data/labels.csv"),
    slides: SlidesOption = Path("data/slides"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks, for the table regions.")] = Path("artifacts/tissue"),
    annotations: Annotated[Path, typer.Option(help="Regions you drew, for the proposer geojson.")] = Path(
        "data/annotations"
    ),
    lesions: Annotated[Path, typer.Option(help="Lesions you drew, for the control true.")] = Path("data/lesions"),
    runs: Annotated[Path, typer.Option(help="Models and folds of each variant, written.")] = Path("runs/ablation"),
    out: Annotated[Path, typer.Option(help="Tables, written.")] = Path("report/ablation"),
    device: DeviceOption = "auto",
    download: DownloadOption = False,
    workers: WorkersOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Take SAM-MIL apart as the paper does, or SRMIL.

    On your cohort: tables with intervals. With --tables regions: which regions help, SAM's, other ones, or none.
    """
    from sammil_cli.config import EvaluateSettings, ExtractSettings, SamSettings, TrainSettings, load_settings

    whole = load_settings(params, assignments or ())
    from sammil_cli import console
    from sammil_cli.errors import InputError
    from sammil_cli.project.project import Project
    from sammil_cli.studies import ablate as stage
    from sammil_cli.studies.region_ablation import NAME, Contest, default_proposers

    console.set_up(verbose=verbose)
    of_regions = {"--proposers": proposers, "--controls": controls}
    if NAME not in words(tables or "") and (given := [name for name, value in of_regions.items() if value is not None]):
        raise InputError(f"{given[0]} is about the table {NAME}", remedy=f"ask for that table, too: --tables {NAME}")
    project = Project(bags=bags, labels=labels, slides=slides, tissue=tissue, annotations=annotations, lesions=lesions)
    asked = default_proposers(whole.proposer, project) if proposers is None else words(proposers)
    stage.run(
        project,
        whole.stage(TrainSettings),
        whole.stage(EvaluateSettings),
        run_options(device, RunAsked(workers=workers), download=download),
        None if tables is None else words(tables),
        contest=Contest(
            proposers=asked,
            sam=whole.stage(SamSettings),
            extract=whole.stage(ExtractSettings),
            controls=None if controls is None else words(controls),
        ),
        runs=runs,
        out=out,
    )


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN…", help="Projects or their runs folders; the first is the reference."),
    ],
    other_seed: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The reference trained with another seed: how far a seed alone moves it."),
    ] = None,
    patient_rule: Annotated[
        Literal["mean", "max"], typer.Option(help="How the slides of a patient speak for it.")
    ] = "mean",
    interval: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    draws: Annotated[int, typer.Option(min=100, help="Draws of patients.")] = 2000,
    out: Annotated[Path, typer.Option(help="Folder for comparison.md and comparison.json.")] = Path(
        "report/comparison"
    ),
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare runs on the same test patients.

    Differences with intervals, DeLong's and McNemar's tests, Holm's p; and what sets the runs apart.
    """
    from sammil_cli import console
    from sammil_cli.studies import compare as study

    console.set_up(verbose=verbose, as_json=as_json)
    asked = study.Asked(level=interval, draws=draws, rule=patient_rule)
    console.print_json(study.run(runs, other_seed, asked, out).facts)
