"""What several commands share: options, settings with their overrides, the run of a per-slide stage."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:  # the command line starts without what commands import
    from sammil_cli.config import StageSettings, Tolerance
    from sammil_cli.project.process_list import Row
    from sammil_cli.project.project import Project, RunOptions

S = TypeVar("S", bound="StageSettings")
P = TypeVar("P", bound="Tolerance")

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
    str, typer.Option(envvar="SAMMIL_EXECUTOR", help="local (processes on this machine) | dask (a cluster).")
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
    from sammil_cli.runner.machine import choose_device, choose_workers

    asked = asked or RunAsked()
    where = _place(asked)
    chosen = choose_device(device, here=asked.executor == "local")
    return replace(
        where,
        device=chosen,
        workers=choose_workers(asked.workers, chosen),
        only=read_only(asked.only),
        download=download,
    )


def _place(asked: RunAsked) -> "RunOptions":
    """Where to run; a word that is unknown is refused before anything is looked at."""
    from sammil_cli.project.project import RunOptions
    from sammil_cli.runner.executor import check_executor

    options = RunOptions(executor=asked.executor, scheduler=asked.scheduler, cluster=asked.cluster)
    check_executor(options)
    return options


def gpu_options(
    choice: ModuleType, settings: "StageSettings", device: str, asked: RunAsked, *, download: bool, needs_weights: bool
) -> "RunOptions":
    """`run_options` of a stage that may use GPUs: all of them, for a proposer or encoder that does use one.

    Weights that are needed and not here are refused at once: the stage would do it after it has loaded torch, which
    takes seconds.
    """
    from sammil_cli.project.weights import expect
    from sammil_cli.runner.machine import check_device_word, describe_place, device_for, slides_at_once

    _place(asked)
    if needs_weights:
        check_device_word(device)
        expect(choice, settings)
    here = asked.executor == "local"
    chosen = device_for(choice, device, here=here)
    workers = asked.workers or (slides_at_once(chosen) if here else None)
    options = run_options(chosen, replace(asked, workers=workers), download=download)
    return replace(options, place=describe_place(choice, chosen, asked.executor))


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
