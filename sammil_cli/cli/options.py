"""What several commands share: options, settings with their overrides, the run of a per-slide stage."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sammil_cli.cli import completion

if TYPE_CHECKING:  # the command line starts without what commands import
    from sammil_cli.config import StageSettings, Tolerance
    from sammil_cli.project.process_list import Row
    from sammil_cli.project.project import Project, RunOptions
    from sammil_cli.runner.how_to_run import Workers

S = TypeVar("S", bound="StageSettings")
P = TypeVar("P", bound="Tolerance")

ParamsOption = Annotated[Path, typer.Option("--params", help="The settings file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "-S",
        "--set",
        metavar="KEY=VALUE",
        help="Overrides a key of params.yaml; repeatable.",
        autocompletion=completion.settings,
    ),
]
OnlyOption = Annotated[
    str | None,
    typer.Option(
        help="Only these slides: ids separated by commas, or a process list (its failures).",
        autocompletion=completion.several_slides,
    ),
]
DeviceOption = Annotated[
    str, typer.Option(help="auto, cpu, cuda (all GPUs) or cuda:1.", autocompletion=completion.devices)
]
EncoderDeviceOption = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda (all GPUs), cuda:1 or mps (Apple's GPU).", autocompletion=completion.devices),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        envvar="SAMMIL_WORKERS", min=1, help="Processes at once. [default: cores; for each GPU 2 slides, or 1 fold]"
    ),
]
FailOverOption = Annotated[
    str | None, typer.Option(metavar="SHARE", help="Exit with 1 only when more slides than this fail, such as 5%.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        envvar="SAMMIL_EXECUTOR",
        help="local (processes on this machine) | dask (a cluster).",
        autocompletion=completion.executors,
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(envvar="SAMMIL_SCHEDULER", metavar="ADDRESS", help="dask: the scheduler, such as tcp://node1:8786."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        envvar="SAMMIL_CLUSTER",
        metavar="KIND",
        help="dask: start workers through slurm, pbs, sge, lsf, …",
        autocompletion=completion.clusters,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
SlidesOption = Annotated[Path, typer.Option(help="Folder of slides.")]
SlidesTableOption = Annotated[
    Path, typer.Option(help="What you say of single slides: slide_id, and any of mpp and the settings of segment.")
]
LabelsOption = Annotated[Path, typer.Option(help="Label table: slide_id,label[,patient_id][,split].")]
BagsOption = Annotated[Path, typer.Option(help="Feature bags.")]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch missing published weights first.")]

PARAMS = Path("params.yaml")


@dataclass(frozen=True, kw_only=True)
class RunAsked:
    """The options that all commands have that work slide by slide."""

    only: OnlyOption = None
    workers: WorkersOption = None
    executor: ExecutorOption = "local"
    scheduler: SchedulerOption = None
    cluster: ClusterOption = None
    fail_over: FailOverOption = None
    as_json: JsonOption = False
    verbose: VerboseOption = False


def shares_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `RunAsked` in the place of its parameter `asked`, which it is called with."""
    own, shared = inspect.signature(command).parameters, inspect.signature(RunAsked).parameters
    parameters = [*(parameter for name, parameter in own.items() if name != "asked"), *shared.values()]

    @functools.wraps(command)
    def called(**words: Any) -> None:  # Typer has checked them
        asked = RunAsked(**{name: words.pop(name) for name in shared})
        command(**words, asked=asked)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def words(text: str) -> tuple[str, ...]:
    """Words between commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def read_settings(
    params: Path | None, assignments: list[str] | None, stage: "type[S]", fail_over: str | None = None
) -> "S":
    """Settings of a stage: option > -S > params.yaml > default."""
    from sammil_cli.config import load_settings

    settings = load_settings(params, assignments or ()).stage(stage)
    if fail_over is None:
        return settings
    from sammil_cli.project.process_list import read_share

    return settings.model_copy(update={"fail_over": read_share(fail_over)})


def run_options(device: str, asked: RunAsked | None = None, *, download: bool = False) -> "RunOptions":
    """How to run, from what was asked for: see `project.project.RunOptions`."""
    from sammil_cli.project.project import read_only
    from sammil_cli.runner.how_to_run import how_to_run

    asked = asked or RunAsked()
    return how_to_run(device, workers_of(asked), read_only(asked.only), download=download)


def workers_of(asked: RunAsked) -> "Workers":
    """Who works on the slides."""
    from sammil_cli.runner.how_to_run import Workers

    return Workers(executor=asked.executor, scheduler=asked.scheduler, cluster=asked.cluster, count=asked.workers)


def gpu_options(
    choice: ModuleType,
    settings: "StageSettings",
    device: str,
    asked: RunAsked,
    *,
    download: bool,
    needs_weights: bool = True,
) -> "RunOptions":
    """`run_options` of a stage that may use GPUs: see `runner.how_to_run.how_a_choice_runs`."""
    from sammil_cli.project.project import read_only
    from sammil_cli.runner.how_to_run import how_a_choice_runs

    only = read_only(asked.only)
    return how_a_choice_runs(
        choice, settings, device, workers_of(asked), only, download=download, needs_weights=needs_weights
    )


def run_per_slide(
    stage: str,
    run: "Callable[[Project, P, RunOptions], list[Row]]",
    project: "Project",
    settings: "P",
    options: "RunOptions",
    out: Path,
    asked: RunAsked,
) -> None:
    """Runs a per-slide stage, prints its process list and exits with its code."""
    from sammil_cli import console
    from sammil_cli.project.process_list import exit_code, summarise

    console.set_up(verbose=asked.verbose, as_json=asked.as_json)
    rows = run(project, settings, options)
    summarise(stage, rows, out, project.process_lists / f"{stage}.csv")
    console.print_json({"stage": stage, "slides": [row.__dict__ for row in rows]})
    raise typer.Exit(exit_code(rows, settings.fail_over))
