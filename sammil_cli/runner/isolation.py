"""Processes of their own for slides and folds; those of slides are kept for the next slide, whatever becomes of one."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import replace
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from sammil_cli.errors import MissingError, SammilError, SlideError, as_slide_error, limit_met
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.runner.worker import OUT_OF_MEMORY, Attempt, Place, attempt, start_up

_GIB = 2**30
# A process that holds so much more than after its first slide is replaced: the next slide shall not pay for it.
_MOST_GROWTH_BYTES = _GIB
# After these a process is replaced: what a failed slide left on the GPU is in the way, or the GPU's context is broken.
_LAST_WORDS = ("E_DEVICE", "E_MEMORY")
_FILES_OF_A_PROCESS = 16  # pipes and such that a pool of one process takes
_starting = threading.Lock()


class IsolatedProcesses:
    """Worker processes with limits, as many as calls are run at once. May be used by several threads.

    Args:
        limits: what one slide may take.
        folder: where the processes work; None = where this one does.
        place: the first process's share of the machine. Further ones have the next slots, those that are started
            anew the same ones; a new value holds for processes that start from then on.
    """

    def __init__(self, limits: Limits, folder: Path | None = None, *, place: Place) -> None:
        self._limits, self._folder, self.place = limits, folder, place
        self._lock = threading.Lock()
        self._all: list[_IsolatedProcess] = []
        self._idle: list[_IsolatedProcess] = []
        self._stopped = False

    def run(self, call: Call) -> Answer:
        """Computes a call and waits for its answer, whatever becomes of its process.

        Raises:
            CancelledError: `stop` was called meanwhile.
        """
        with self._lock:
            if self._idle:
                process = self._idle.pop()  # the latest one: its models are loaded
            else:
                place = replace(self.place, slot=self.place.slot + len(self._all))
                process = _IsolatedProcess(self._limits, self._folder, place, stopped=self._stopped)
                self._all.append(process)
        try:
            return process.run(call)
        finally:
            with self._lock:
                self._idle.append(process)

    def stop(self) -> None:
        """Ends all processes at once, those at work, too."""
        with self._lock:
            self._stopped = True
            processes = tuple(self._all)
        if processes:
            with ThreadPoolExecutor(len(processes)) as threads:
                list(threads.map(_IsolatedProcess.stop, processes))


class _IsolatedProcess:
    """One process, in a pool of its own: its death and its locks concern no other."""

    def __init__(self, limits: Limits, folder: Path | None, place: Place, *, stopped: bool) -> None:
        self._limits, self._start_up, self._stopped = limits, (folder, limits.memory_bytes, place), stopped
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._future: Future[Any] = Future()
        self._first_bytes: int | None = None

    def run(self, call: Call) -> Answer:
        start = time.monotonic()
        try:
            found = self._compute(call)
        except SlideError as error:
            if error.code in _LAST_WORDS:
                self._end()
            return Answer(slide_id=call.slide_id, error=error, seconds=time.monotonic() - start)
        self._first_bytes = self._first_bytes or found.resident
        if found.resident - self._first_bytes > _MOST_GROWTH_BYTES:
            self._end()
        return Answer(slide_id=call.slide_id, value=found.value, seconds=found.seconds, spent=found.spent)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._future.cancel()
        self._end()

    def _compute(self, call: Call) -> Attempt:
        # Pebble gives up on a process that died between two slides, or before its first word: once more in a new one.
        for _ in range(2):
            try:
                found: Attempt = self._schedule(call).result()
                return found
            except TookTooLong as error:
                self._first_bytes = None
                raise _timed_out(call, self._limits) from error
            except ProcessExpired as error:
                self._first_bytes = None
                raise _died(call, self._limits, error.exitcode, self._start_up[2]) from error
            except RuntimeError:
                self._end()
        raise _not_started(call)

    def _schedule(self, call: Call) -> Future[Any]:
        with self._lock:
            self._future = Future()
            if self._stopped:
                self._future.cancel()
                return self._future
            if self._pool is None:
                self._pool = ProcessPool(
                    max_workers=1, initializer=start_up, initargs=self._start_up, context=_BareContext()
                )
            task = [call.function, call.arguments]
            self._future = self._pool.schedule(attempt, args=task, timeout=self._limits.seconds)
            return self._future

    def _end(self) -> None:
        with self._lock:
            pool, self._pool, self._first_bytes = self._pool, None, None
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


class _BareProcess(SpawnProcess):
    """A spawned process that does not import the main module of its parent: Dask's takes a second and 60 MB."""

    def start(self) -> None:
        main: dict[str, Any] = vars(sys.modules["__main__"])
        with _starting:
            hidden: dict[str, Any] = {name: main.pop(name) for name in ("__spec__", "__file__") if name in main}
            main["__spec__"] = None
            try:
                super().start()
            finally:
                main.update(hidden)


class _BareContext(SpawnContext):
    Process = _BareProcess


def _timed_out(call: Call, limits: Limits) -> SlideError:
    return SlideError(
        "E_TIMEOUT",
        f"it was stopped after {(limits.seconds or 0) / 60:g} minutes",
        remedy=f"raise slide_minutes in params.yaml and run again: --only {call.slide_id}; if it hangs, copy it again",
        set_aside=False,
    )


def _died(call: Call, limits: Limits, exit_code: int | None, place: Place) -> SlideError:
    if exit_code == OUT_OF_MEMORY:
        return SlideError(
            "E_MEMORY",
            f"its process grew over {(limits.memory_bytes or 0) / _GIB:g} GiB and was stopped",
            remedy="raise slide_memory_gib in params.yaml, or lower batch_size (extract)",
            set_aside=False,
        )
    if exit_code == -signal.SIGKILL:
        return SlideError(
            "E_MEMORY",
            "the system killed its process (SIGKILL), as it does when memory runs out",
            remedy=("fewer --workers, or " if place.processes > 1 else "")
            + "a smaller batch_size in params.yaml; slide_memory_gib stops a slide before it takes memory from others",
            set_aside=False,
        )
    if exit_code is not None and exit_code < 0:
        return _crashed(call, f"its process crashed ({_name_of(-exit_code)})")
    return _crashed(call, f"its process ended without a word (exit code {exit_code})")


def _not_started(call: Call) -> SlideError:
    """Why a process did not start, which Pebble does not say: no more files may be opened, or unknown."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_FILES_OF_A_PROCESS))
    except OSError as error:
        if met := limit_met(error):
            return as_slide_error(met)
    finally:
        for handle in opened:
            os.close(handle)
    return _crashed(call, "its process could not start, or ended at once")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _crashed(call: Call, message: str) -> SlideError:
    remedy = f"run it alone: --only {call.slide_id} --workers 1; if it stays, copy the slide again"
    return SlideError("E_CRASH", message, remedy=remedy, set_aside=False)


@contextlib.contextmanager
def process_pool(workers: int, *, gpu: bool = False) -> Iterator[ProcessPool]:
    """A pool of `workers` processes; an error or Ctrl-C in the block ends them at once.

    Copies of this process where that is safe: they share its libraries, which take seconds and hundreds of megabytes to
    load. Elsewhere they are spawned.

    Args:
        gpu: whether they use one; CUDA does not work in a copy of a process.

    Raises:
        MissingError: `E_MEMORY`, the system killed one of them. SammilError: `E_CRASH`, one ended otherwise.
    """
    copied = not gpu and _may_be_copied()
    context = multiprocessing.get_context("fork") if copied else _BareContext()
    pool = ProcessPool(max_workers=workers, context=context)
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except ProcessExpired as error:
        pool.stop()  # type: ignore[no-untyped-call]
        raise _ended(error.exitcode) from error
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()


def _ended(exit_code: int | None) -> SammilError:
    again = "run the same command again: it goes on where it was"
    if exit_code == -signal.SIGKILL:
        message = "the system killed a process that computes (SIGKILL), as it does when memory runs out"
        return MissingError(message, remedy=f"fewer --workers; {again}", code="E_MEMORY")
    how = f"exit code {exit_code}" if exit_code is None or exit_code >= 0 else _name_of(-exit_code)
    return SammilError(f"a process that computes was ended ({how})", remedy=again, code="E_CRASH")


def _may_be_copied() -> bool:
    """Whether a fork finds every lock free and no thread missing.

    Only in the `sammil` command, where nothing has run but what is ours, which computes no gradients there (torch's do
    not survive a fork), and only from its one thread. Threads of BLAS and OpenMP do no harm: copies compute in one.
    """
    main = getattr(sys.modules["__main__"], "__file__", None) or ""
    return sys.platform == "linux" and Path(main).name == "sammil" and threading.active_count() == 1
