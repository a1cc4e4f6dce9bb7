"""Worker processes: fresh interpreters that end with the block, however it ends."""

import contextlib
import multiprocessing
from collections.abc import Iterator

from pebble import ProcessPool


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
