"""Workers of a Dask cluster: any scheduler that runs, or jobs of a batch system; needs the extra `cluster`."""

import contextlib
import logging
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from sammil_cli import console
from sammil_cli.choices import one_of
from sammil_cli.errors import InputError, MissingError, SlideError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.runner.executors._connection import connect
from sammil_cli.runner.executors._jobqueue import KINDS, open_cluster
from sammil_cli.storage.claims import TEMPORARY, owner_tag
from sammil_cli.storage.code import installed_code
from sammil_cli.storage.store import find_store, sweep

if TYPE_CHECKING:  # Dask may be absent
    from sammil_cli.runner.executors._fit_workers import FitWorkers

# How long to wait for a scheduler's workers: pods and containers take their time. Jobs in a queue have no limit.
PATIENCE_SECONDS = 300.0
UNFIT_SECONDS = 15.0  # where there are workers, but none that is fit: one may just be starting anew
_WAIT_SECONDS, _SHORT_SECONDS = 2.0, 0.1
_RESULT_SECONDS = 20.0  # the answer of a finished slide is a few bytes
_CALLS_PER_SLOT = 2  # so that a worker has its next slide at hand
_MOST_TRIES = 4  # as Dask itself has it for a slide whose workers die
_INSTALL = "pip install 'sammil-cli[cluster]'"


@dataclass
class _Sent:
    """A call, how often it was given out, and to whom."""

    call: Call
    tries: int = 0
    workers: frozenset[str] = frozenset()


class DaskExecutor:
    """See `runner.executor.Executor`."""

    def __init__(self, client: Any, workers: "FitWorkers", *, gpu: bool, patience: float | None) -> None:
        self._client, self._workers, self._gpu, self._patience = client, workers, gpu, patience
        self._address = client.scheduler.address
        self._seen = time.monotonic()
        self._running: dict[Any, _Sent] = {}
        self._waiting: deque[_Sent] = deque()
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._told = False

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """See `runner.executor.Executor.answers`; twice as many calls are begun as the cluster can do at once.

        Raises:
            MissingError: the scheduler or all workers are gone, or none of them is fit.
        """
        try:
            while True:
                self._look()
                yield from self._call_back()
                self._send(calls)
                if not self._running and not self._waiting:
                    return
                with contextlib.suppress(Empty):
                    wait = _SHORT_SECONDS if self._workers.asking else _WAIT_SECONDS
                    future = self._ended.get(timeout=wait)
                    sent = self._running.pop(future, None)
                    answer = self._answer(sent, future) if sent is not None else None
                    if answer is not None:
                        yield answer
        finally:
            if self._running and self._client.status == "running":
                self._client.cancel(list(self._running))

    def _look(self) -> None:
        """Learns who is there."""
        if self._client.status != "running":
            raise _lost(self._address)
        self._workers.look()
        if not self._workers.slots:
            self._check_patience()
            return
        self._seen = time.monotonic()

    def _call_back(self) -> Iterator[Answer]:
        """Takes back the calls of workers that are all gone; Dask would wait for these very ones."""
        there = self._workers.slots.keys()
        for future, sent in list(self._running.items()):
            if there and sent.workers.isdisjoint(there) and not future.done():
                del self._running[future]
                self._client.cancel([future])
                if answer := self._again(sent):
                    yield answer

    def _again(self, sent: _Sent) -> Answer | None:
        """Lets a call wait for other workers; gives it up, with an answer, after `_MOST_TRIES`."""
        if sent.tries < _MOST_TRIES:
            self._waiting.append(sent)
            return None
        return Answer(slide_id=sent.call.slide_id, error=_workers_lost(sent.call))

    def _check_patience(self) -> None:
        """Waits for workers, but not for ever.

        Raises:
            MissingError: none has come, or those that are there are of no use.
        """
        waited = time.monotonic() - self._seen
        if self._workers.asking:
            return
        if self._workers.without_gpu and self._patience is not None:
            raise MissingError(
                f"no worker of {self._address} offers a GPU",
                remedy="start those with one as: dask worker … --resources GPU=1; or use --device cpu",
            )
        if self._workers.unfit and waited > UNFIT_SECONDS:
            trouble = next(iter(self._workers.unfit.values()))
            raise MissingError(
                f"no worker of {self._address} can be used, for example: {trouble.message}",
                remedy=f"{trouble.remedy}; then run the same command: what is finished is kept",
            )
        if self._patience is not None and waited > self._patience:
            raise MissingError(
                f"{self._address} has had no worker for {self._patience:g} s",
                remedy=f"start some: dask worker {self._address}; then run the same command: what is finished is kept",
            )
        if not self._told and not self._workers.unfit:
            console.say(f"waiting for workers of {self._address}")
            self._told = True

    def _send(self, calls: Iterator[Call]) -> None:
        """Gives out as many calls as the cluster can do at once, and a few; one is always taken, to see whether any are
        left."""
        from sammil_cli.runner.executors._dask_worker import compute

        slots = self._workers.slots
        most = _CALLS_PER_SLOT * sum(slots.values())
        room = max(1, most) - len(self._running) - len(self._waiting)
        self._waiting.extend(_Sent(call) for call in islice(calls, max(0, room)))  # the cluster may have shrunk
        while self._waiting and len(self._running) < most:
            sent = self._waiting.popleft()
            sent.tries, sent.workers = sent.tries + 1, frozenset(slots)
            future = self._client.submit(
                compute,
                self._workers.name,
                sent.call,
                self._workers.places,
                key=f"{self._workers.name}-{sent.call.slide_id}-{uuid.uuid4().hex}",
                resources={"GPU": 1} if self._gpu else None,
                workers=list(slots),
                pure=False,
            )
            self._running[future] = sent
            future.add_done_callback(self._ended.put)

    def _answer(self, sent: _Sent, future: Any) -> Answer | None:
        """What became of a call; None if it has to be done again, elsewhere."""
        from sammil_cli.runner.executors._dask_worker import Unfit

        if future.cancelled():
            raise _lost(self._address)
        try:
            error = future.exception(timeout=_RESULT_SECONDS)
            answer: Answer | Unfit | None = None if error else future.result(timeout=_RESULT_SECONDS)
        except TimeoutError:  # its worker was lost before the answer was fetched
            self._client.cancel([future])
            return self._again(sent)
        if error is not None:
            return Answer(slide_id=sent.call.slide_id, error=_trouble(sent.call, error))
        if isinstance(answer, Unfit):
            if answer.trouble is None:
                self._workers.ask_again(answer.address)
            else:
                self._workers.leave_out(answer.address, answer.trouble)
            sent.tries -= 1  # it was not begun
            self._waiting.append(sent)
            return None
        return answer


def _trouble(call: Call, error: BaseException) -> SlideError:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return _workers_lost(call)
    return SlideError(
        "E_BUG",
        f"{type(error).__name__}: {' '.join(str(error).split())[:500]} (in the Dask worker)",
        remedy="look at the worker's log; please report this line",
        set_aside=False,
    )


def _workers_lost(call: Call) -> SlideError:
    return SlideError(
        "E_CRASH",
        "every Dask worker that took it was lost",
        remedy=f"run it alone on one machine: --only {call.slide_id} --executor local --workers 1",
        set_aside=False,
    )


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
        raise InputError(f"--cluster {options.cluster!r} is unknown", remedy=one_of(options.cluster, KINDS))


@contextlib.contextmanager
def open_executor(options: RunOptions, limits: Limits) -> Iterator[DaskExecutor]:
    """The cluster that the options name.

    Raises:
        InputError: see `check` and `_jobqueue.open_cluster`.
        MissingError: no Dask, or no scheduler.
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
            client = stack.enter_context(connect(str(options.scheduler)))
        workers = stack.enter_context(_prepared(client, limits, gpu=gpu))
        yield DaskExecutor(client, workers, gpu=gpu, patience=None if options.cluster else PATIENCE_SECONDS)


@contextlib.contextmanager
def _prepared(client: Any, limits: Limits, *, gpu: bool) -> Iterator["FitWorkers"]:
    """The workers, none of them asked yet, for this run; its processes on them end with the block."""
    from sammil_cli.runner.executors._dask_worker import Site, SlideWorker
    from sammil_cli.runner.executors._fit_workers import FitWorkers

    store = find_store(Path.cwd())
    store.mkdir(parents=True, exist_ok=True)
    sweep(store)
    with tempfile.NamedTemporaryFile(prefix=f"{TEMPORARY}{owner_tag()}-run-", dir=store) as marker:
        site = Site(folder=Path.cwd(), marker=Path(marker.name), code=installed_code())
        workers = FitWorkers(client, f"sammil-{uuid.uuid4().hex}", SlideWorker(site, limits), gpu=gpu)
        try:
            yield workers
        finally:
            workers.end()
