"""Inside a Dask worker: slides in isolated processes, by the same code and with the same limits as on one machine."""

import asyncio
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
        if not self.marker.exists():
            trouble = "is another folder on" if self.folder.is_dir() else "does not exist on"
            raise MissingError(
                f"{self.folder} {trouble} the Dask worker's machine {host}",
                remedy="mount the project's file system under the same path on all nodes, or start the run where it is",
            )


class SlideWorker(WorkerPlugin):
    """One run's part of a Dask worker; its end, or the worker's, ends the isolated processes."""

    def __init__(self, name: str, site: Site, limits: Limits) -> None:
        self.name, self.site, self.limits = name, site, limits

    def setup(self, worker: Any) -> None:
        """Called by Dask in each worker, also in one that joins later."""
        # Dask's nanny starts workers as daemons, which may not have processes; those here end with their parent anyway.
        multiprocessing.current_process().daemon = False
        place = Place(processes=max(1, worker.state.nthreads))
        self.processes = IsolatedProcesses(self.limits, self.site.folder, place=place)

    async def teardown(self, worker: Any) -> None:
        """Called by Dask when the run or the worker ends."""
        await asyncio.to_thread(self.processes.stop)


def check(name: str, dask_worker: Any) -> None:
    """Runs in a Dask worker, which Dask gives as the second argument: see `Site.check`."""
    _plugin(dask_worker, name).site.check()


def compute(name: str, call: Call, places: Mapping[str, Place]) -> Answer:
    """Runs in a thread of a Dask worker: one slide's answer.

    Args:
        places: the first process of each worker, by address, among all that work on its machine.

    Raises:
        MissingError: see `Site.check`. Reschedule: this worker is being closed; Dask gives the slide to another one.
    """
    worker = get_worker()
    plugin = _plugin(worker, name)
    plugin.site.check()
    plugin.processes.place = places.get(worker.address, plugin.processes.place)
    try:
        return plugin.processes.run(call)
    except CancelledError:
        raise Reschedule from None


def _plugin(worker: Any, name: str) -> SlideWorker:
    plugin = worker.plugins[name]
    if not isinstance(plugin, SlideWorker):
        raise TypeError(f"{name} is another plugin")
    return plugin
