"""Processes on this machine: a crash, a hang or a flood of memory costs one slide."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.runner.isolation import IsolatedProcesses
from sammil_cli.runner.worker import Place


class LocalExecutor:
    """See `runner.executor.Executor`. A thread waits for each process."""

    def __init__(self, processes: IsolatedProcesses, threads: ThreadPoolExecutor, workers: int) -> None:
        self._processes, self._threads, self._workers = processes, threads, workers

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """See `runner.executor.Executor.answers`."""
        running: set[Future[Answer]] = set()

        def begin() -> None:
            for call in islice(calls, self._workers - len(running)):
                running.add(self._threads.submit(self._processes.run, call))

        begin()
        while running:
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                running.remove(ended)
                begin()  # before the answer is dealt with: no process waits for that
                yield ended.result()


@contextlib.contextmanager
def open_executor(options: RunOptions, limits: Limits) -> Iterator[LocalExecutor]:
    """`options.workers` processes, ended with the block."""
    processes = IsolatedProcesses(limits, place=Place(processes=options.workers))
    with ThreadPoolExecutor(options.workers) as threads:
        try:
            yield LocalExecutor(processes, threads, options.workers)
        finally:
            processes.stop()
