"""Dask workers as jobs of a batch system, through dask-jobqueue."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from sammil_cli.errors import InputError, MissingError

KINDS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}


@contextlib.contextmanager
def open_cluster(kind: str, jobs: int, *, gpu: bool) -> Iterator[Any]:
    """A `dask_jobqueue` cluster of a kind of `KINDS` with this number of jobs, which are taken back with the block.

    Cores, memory, queue, … of a job come from Dask's own configuration, section `jobqueue.<kind>`.

    Raises:
        InputError: the configuration lacks something.
        MissingError: dask-jobqueue is not installed, or this machine cannot submit jobs.
    """
    try:
        import dask.config
        import dask_jobqueue
    except ModuleNotFoundError:
        raise MissingError("dask-jobqueue is not installed", remedy="pip install 'sammil-cli[cluster]'") from None
    cls = getattr(dask_jobqueue, KINDS[kind])
    submit = str(cls.job_cls.submit_command).split()[0]
    if shutil.which(submit) is None:
        raise MissingError(
            f"--cluster {kind}: there is no {submit} on this machine", remedy="start sammil where jobs are submitted"
        )
    needed = ("cores", "memory", "disk") if kind == "htcondor" else ("cores", "memory")
    if lacking := [key for key in needed if dask.config.get(f"jobqueue.{kind}.{key}", None) is None]:
        raise _unfit(kind, f"{' and '.join(lacking)} of a job are not set")
    try:
        cluster = cls(**job_options(kind, gpu=gpu))
    except (ValueError, TypeError, RuntimeError) as error:
        raise _unfit(kind, " ".join(str(error).split())) from error
    with cluster:
        cluster.scale(jobs=jobs)
        yield cluster


def _unfit(kind: str, message: str) -> InputError:
    return InputError(
        f"--cluster {kind}: {message}",
        remedy=f"write it under jobqueue: {kind}: in ~/.config/dask/jobqueue.yaml, see docs/cluster.md",
    )


def job_options(kind: str, *, gpu: bool) -> dict[str, object]:
    """What sammil says about a job; all else, and `--resources` if it is there, is the configuration's.

    A GPU job is one worker process that offers `GPU: 1`, so that one slide at a time is on its GPU. Dask's dashboard
    is not opened unless the configuration asks for it. Where that configuration requires encryption, TLS is used.
    """
    import dask.config

    section = f"jobqueue.{kind}"
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    options: dict[str, object] = {
        "scheduler_options": {**quiet, **(dask.config.get(f"{section}.scheduler-options", None) or {})}
    }
    if dask.config.get("distributed.comm.require-encryption", None):
        import distributed

        options |= {"protocol": "tls://", "security": distributed.Security()}  # type: ignore[no-untyped-call]
    extra = list(dask.config.get(f"{section}.worker-extra-args", None) or [])
    if gpu and not any(word.startswith("--resources") for word in extra):
        options["worker_extra_args"] = [*extra, "--resources", "GPU=1"]
        options["processes"] = 1
    return options
