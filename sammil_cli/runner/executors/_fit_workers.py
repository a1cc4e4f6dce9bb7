"""The workers of a Dask cluster that can do a run's slides: each is asked when it joins; the others get no slide."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, TypedDict, TypeVar

from sammil_cli import console
from sammil_cli.errors import MissingError
from sammil_cli.runner.executors._dask_worker import SlideWorker, join, leave
from sammil_cli.runner.worker import Place

LOOK_SECONDS = 2.0
_LEAVE_SECONDS = 20.0
_NO_MODULE = re.compile("No module named '([^']+)'")

Result = TypeVar("Result")


class _Facts(TypedDict):
    """What a scheduler says of a worker, as far as it matters here."""

    host: str
    nthreads: int
    resources: Mapping[str, float]


class FitWorkers:
    """Which workers there are, and which of them are fit.

    The plugin is not registered with the scheduler: a worker without sammil would then not even start, and the cluster
    may have other users.

    Args:
        client: Dask's.
        name: the run's.
        plugin: what a fit worker gets.
        gpu: count GPUs, not threads.
    """

    def __init__(self, client: Any, name: str, plugin: SlideWorker, *, gpu: bool) -> None:
        self.name, self._client, self._plugin, self._gpu = name, client, plugin, gpu
        self._asked: dict[str, Future[dict[str, object]]] = {}
        self._hosts: dict[str, tuple[str, int]] = {}
        self._looked = -LOOK_SECONDS
        self._fit: set[str] = set()
        self._said: set[str] = set()
        self.unfit: dict[str, MissingError] = {}

    @property
    def slots(self) -> dict[str, int]:
        """How many slides each fit worker does at once, by address; without those that do none."""
        return {address: slots for address, (_, slots) in self._hosts.items() if address in self._fit and slots}

    @property
    def places(self) -> dict[str, Place]:
        """See `places`."""
        return places({address: self._hosts[address] for address in self.slots})

    @property
    def asking(self) -> bool:
        """Whether some have not answered yet."""
        return bool(self._asked)

    @property
    def without_gpu(self) -> bool:
        """Whether there are fit workers, but none has a GPU."""
        return bool(self._fit) and not self.slots

    def look(self) -> None:
        """Counts the workers every few seconds, since they come and go, and hears what new ones have answered."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            with contextlib.suppress(OSError):  # or a run of weeks is taken for one that was killed
                os.utime(self._plugin.site.marker)
            self._count(self._client.scheduler_info(n_workers=-1)["workers"])
        for address in [address for address, answer in self._asked.items() if answer.done()]:
            answer = self._asked.pop(address)
            error = answer.exception() or answer.result().get(address)
            if error is None:
                self._fit.add(address)
            elif not isinstance(error, OSError):  # it is gone, or asked again when it is not
                self.leave_out(address, _as_trouble(error, self._hosts[address][0]))

    def leave_out(self, address: str, trouble: MissingError) -> None:
        """Gives a worker no further slide, and says why, once for all workers of a machine."""
        self._fit.discard(address)
        self.unfit[address] = trouble
        if trouble.message not in self._said:
            self._said.add(trouble.message)
            console.say(f"a worker gets no slides: {trouble.message}", f"    fix: {trouble.remedy}")

    def ask_again(self, address: str) -> None:
        """Gives a worker no slide until it has joined once more."""
        self._fit.discard(address)

    def end(self) -> None:
        """Ends the processes of this run on all workers that are still there."""
        for answer in self._asked.values():
            answer.cancel()
        if self._client.status != "running":
            return
        there = self._client.scheduler_info(n_workers=-1)["workers"].keys() & (self._fit | self._asked.keys())
        with contextlib.suppress(OSError, TimeoutError):
            self._begin(
                self._client.run(leave, self.name, workers=sorted(there), on_error="ignore", asynchronous=True)
            ).result(_LEAVE_SECONDS)

    def _count(self, workers: Mapping[str, _Facts]) -> None:
        for address in self._asked.keys() - workers.keys():
            self._asked.pop(address).cancel()
        self._fit &= workers.keys()
        self.unfit = {address: trouble for address, trouble in self.unfit.items() if address in workers}
        self._hosts = {address: (facts["host"], self._slots_of(facts)) for address, facts in workers.items()}
        for address in workers.keys() - self._asked.keys() - self._fit - self.unfit.keys():
            asking = self._client.run(
                join, self.name, self._plugin, workers=[address], on_error="return", asynchronous=True
            )
            self._asked[address] = self._begin(asking)

    def _begin(self, asking: Coroutine[object, object, Result]) -> Future[Result]:
        # In the client's own loop: a worker that never answers holds up nothing.
        return asyncio.run_coroutine_threadsafe(asking, self._client.loop.asyncio_loop)

    def _slots_of(self, facts: _Facts) -> int:
        return int(facts["resources"].get("GPU", 0)) if self._gpu else facts["nthreads"]


def _as_trouble(error: object, host: str) -> MissingError:
    """Why a worker cannot join, in our words."""
    if isinstance(error, MissingError):
        return error
    text = " ".join(str(error).split())  # of some errors Dask brings the text only
    absent = _NO_MODULE.search(text)
    what = f"lacks {absent[1]}" if absent else f"cannot join: {type(error).__name__}: {text}"
    return MissingError(
        f"the Dask worker on {host} {what}",
        remedy="install the same sammil on all nodes, in the environment that the workers run in",
    )


def places(workers: Mapping[str, tuple[str, int]]) -> dict[str, Place]:
    """The place of each worker's first process, from its host and how many slides it does at once.

    Workers on one host share its cores, and the GPUs that they see: each has slots of its own.
    """
    hosts: dict[str, int] = {}
    first: dict[str, int] = {}
    for address, (host, slots) in sorted(workers.items()):
        first[address] = hosts.get(host, 0)
        hosts[host] = first[address] + slots
    return {
        address: Place(slot=first[address], processes=max(1, hosts[host])) for address, (host, _) in workers.items()
    }
