"""Worker processes: fresh interpreters that end with the block, however it ends."""

import contextlib
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from pebble import ProcessPool

_starting = threading.Lock()


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


def bare_pool(start_up: Callable[..., None], arguments: tuple[Any, ...]) -> ProcessPool:
    """A pool of one process, which calls `start_up(*arguments)` first and imports nothing but what it is given."""
    return ProcessPool(max_workers=1, initializer=start_up, initargs=arguments, context=_BareContext())


@contextlib.contextmanager
def process_pool(workers: int) -> Iterator[ProcessPool]:
    """A pool of `workers` processes; an error or Ctrl-C in the block ends them at once.

    They are spawned: threads of torch, OpenSlide and OpenCV do not survive a fork.
    """
    pool = ProcessPool(max_workers=workers, context=multiprocessing.get_context("spawn"))
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()
