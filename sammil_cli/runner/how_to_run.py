"""How a run is asked for: a device and workers in the user's words -> the `RunOptions` of a stage."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from types import ModuleType

from sammil_cli.backends.backend import check_backend
from sammil_cli.config import ExtractSettings, StageSettings
from sammil_cli.project.project import RunOptions
from sammil_cli.project.weights import expect
from sammil_cli.runner.executor import check_executor
from sammil_cli.runner.machine import (
    check_device_word,
    choose_device,
    choose_workers,
    describe_place,
    device_for,
    slides_at_once,
)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who works on slides, and how many at once.

    `executor`: local (processes on this machine), dask (a cluster), or one of your own. `count`: processes, or jobs of
    the cluster; None = as many as the cores or GPUs allow. For dask one of `scheduler`, the address of one that runs,
    such as tcp://node1:8786, and `cluster`, the batch system that starts workers: slurm, pbs, sge, lsf and others
    (docs/cluster.md).
    """

    executor: str = "local"
    scheduler: str | None = None
    cluster: str | None = None
    count: int | None = None


def _where(workers: Workers) -> RunOptions:
    """The place alone; a word that is unknown is refused before anything is looked at.

    Raises:
        InputError: see `runner.executor.check_executor`.
    """
    options = RunOptions(executor=workers.executor, scheduler=workers.scheduler, cluster=workers.cluster)
    check_executor(options)
    return options


def how_to_run(
    device: str,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
    *,
    download: bool = False,
    mps: bool = False,
) -> RunOptions:
    """How a stage runs that uses one device, or none.

    Args:
        workers: a number is one of processes on this machine; None = as many as its cores or GPUs allow.
        only: ids of the slides, None = all. download: whether weights that are not here are fetched.
        mps: whether Apple's GPUs can do it, see `choose_device`.

    Raises:
        InputError: an unknown device or executor. MissingError: the GPU is not there.
    """
    asked = workers if isinstance(workers, Workers) else Workers(count=workers)
    where = _where(asked)
    chosen = choose_device(device, here=asked.executor == "local", mps=mps)
    return replace(
        where,
        device=chosen,
        workers=choose_workers(asked.count, chosen),
        only=None if only is None else frozenset(only),
        download=download,
    )


def how_a_choice_runs(
    choice: ModuleType,
    settings: StageSettings,
    device: str,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
    *,
    download: bool = False,
    needs_weights: bool = True,
) -> RunOptions:
    """As `how_to_run`, of a proposer or encoder: on all GPUs if it uses any, two slides at once on each.

    A backend that computes on the CPU only takes none.

    Weights that are needed, not here and not to be fetched are refused at once: the stage would do it after it has
    loaded torch, which takes seconds.

    Raises:
        MissingError: there are no such weights. Else as `check_backend` and `how_to_run`.
    """
    asked = workers if isinstance(workers, Workers) else Workers(count=workers)
    _where(asked)  # a slip in a word is said before weights are missed
    if needs_weights and not download:
        check_device_word(device)
        expect(choice, settings)
    here = asked.executor == "local"
    setting, backend = backend_of(choice, settings)
    check_backend(backend, setting, device)
    chosen = device_for(choice, device, here=here) if backend == "torch" else "cpu"
    asked = replace(asked, count=asked.count or (slides_at_once(chosen) if here else None))
    options = how_to_run(chosen, asked, only, download=download, mps=True)
    return replace(options, place=describe_place(choice, chosen, asked.executor, backend))


def where_it_can(choice: ModuleType, settings: StageSettings, device: str) -> str:
    """The device for a proposer or encoder among others that use `device`: the CPU where it can use nothing else."""
    return device_for(choice, device) if backend_of(choice, settings)[1] == "torch" else "cpu"


def backend_of(choice: ModuleType, settings: StageSettings) -> tuple[str, str]:
    """The setting that names the backend of a proposer or encoder, and the word; torch where it can have no other."""
    key = "encode_backend" if isinstance(settings, ExtractSettings) else "sam_backend"
    known = key == "encode_backend" or key in getattr(choice, "SETTINGS", ())
    return key, getattr(settings, key) if known else "torch"
