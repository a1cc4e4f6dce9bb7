"""What several commands share: options, settings with their overrides, the run of a per-slide stage."""

from pathlib import Path
from typing import Annotated, Any

import typer

ParamsOption = Annotated[Path, typer.Option("--params", help="The settings file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("-S", "--set", metavar="KEY=VALUE", help="Overrides a key of params.yaml; repeatable."),
]
OnlyOption = Annotated[
    str | None, typer.Option(help="Only these slides: ids separated by commas, or a process list (its failures).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda (all GPUs) or cuda:1.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes at once. [default: cores; for each GPU 2 slides, or 1 fold]")
]
FailOverOption = Annotated[
    str | None, typer.Option(metavar="SHARE", help="Exit with 1 only when more slides than this fail, such as 5%.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(envvar="SAMMIL_EXECUTOR", help="local (processes on this machine) | dask (a cluster)."),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(envvar="SAMMIL_SCHEDULER", metavar="ADDRESS", help="dask: the scheduler, such as tcp://node1:8786."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(envvar="SAMMIL_CLUSTER", metavar="KIND", help="dask: start workers through slurm, pbs, sge, lsf, …"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
SlidesOption = Annotated[Path, typer.Option(help="Folder of slides.")]
SlidesTableOption = Annotated[
    Path,
    typer.Option(help="What you say of single slides: slide_id, and any of mpp and the settings of segment."),
]
LabelsOption = Annotated[Path, typer.Option(help="Label table: slide_id,label[,patient_id][,split].")]
BagsOption = Annotated[Path, typer.Option(help="Feature bags.")]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch missing published weights first.")]

PARAMS = Path("params.yaml")


def read_settings(params: Path | None, assignments: list[str] | None, stage: str, **options: Any) -> Any:
    """Settings of a stage: option > -S > params.yaml > default."""
    from sammil_cli.config import load_settings

    settings = load_settings(params, assignments or ()).stage(stage)
    given = {key: value for key, value in options.items() if value is not None}
    return settings.model_copy(update=given) if given else settings


def run_options(
    device: str,
    workers: int | None,
    only: str | None,
    download: bool = False,
    *,
    executor: str = "local",
    scheduler: str | None = None,
    cluster: str | None = None,
) -> Any:
    """How to run, from what was asked for: see `stages.project.RunOptions`."""
    from sammil_cli.stages.project import RunOptions, read_only
    from sammil_cli.stages.run import choose_device, choose_workers

    chosen = choose_device(device, here=executor == "local")
    return RunOptions(
        device=chosen,
        workers=choose_workers(workers, chosen),
        only=read_only(only),
        download=download,
        executor=executor,
        scheduler=scheduler,
        cluster=cluster,
    )


def gpu_options(
    choice: Any,
    device: str,
    workers: int | None,
    only: str | None,
    download: bool,
    *,
    executor: str,
    scheduler: str | None,
    cluster: str | None,
) -> Any:
    """`run_options` of a stage that may use GPUs: all of them, for a proposer or encoder that does use one."""
    from dataclasses import replace

    from sammil_cli.stages.run import describe_place, device_for, slides_at_once

    here = executor == "local"
    chosen = device_for(choice, device, here=here)
    options = run_options(
        chosen,
        workers or (slides_at_once(chosen) if here else None),
        only,
        download,
        executor=executor,
        scheduler=scheduler,
        cluster=cluster,
    )
    return replace(options, place=describe_place(choice, chosen, executor))


def share(text: str | None) -> float | None:
    """`5%` or `0.05` -> 0.05; None stays None."""
    from sammil_cli.stages.run import read_share

    return None if text is None else read_share(text)


def run_per_slide(
    stage: str, project: Any, settings: Any, options: Any, out: Path, *, as_json: bool, verbose: bool
) -> None:
    """Runs a per-slide stage, prints its process list and exits with its code."""
    from sammil_cli import console
    from sammil_cli.stages.pipeline import stage_module
    from sammil_cli.stages.process_list import exit_code, summarise

    console.set_up(verbose=verbose, quiet=as_json)
    rows = stage_module(stage).run(project, settings, options)
    if as_json:
        console.print_json({"stage": stage, "slides": [row.__dict__ for row in rows]})
    else:
        summarise(stage, rows, out, project.process_lists / f"{stage}.csv")
    raise typer.Exit(exit_code(rows, settings.fail_over))
