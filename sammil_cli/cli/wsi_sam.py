"""Commands of WSI-SAM, the promptable model of two resolutions."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    PARAMS,
    DeviceOption,
    DownloadOption,
    FailOverOption,
    JsonOption,
    LabelsOption,
    ParamsOption,
    RunAsked,
    SetOption,
    SlidesOption,
    SlidesTableOption,
    VerboseOption,
    WorkersOption,
    gpu_options,
    read_settings,
    run_options,
    run_per_slide,
    shares_run_options,
)

app = typer.Typer(
    name="wsi-sam",
    help="Train, ask and judge WSI-SAM: two resolutions, prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LesionsOption = Annotated[Path, typer.Option(help="What you drew on slides: <slide>.geojson, .json or .xml.")]
TissueOption = Annotated[Path, typer.Option(help="Tissue masks, where there are any.")]
FieldsOption = Annotated[Path, typer.Option(help="Fields, written: squares for QuPath.")]


@app.command()
def train(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    lesions: LesionsOption = Path("data/lesions"),
    labels: LabelsOption = Path("data/labels.csv"),
    tissue: TissueOption = Path("artifacts/tissue"),
    fields: FieldsOption = Path("artifacts/wsi_sam"),
    out: Annotated[Path, typer.Option(help="Tokens, curve, samples, pictures and record, written.")] = Path(
        "runs/wsi_sam"
    ),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    download: DownloadOption = False,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train WSI-SAM's tokens on slides with drawings.

    SAM itself stays as it is; held-out patients choose the epoch.
    """
    import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

    from sammil_cli import console
    from sammil_cli.config import load_settings
    from sammil_cli.project.process_list import exit_code, read_share
    from sammil_cli.project.project import Project

    settings = load_settings(params, assignments or ())
    allowed = settings.fail_over if fail_over is None else read_share(fail_over)
    console.set_up(verbose=verbose, as_json=as_json)
    project = Project(
        slides=slides,
        slides_table=slides_table,
        lesions=lesions,
        labels=labels,
        tissue=tissue,
        fields=fields,
        wsi_sam=out,
    )
    options = run_options(device, RunAsked(workers=workers), download=download)
    from sammil_cli.prompting import train as stage

    trained = stage.run(project, settings, options)
    console.print_json(
        {
            "stage": "wsi-sam-train",
            "slides": [row.__dict__ for row in trained.rows],
            "epoch": trained.record["epoch"],
            "figures": trained.record["figures"],
            "reused": trained.reused,
            "out": str(out),
        }
    )
    raise typer.Exit(exit_code(trained.rows, allowed))


@app.command()
@shares_run_options
def prompt(
    *,
    slide: Annotated[
        Path | None, typer.Argument(help="A slide's file. Without one, --prompts says of which slides of --slides.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y,W,H", help="A box around what is meant; each is a prompt of its own."),
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="A point inside of what is meant; all are one prompt.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="A point outside of it, of the same prompt.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A table (.csv), what you drew in QuPath (.geojson), or a folder of drawings by slide."),
    ] = None,
    name: Annotated[str, typer.Option(help="With --box or --point: the name of what is meant.")] = "",
    class_name: Annotated[str, typer.Option("--class", help="With --box or --point: its class.")] = "",
    given_as: Annotated[
        str, typer.Option("--as", help="What the model is given of an area: box (around it) | mask (itself, coarse).")
    ] = "box",
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of the picture that the model sees. [default: wsi_sam_mpp]")
    ] = None,
    extent: Annotated[
        float, typer.Option(help="A prompt takes at most this share of the picture's side, else a coarser one is seen.")
    ] = 0.4,
    pictures: Annotated[bool, typer.Option("--pictures", help="Draw the prompts and their answers, too.")] = False,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    out: Annotated[Path, typer.Option(help="Polygons, table and pictures, written.")] = Path("report/prompted"),
    device: DeviceOption = "auto",
    download: DownloadOption = False,
    asked: RunAsked,
) -> None:
    """Turn boxes, points or crude polygons into outlines.

    By WSI-SAM, or by any SAM alone. Coordinates are level-0 pixels, as QuPath shows them.
    """
    from functools import partial

    from sammil_cli.config import SamSettings, load_settings
    from sammil_cli.project.project import Project
    from sammil_cli.prompting.asked import of_command_line
    from sammil_cli.prompting.prompt import STAGE, Question, at_work, how_of, run, weights_choice

    settings = read_settings(params, assignments, SamSettings, asked.fail_over)
    typed = of_command_line(box or (), point or (), negative or (), name=name, class_name=class_name)
    chosen = load_settings(params, assignments or ()).wsi_sam_mpp if mpp is None else mpp
    how = how_of(mpp=chosen, extent=extent, given_as=given_as, pictures=pictures)
    question = Question(slide=slide, typed=tuple(typed), source=prompts)
    project = Project(slides=slides, slides_table=slides_table, prompted=out)
    choice = weights_choice(settings)
    options = gpu_options(choice, settings, device, asked, download=download)
    options = at_work(options, asked.workers)
    run_per_slide(STAGE, partial(run, question, how), project, settings, options, out, asked)


@app.command()
def evaluate(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="sam (alone) | wsi-sam; repeatable. [default: sam; wsi-sam, too, where tokens are known]"),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Another SAM (NAME=vit_b:FILE if of another sam_model, NAME=vit_b,min-max:FILE for MedSAM), "
            "or tokens; repeatable.",
        ),
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option("--run", help="A training: its tokens, on its held-out patients. [default: all slides]"),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="The row that others are compared with. [default: the first]")
    ] = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    lesions: LesionsOption = Path("data/lesions"),
    labels: LabelsOption = Path("data/labels.csv"),
    tissue: TissueOption = Path("artifacts/tissue"),
    fields: FieldsOption = Path("artifacts/wsi_sam"),
    out: Annotated[Path, typer.Option(help="Tables, metrics and scores of each field, written.")] = Path(
        "report/wsi_sam"
    ),
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    download: DownloadOption = False,
    fail_over: FailOverOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Judge answers to prompts by Dice and IoU.

    Boxes and points drawn from your own outlines; SAM, WSI-SAM and other checkpoints, with intervals by patient.
    """
    from sammil_cli import console
    from sammil_cli.config import load_settings
    from sammil_cli.project.process_list import exit_code, read_share
    from sammil_cli.project.project import Project

    settings = load_settings(params, assignments or ())
    allowed = settings.fail_over if fail_over is None else read_share(fail_over)
    console.set_up(verbose=verbose, as_json=as_json)
    project = Project(
        slides=slides, slides_table=slides_table, lesions=lesions, labels=labels, tissue=tissue, fields=fields
    )
    options = run_options(device, RunAsked(workers=workers), download=download)
    from sammil_cli.prompting import evaluate as stage

    question = stage.Question(
        models=None if model is None else tuple(dict.fromkeys(model)),
        checkpoints=tuple(checkpoint or ()),
        trained=trained,
        against=against,
    )
    evaluated = stage.run(project, settings, options, question, out)
    console.print_json(evaluated.summary)
    raise typer.Exit(exit_code(evaluated.rows, allowed))
