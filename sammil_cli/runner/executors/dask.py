"""Workers of a Dask cluster: any scheduler that runs, or jobs of a batch system; needs the extra `cluster`."""

import contextlib
import logging
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sammil_cli import console
from sammil_cli.errors import InputError, MissingError, SammilError, SlideError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.runner.executors._jobqueue import KINDS, open_cluster
from sammil_cli.runner.worker import Place
from sammil_cli.storage.code import installed_code
from sammil_cli.storage.store import find_store

CONNECT_SECONDS = 10.0
# A scheduler without workers is waited for so long: pods and containers take their time. Jobs in a queue have no limit.
PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 2.0
_CALLS_PER_SLOT = 2  # so that a worker has its next slide at hand
_INSTALL = "pip install 'sammil-cli[cluster]'"


class DaskExecutor:
    """See `runner.executor.Executor`."""

    def __init__(self, client: Any, name: str, *, gpu: bool, patience: float | None) -> None:
        self._client, self._name, self._gpu, self._patience = client, name, gpu, patience
        self._address = client.scheduler.address
        self._slots, self._looked, self._seen = 0, 0.0, time.monotonic()
        self._places: dict[str, Place] = {}
        self._told = False

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """See `runner.executor.Executor.answers`; twice as many calls are begun as the cluster can do at once.

        Raises:
            MissingError: the scheduler or all workers are gone, or a worker is unfit.
        """
        from sammil_cli.runner.executors._dask_worker import compute

        running: dict[Any, Call] = {}
        ended: SimpleQueue[Any] = SimpleQueue()
        resources = {"GPU": 1} if self._gpu else None
        try:
            while True:
                self._look()
                room = max(1, _CALLS_PER_SLOT * self._slots) - len(running)
                for call in islice(calls, max(0, room)):  # the cluster may have shrunk
                    key = f"{self._name}-{call.slide_id}-{uuid.uuid4().hex}"
                    future = self._client.submit(
                        compute, self._name, call, self._places, key=key, resources=resources, pure=False
                    )
                    running[future] = call
                    future.add_done_callback(ended.put)
                if not running:
                    return
                with contextlib.suppress(Empty):
                    future = ended.get(timeout=_LOOK_SECONDS)
                    yield self._answer(running.pop(future), future)
        finally:
            if running and self._client.status == "running":
                self._client.cancel(list(running))

    def _look(self) -> None:
        """Counts what the cluster can do at once: it may grow and shrink."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        if self._client.status != "running":
            raise _lost(self._address)
        workers = self._client.scheduler_info()["workers"]
        self._looked = now
        slots = {
            address: int(worker["resources"].get("GPU", 0)) if self._gpu else int(worker["nthreads"])
            for address, worker in workers.items()
        }
        self._slots = sum(slots.values())
        self._places = places({address: (worker["host"], slots[address]) for address, worker in workers.items()})
        if self._slots:
            self._seen = now
            return
        if workers and self._patience is not None:
            raise MissingError(
                f"no worker of {self._address} offers a GPU",
                remedy="start those with one as: dask worker … --resources GPU=1; or use --device cpu",
            )
        if self._patience is not None and now - self._seen > self._patience:
            raise MissingError(
                f"{self._address} has had no worker for {self._patience:g} s",
                remedy=f"start some: dask worker {self._address}; then run the same command: what is finished is kept",
            )
        if not self._told:
            console.say(f"waiting for workers of {self._address}")
            self._told = True

    def _answer(self, call: Call, future: Any) -> Answer:
        from distributed import KilledWorker

        if future.cancelled():
            raise _lost(self._address)
        error = future.exception()
        if error is None:
            answer: Answer = future.result()
            return answer
        if isinstance(error, SammilError):
            raise error
        if isinstance(error, KilledWorker):
            trouble = SlideError(
                "E_CRASH",
                "every Dask worker that took it was lost",
                remedy=f"run it alone on one machine: --only {call.slide_id} --executor local --workers 1",
                set_aside=False,
            )
        else:
            trouble = SlideError(
                "E_BUG",
                f"{type(error).__name__}: {' '.join(str(error).split())[:500]} (in the Dask worker)",
                remedy="look at the worker's log; please report this line",
                set_aside=False,
            )
        return Answer(slide_id=call.slide_id, error=trouble)


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


def _lost(address: str) -> MissingError:
    return MissingError(
        f"the connection to the Dask scheduler {address} was lost",
        remedy="start it again and run the same command: what is finished is kept",
    )


def check(options: RunOptions) -> None:
    """Refuses words that name no cluster.

    Raises:
        InputError: not exactly one of scheduler and cluster is given, or the cluster is of an unknown kind.
    """
    if (options.scheduler is None) == (options.cluster is None):
        raise InputError(
            "--executor dask needs one of --scheduler and --cluster",
            remedy="for example: --scheduler tcp://node1:8786, or: --cluster slurm",
        )
    if options.cluster is not None and options.cluster not in KINDS:
        raise InputError(f"--cluster {options.cluster!r} is unknown", remedy=f"one of: {', '.join(KINDS)}")


@contextlib.contextmanager
def open_executor(options: RunOptions, limits: Limits) -> Iterator[DaskExecutor]:
    """The cluster that the options name.

    Raises:
        InputError: see `check` and `_jobqueue.open_cluster`.
        MissingError: no Dask, no scheduler, or a worker with other code or without the project's folder.
    """
    check(options)
    try:
        import distributed
    except ModuleNotFoundError:
        raise MissingError("--executor dask: Dask is not installed", remedy=_INSTALL) from None
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what happens is said here, in our words
    gpu = options.device.startswith("cuda")
    with contextlib.ExitStack() as stack:
        if options.cluster is not None:
            cluster = stack.enter_context(open_cluster(options.cluster, options.workers, gpu=gpu))
            client = stack.enter_context(distributed.Client(cluster, set_as_default=False))  # type: ignore[no-untyped-call]
        else:
            client = stack.enter_context(_connect(str(options.scheduler)))
        name = stack.enter_context(_prepared(client, limits))
        yield DaskExecutor(client, name, gpu=gpu, patience=None if options.cluster else PATIENCE_SECONDS)


def _connect(address: str) -> Any:
    import distributed

    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise MissingError(
            f"no Dask scheduler answers at {address}: {text}",
            remedy="start one: dask scheduler; or mend --scheduler or SAMMIL_SCHEDULER",
        ) from error


@contextlib.contextmanager
def _prepared(client: Any, limits: Limits) -> Iterator[str]:
    """Readies all workers, later ones too, for this run, whose name is yielded; ends their processes with the block."""
    from sammil_cli.runner.executors import _dask_worker

    store, name = find_store(Path.cwd()), f"sammil-{uuid.uuid4().hex}"
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".run-", dir=store) as marker:
        site = _dask_worker.Site(folder=Path.cwd(), marker=Path(marker.name), code=installed_code())
        try:
            _install(client, _dask_worker.SlideWorker(name, site, limits), name)
            client.run(_dask_worker.check, name)
            yield name
        finally:
            if client.status == "running":
                with contextlib.suppress(OSError):
                    client.unregister_worker_plugin(name)


def _install(client: Any, plugin: Any, name: str) -> None:
    try:
        client.register_plugin(plugin, name=name)
    except ModuleNotFoundError as error:
        raise MissingError(
            f"a Dask worker lacks {error.name or error}",
            remedy="install the same sammil on all nodes, in the environment that the workers run in",
        ) from error
