"""Processes on this machine: a crash, a hang or a flood of memory costs one slide."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from itertools import islice
from typing import Any

from pebble import ProcessExpired, ProcessPool

from sammil_cli.errors import SlideError
from sammil_cli.stages.executor import Answer, Call, Limits, attempt
from sammil_cli.stages.processes import process_pool
from sammil_cli.stages.project import RunOptions


class LocalExecutor:
    """See `stages.executor.Executor`."""

    def __init__(self, pool: ProcessPool, workers: int, limits: Limits) -> None:
        self._pool, self._workers, self._limits = pool, workers, limits

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """See `stages.executor.Executor.answers`."""
        running: dict[Any, Call] = {}
        while True:
            for call in islice(calls, self._workers - len(running)):
                future = self._pool.schedule(
                    attempt, args=[call.function, call.arguments], timeout=self._limits.seconds
                )
                running[future] = call
            if not running:
                return
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                yield _answer(running.pop(ended), ended)


def _answer(call: Call, future: Any) -> Answer:
    try:
        value, seconds = future.result()
        return Answer(slide_id=call.slide_id, value=value, seconds=seconds)
    except SlideError as error:
        return Answer(slide_id=call.slide_id, error=error)
    except ProcessExpired as error:
        crash = SlideError(
            "E_CRASH",
            f"the process ended without a word (exit code {error.exitcode}): the reader crashed or memory ran out",
            remedy="run it alone: --only " + call.slide_id + " --workers 1; if it stays, copy the slide again",
            set_aside=False,
        )
        return Answer(slide_id=call.slide_id, error=crash)


@contextlib.contextmanager
def open_executor(options: RunOptions, limits: Limits) -> Iterator[LocalExecutor]:
    """`options.workers` processes, ended with the block."""
    with process_pool(options.workers) as pool:
        yield LocalExecutor(pool, options.workers, limits)
