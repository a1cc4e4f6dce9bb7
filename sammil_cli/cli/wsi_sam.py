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
    run_options,
)

app = typer.Typer(
    name="wsi-sam",
    help="Train, ask and judge WSI-SAM: two resolutions, prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def train(
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    slides: SlidesOption = Path("data/slides"),
    slides_table: SlidesTableOption = Path("data/slides.csv"),
    lesions: Annotated[Path, typer.Option(help="What is to be learned, drawn: <slide>.geojson or .xml.")] = Path(
        "data/lesions"
    ),
    labels: LabelsOption = Path("data/labels.csv"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks, where there are any.")] = Path("artifacts/tissue"),
    fields: Annotated[Path, typer.Option(help="Fields, written: squares for QuPath.")] = Path("artifacts/wsi_sam"),
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
