"""A real Dask cluster on this machine: scheduler and workers as processes, on the loopback interface only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processes_seen import descendants, gone

_START_SECONDS = 60.0


@dataclass
class DaskCluster:
    """Its scheduler's address and its processes."""

    address: str
    scheduler: subprocess.Popen[bytes]
    log: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, *options: str, cwd: Path | None = None, nanny: bool = False) -> subprocess.Popen[bytes]:
        """One more worker with one thread, in a folder that is not the project's."""
        words = [self.address, "--nthreads", "1", "--nanny" if nanny else "--no-nanny", "--no-dashboard"]
        words += ["--dashboard-address", "127.0.0.1:0"]
        words += ["--host", "127.0.0.1", "--memory-limit", "0"]
        words += ["--local-directory", str(self.log.parent), *options]
        worker = _start("distributed.cli.dask_worker", words, self.log, cwd)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Ends all its processes, by their ids."""
        for process in (*self.workers, self.scheduler):
            family = [process.pid, *descendants(process.pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            assert gone(family)


def _start(module: str, words: list[str], log: Path, cwd: Path | None) -> subprocess.Popen[bytes]:
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore"}
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=cwd or log.parent,
            env={**os.environ, **settings},
        )


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[DaskCluster]:
    """A scheduler and workers; all ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    log, told = folder / "dask.log", folder / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--dashboard-address", "127.0.0.1:0"]
    words += ["--scheduler-file", str(told)]
    scheduler = _start("distributed.cli.dask_scheduler", words, log, None)
    cluster = DaskCluster("", scheduler, log)
    try:
        cluster.address = _address(told, cluster)
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()


def _address(told: Path, cluster: DaskCluster) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and cluster.scheduler.poll() is None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(told.read_text(encoding="utf-8"))["address"])
        time.sleep(0.05)
    raise AssertionError(f"no scheduler: {cluster.log.read_text(errors='replace')}")
