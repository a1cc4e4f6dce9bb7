"""Commands of a soak: started with the hook that counts computations, watched, killed, and what they printed kept."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

STAGES = ("segment", "patch", "sam", "extract")
_HOOK = Path(__file__).resolve().parent / "soak_hook"
_MAIN = "from sammil_cli.cli.app import main; main()"
_ENDS = (0, 2, 3, -signal.SIGKILL)  # done or left out; refused; something is missing; killed by us
_ANOTHER_ROUND = "in the meantime: another round"
# What Python itself prints where a process ends before the one that it starts has begun: after a kill, and harmless.
_ORPHANED = re.compile(
    r"Traceback \(most recent call last\):\n(?:  .*\n)+?.*reduction\.pickle\.load\(from_parent\)\n(?:  .*\n)*"
    r"EOFError: Ran out of input\n"
)
_DASK_SECONDS = 30.0  # until Dask's scheduler has noticed that a command is gone
_CHANGES = "E_CHANGED"  # the one reason for exit code 1: slides changed in each of the rounds that a command has


@dataclass
class Running:
    """One command at work. `run`: how its computations are called in the log."""

    run: str
    stage: str
    process: subprocess.Popen[str]
    started: float
    executor: str


@dataclass(frozen=True)
class Span:
    """From when to when a command was at work."""

    stage: str
    started: float
    ended: float
    run: str = ""
    rounds: bool = False  # whether it did again what had changed while it ran
    killed: bool = False

    def holds(self, stage: str, at: float) -> bool:
        """Whether it was at this stage then."""
        return stage == self.stage and self.started <= at <= self.ended

    def left(self, stage: str, at: float) -> bool:
        """Whether it was killed, and Dask's workers may have been at its slides then."""
        orphaned = self.killed and self.run == "dask"
        return orphaned and stage == self.stage and self.started <= at <= self.ended + _DASK_SECONDS


@dataclass
class Commands:
    """Starts commands on one project; may be used by several threads.

    `log`: where computations are noted. `output`: where all is kept that was printed. `limit_seconds`: a command that
    takes longer hangs. `address`: of Dask's scheduler.
    """

    project: Path
    log: Path
    output: Path
    limit_seconds: float
    address: str = ""
    running: dict[str, Running] = field(default_factory=dict)
    exits: Counter[int] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    peak_bytes: int = 0
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def environment(self, run: str) -> dict[str, str]:
        """Of a command or of a Dask process."""
        path = os.pathsep.join(filter(None, [str(_HOOK), str(_HOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, "PYTHONPATH": path, "SOAK_LOG": str(self.log), "SOAK_RUN": run, "PYTHONUTF8": "1"}

    def run(self, stage: str, workers: int, executor: str = "local") -> int:
        """Runs a command to its end, whatever that is."""
        with self._lock:
            self._count += 1
            run = "dask" if executor == "dask" else f"{self._count:04}"
            name = f"{self._count:04}-{stage}-{executor}"
        words = (
            ["--executor", "dask", "--scheduler", self.address] if executor == "dask" else ["--workers", f"{workers}"]
        )
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, stage, *words],
            cwd=self.project,
            env=self.environment(run),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        with self._lock:
            self.running[name] = Running(run, stage, process, time.time(), executor)
        try:
            printed, _ = process.communicate(timeout=self.limit_seconds)
        except subprocess.TimeoutExpired:
            self.troubles.append(f"{name}: hung; it was stopped after {self.limit_seconds:.0f} s")
            process.kill()
            printed, _ = process.communicate()
        with self._lock:
            running = self.running.pop(name)
            self.spans.append(
                Span(stage, running.started, time.time(), run, _ANOTHER_ROUND in printed, process.returncode < 0)
            )
            self.exits[process.returncode] += 1
        (self.output / f"{name}.txt").write_text(f"{printed}\nexit code {process.returncode}\n", encoding="utf-8")
        self._judge(name, process.returncode, printed)
        return process.returncode

    def _judge(self, name: str, code: int, printed: str) -> None:
        if code == -signal.SIGKILL:
            printed = _ORPHANED.sub("", printed)
        if "Traceback (most recent call last)" in printed:
            self.troubles.append(f"{name}: a traceback was printed")
        if code not in _ENDS and not (code == 1 and _CHANGES in printed):
            self.troubles.append(f"{name}: exit code {code}")
        if code in (2, 3) and "error:" not in printed:
            self.troubles.append(f"{name}: exit code {code} without a word")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measures memory during the block: of all processes below this one, each page once."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(2.0):
                self.peak_bytes = max(self.peak_bytes, sum(map(_own_bytes, descendants(os.getpid()))))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                )
    below, found = {pid}, set[int]()
    while below:
        below = {child for child, parent in parents.items() if parent in below} - found
        found |= below
    return sorted(found)


def workers_of(pid: int) -> list[int]:
    """The processes below one that do slides."""

    def command(child: int) -> bytes:
        with suppress(OSError):
            return Path(f"/proc/{child}/cmdline").read_bytes()
        return b""

    return [child for child in descendants(pid) if b"spawn_main" in command(child)]


def _own_bytes(pid: int) -> int:
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
        return 1024 * int(text.partition("\nPss:")[2].split()[0])
    return 0


@dataclass
class Dask:
    """A scheduler and two workers on the loopback interface, with the hook."""

    commands: Commands
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Starts them; the commands know the address then."""
        told = self.commands.output / "scheduler.json"
        words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--scheduler-file", str(told)]
        self.scheduler = self._begin("scheduler", [*words, "--dashboard-address", "127.0.0.1:0"])
        deadline = time.monotonic() + 60
        while not told.exists() or not told.read_text(encoding="utf-8").endswith("}"):
            if time.monotonic() > deadline:
                raise TimeoutError("Dask's scheduler does not start")
            time.sleep(0.1)
        self.commands.address = json.loads(told.read_text(encoding="utf-8"))["address"]
        for _ in range(2):
            self.add_worker()

    def add_worker(self) -> None:
        """One more worker with one thread."""
        words = [self.commands.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        words += ["--memory-limit", "0", "--local-directory", str(self.commands.output), "--dashboard-address"]
        self.workers.append(self._begin("worker", [*words, "127.0.0.1:0"]))

    def lose_worker(self) -> None:
        """Kills the oldest worker that is left, and starts another one."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()
        self.add_worker()

    def stop(self) -> None:
        """Ends them all."""
        for process in filter(None, (*self.workers, self.scheduler)):
            process.kill()
            process.wait()

    def _begin(self, what: str, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.commands.output / "dask.log").open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *words],
                cwd=self.commands.output,
                env={**self.commands.environment("dask"), "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
