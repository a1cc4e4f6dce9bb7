"""A real Dask cluster on this machine: scheduler and workers as processes, on the loopback interface only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dask_jobqueue  # noqa: F401  (with the defaults of both here, a test may set others for a while)
from distributed import Client
from processes_seen import descendants, gone

_START_SECONDS = 60.0


@dataclass
class DaskCluster:
    """Its scheduler's address and its processes."""

    address: str
    scheduler: subprocess.Popen[bytes]
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, *options: str, nanny: bool = False, path: str = "") -> subprocess.Popen[bytes]:
        """One more worker with one thread, elsewhere than in the project; modules are looked for in `path` first."""
        words = [self.address, "--nthreads", "1", "--nanny" if nanny else "--no-nanny", "--no-dashboard"]
        words += ["--dashboard-address", "127.0.0.1:0"]
        words += ["--host", "127.0.0.1", "--memory-limit", "0"]
        words += ["--local-directory", str(self.log.parent), *options]
        settings = {**self.settings, "PYTHONPATH": os.pathsep.join(filter(None, [path, *sys.path]))}
        worker = _start("distributed.cli.dask_worker", words, self.log, settings)
        self.workers.append(worker)
        return worker

    def wait_for(self, workers: int) -> None:
        """Waits until the scheduler knows this number of workers."""
        with Client(self.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(workers, timeout=_START_SECONDS)

    def stop(self) -> None:
        """Ends all its processes, by their ids."""
        for process in (*self.workers, self.scheduler):
            family = [process.pid, *descendants(process.pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            assert gone(family)


def _start(module: str, words: list[str], log: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=log.parent,
            env={**os.environ, "PYTHONWARNINGS": "ignore", **settings},
        )


@contextlib.contextmanager
def dask_cluster(
    folder: Path, workers: int = 2, *, protocol: str = "tcp", settings: Mapping[str, str] | None = None
) -> Iterator[DaskCluster]:
    """A scheduler and workers; all ended with the block. `settings`: variables of their environment."""
    folder.mkdir(parents=True, exist_ok=True)
    log, told = folder / "dask.log", folder / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--dashboard-address", "127.0.0.1:0"]
    words += ["--scheduler-file", str(told)]
    words += ["--protocol", protocol]
    found = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(settings or {})}
    scheduler = _start("distributed.cli.dask_scheduler", words, log, found)
    cluster = DaskCluster("", scheduler, log, settings or {})
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
