"""Inside a Dask worker: slides in isolated processes, by the same code and with the same limits as on one machine."""

import asyncio
import contextlib
import multiprocessing
import socket
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Reschedule, WorkerPlugin, get_worker

from sammil_cli import __version__
from sammil_cli.errors import MissingError
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.runner.isolation import IsolatedProcesses
from sammil_cli.runner.worker import Place
from sammil_cli.storage.code import installed_code

CHECK_SECONDS = 20.0  # a file system that hangs makes a worker useless, too


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a worker must have in common with the machine that started the run.

    `marker` is a file that was made for this run: who sees it sees the project, and not a folder of the same name.
    """

    folder: Path
    marker: Path
    version: str = __version__
    code: str = ""

    def check(self) -> None:
        """Compares this machine.

        Raises:
            MissingError: other code, or the project is not here; with the way out.
        """
        host = socket.gethostname()
        if installed_code() != self.code:
            raise MissingError(
                f"the Dask worker on {host} has sammil {__version__} (code {installed_code()}), "
                f"this run sammil {self.version} (code {self.code})",
                remedy="install the same sammil on all nodes, then start the workers again",
            )
        try:
            seen, there = self.marker.exists(), self.folder.is_dir()
        except OSError as error:
            raise MissingError(
                f"{self.folder} cannot be looked at on the Dask worker's machine {host}: {error}",
                remedy="look at that machine's mounts and at the user whom its workers run as, then start them again",
            ) from error
        if not seen:
            trouble = "is another folder on" if there else "does not exist on"
            raise MissingError(
                f"{self.folder} {trouble} the Dask worker's machine {host}",
                remedy="mount the project's file system under the same path on all nodes, or start the run where it is",
            )


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """A worker, by its address, that was fit when it joined and cannot do slides of this run any more.

    `trouble`: why not; None = it was started anew at the same address and has to join again.
    """

    address: str
    trouble: MissingError | None


class SlideWorker(WorkerPlugin):
    """One run's part of a Dask worker; its end, or the worker's, ends the isolated processes."""

    def __init__(self, site: Site, limits: Limits) -> None:
        self.site, self.limits = site, limits

    def setup(self, worker: Any) -> None:
        """Called by Dask in a worker that joins the run."""
        # Dask's nanny starts workers as daemons, which may not have processes; those here end with their parent anyway.
        multiprocessing.current_process().daemon = False
        place = Place(processes=max(1, worker.state.nthreads))
        self.processes = IsolatedProcesses(self.limits, self.site.folder, place=place)

    async def teardown(self, worker: Any) -> None:
        """Called by Dask when the run or the worker ends."""
        await asyncio.to_thread(self.processes.stop)


async def join(name: str, plugin: SlideWorker, dask_worker: Any) -> None:
    """Runs in a Dask worker, which Dask gives as the last argument: makes it ready for a run if it is fit.

    Raises:
        MissingError: see `Site.check`; or the check has not ended in time.
    """
    try:
        await asyncio.wait_for(asyncio.to_thread(plugin.site.check), CHECK_SECONDS)
    except TimeoutError:
        host = socket.gethostname()
        raise MissingError(
            f"{plugin.site.folder} does not answer on the Dask worker's machine {host} within {CHECK_SECONDS:g} s",
            remedy="look at that machine's mounts, then start its workers again",
        ) from None
    with contextlib.suppress(TimeoutError):  # another project's disk is no reason to wait
        for ended in await asyncio.wait_for(asyncio.to_thread(_killed, dict(dask_worker.plugins)), CHECK_SECONDS):
            await leave(ended, dask_worker)
    await dask_worker.plugin_add(plugin=plugin, name=name, catch_errors=False)


def _killed(plugins: Mapping[str, object]) -> list[str]:
    """The runs of ours that ended without a word: their file was tidied away (`runner.executors.dask`)."""
    sites = {name: plugin.site for name, plugin in plugins.items() if isinstance(plugin, SlideWorker)}
    ended = []
    for name, site in sites.items():
        with contextlib.suppress(OSError):  # of a folder that cannot be looked at nothing is known
            if site.marker.parent.is_dir() and not site.marker.exists():
                ended.append(name)
    return ended


async def leave(name: str, dask_worker: Any) -> None:
    """Runs in a Dask worker: ends its part of a run."""
    if name in dask_worker.plugins:
        await dask_worker.plugin_remove(name=name)


def compute(name: str, call: Call, places: Mapping[str, Place]) -> Answer | Unfit:
    """Runs in a thread of a Dask worker: one slide's answer.

    Args:
        places: the first process of each worker, by address, among all that work on its machine.

    Raises:
        Reschedule: this worker is being closed; Dask gives the slide to another one.
    """
    worker = get_worker()
    plugin = worker.plugins.get(name)
    if not isinstance(plugin, SlideWorker):
        return Unfit(address=worker.address, trouble=None)
    try:
        plugin.site.check()
    except MissingError as trouble:
        return Unfit(address=worker.address, trouble=trouble)
    plugin.processes.place = places.get(worker.address, plugin.processes.place)
    try:
        return plugin.processes.run(call)
    except CancelledError:
        raise Reschedule from None
