"""What happens to the commands of a soak while they run: kills, lost workers, changed, damaged and vanished files."""

import json
import os
import random
import resource
import runpy
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from soak_commands import STAGES, Commands, Dask, Running, workers_of
from soak_slides import FAULTS, Cohort, content, write_table

from sammil_cli.storage.store import ResultStore

key_digest = runpy.run_path(str(Path(__file__).resolve().parent / "soak_hook/sitecustomize.py"))["key_digest"]
OUTS = {"segment": "tissue", "patch": "patches", "sam": "regions", "extract": "bags"}  # below artifacts/
_PAUSE_SECONDS = 0.4  # between the two halves of a file that is being copied in
_SETTLE_SECONDS = 0.5  # until the workers of a killed command have ended, too
_LEAST_EVENTS = {"kill-command": 2, "kill-worker": 2, "break-table": 1, "full-disk": 1, "file-limit": 1}
_PER_THOUSAND = {"kill-command": 40, "kill-worker": 40, "break-table": 6, "full-disk": 4, "file-limit": 4}
_LOSE_DASK_WORKERS = 2
_LEAST_ROUNDS = 4  # that each operator has begun before an event is given up
_MOST_POSTPONED = 20  # events in a row that are not possible yet, before there is a pause


@dataclass(frozen=True)
class Excuse:
    """Why a slide may be computed once more: something was done to it, or what came out of it never reached the store.

    `stage`, `key`: empty = of any.
    """

    slide: str
    at: float
    stage: str = ""
    key: str = ""


@dataclass
class Storm:
    """Two operators run the stages again and again; meanwhile things happen, in an order that the seed decides."""

    cohort: Cohort
    commands: Commands
    seed: int
    small_disk: bool
    dask: Dask | None
    excuses: list[Excuse] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    rounds: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(2), 0))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def rage(self, seconds: float, say: Callable[[str, float], None]) -> None:
        """Lets everything happen once, spread over about `seconds`, while both operators are at work."""
        events = self._events()
        total, start = len(events), time.monotonic()
        operators = [threading.Thread(target=self._operate, args=(number,)) for number in self.rounds]
        for operator in operators:
            operator.start()
        try:
            postponed = 0
            while events:
                kind, slide = events.popleft()
                if self._act(kind, slide):
                    self.done[kind] += 1
                    postponed = 0
                elif min(self.rounds.values()) >= _LEAST_ROUNDS and time.monotonic() - start > 2 * seconds:
                    self.done[f"{kind} (never possible)"] += 1
                else:  # nothing is there yet that it could be done to
                    events.append((kind, slide))
                    postponed += 1
                happened = total - len(events)
                commands = sum(self.commands.exits.values())
                say(f"storm: {happened} of {total} events, {commands} commands", happened / total)
                early = seconds * happened / total - (time.monotonic() - start)
                time.sleep(max(early, 0.5 if postponed > _MOST_POSTPONED else 0.05))
        finally:
            self.over.set()
            for operator in operators:
                operator.join()

    def _events(self) -> "deque[tuple[str, str]]":
        events = [
            (kind, slide) for slide, kind in self.cohort.faults.items() if kind in FAULTS and FAULTS[kind].is_event
        ]
        for kind, least in _LEAST_EVENTS.items():
            count = max(least, _PER_THOUSAND[kind] * len(self.cohort.faults) // 1000)
            events += [(kind, "")] * (count if kind != "full-disk" or self.small_disk else 0)
        events += [("lose-dask-worker", "")] * (_LOSE_DASK_WORKERS if self.dask else 0)
        self.random.shuffle(events)
        return deque(events)

    def _operate(self, number: int) -> None:
        """One operator: the stages in order, or now and then another one."""
        own = random.Random(f"{self.seed}-{number}")
        while not self.over.is_set():
            self.rounds[number] += 1
            for stage in STAGES:
                if self.over.is_set():
                    return
                chosen = own.choice(STAGES) if own.random() < 0.2 else stage
                on_dask = self.dask is not None and number == 1 and own.random() < 0.4
                self.commands.run(chosen, 1, "dask" if on_dask else "local")

    def _act(self, kind: str, slide: str) -> bool:
        """Does what an event says; False where that is not possible now."""
        if slide:
            acts: Mapping[str, Callable[[str], bool]] = {
                "added": lambda slide: self._copy_in(slide, other=False),
                "replaced": self._replace,
                "swapped": self._swap,
                "removed": self._remove,
                "bitstore": self._flip_in_store,
                "bitout": lambda slide: self._flip_out(slide, ("segment", "patch", "sam")),
                "bitbag": lambda slide: self._flip_out(slide, ("extract",)),
            }
            acted = acts[kind](slide)
            if acted:
                self.excuses.append(Excuse(slide, time.time()))
            return acted
        return {
            "kill-command": self._kill_command,
            "kill-worker": self._kill_worker,
            "break-table": self._break_table,
            "full-disk": self._fill_disk,
            "file-limit": self._limit_files,
            "lose-dask-worker": self._lose_dask_worker,
        }[kind]()

    # What is done to slides.

    def _copy_in(self, slide: str, *, other: bool) -> bool:
        whole, path = content(self.cohort, slide, other=other), self.cohort.path(slide)
        with path.open("wb") as stream:  # as cp does: not in one go
            stream.write(whole[: len(whole) // 2])
            stream.flush()
            time.sleep(_PAUSE_SECONDS)
            stream.write(whole[len(whole) // 2 :])
        return True

    def _replace(self, slide: str) -> bool:
        if slide[-1] in "02468" and not self._is_done(slide):  # half of them once there is something to go stale
            return False
        return self._copy_in(slide, other=True)

    def _swap(self, slide: str) -> bool:
        path = self.cohort.path(slide)
        for other in (True, False):
            temporary = self.cohort.project / f"{slide}.new"
            temporary.write_bytes(content(self.cohort, slide, other=other))
            temporary.replace(path)
            time.sleep(_PAUSE_SECONDS if other else 0)
        return True

    def _remove(self, slide: str) -> bool:
        if not self._is_done(slide):
            return False
        self.cohort.path(slide).unlink()
        return True

    def _is_done(self, slide: str) -> bool:
        """Whether there are results that may go stale."""
        return (self.cohort.project / f"artifacts/tissue/{slide}.geojson").exists()

    def _flip_in_store(self, slide: str) -> bool:
        found = [
            entry
            for stage in STAGES
            for entry in entries(self.cohort.project, stage)
            if slide in (entry / "manifest.json").read_text(encoding="utf-8", errors="replace")
        ]
        return bool(found) and self._flip(self.random.choice(found).iterdir())

    def _flip_out(self, slide: str, stages: Iterable[str]) -> bool:
        folders = (self.cohort.project / "artifacts" / OUTS[stage] for stage in stages)
        return self._flip(path for folder in folders for path in folder.glob(f"{slide}.*"))

    def _flip(self, files: Iterable[Path]) -> bool:
        for path in self.random.sample(found := sorted(files), len(found)):
            with suppress(OSError), path.open("r+b") as stream:
                if size := os.fstat(stream.fileno()).st_size:
                    stream.seek(place := self.random.randrange(size))
                    byte = stream.read(1)[0] ^ 1 << self.random.randrange(8)
                    stream.seek(place)
                    stream.write(bytes([byte]))
                    return True
        return False

    # What is done to commands and to the machine.

    def _kill_command(self) -> bool:
        if (running := self._any_running()) is None:
            return False
        killed = time.time()
        running.process.kill()
        time.sleep(_SETTLE_SECONDS)
        since = running.started if running.run == "dask" else 0.0
        self._excuse(killed, lambda line: line["run"] == running.run and float(str(line["at"])) >= since)
        return True

    def _kill_worker(self) -> bool:
        running = self._any_running()
        workers = [] if running is None else workers_of(running.process.pid)
        if not workers:
            return False
        pid, killed = self.random.choice(workers), time.time()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(_SETTLE_SECONDS)
        self._excuse(killed, lambda line: line["pid"] == pid)
        return True

    def _lose_dask_worker(self) -> bool:
        on_dask = [running for running in list(self.commands.running.values()) if running.executor == "dask"]
        if self.dask is None or not on_dask or time.time() - on_dask[0].started < 3:
            return False
        killed = time.time()
        self.dask.lose_worker()
        time.sleep(_SETTLE_SECONDS)
        self._excuse(killed, lambda line: line["run"] == "dask" and float(str(line["at"])) >= on_dask[0].started)
        return True

    def _break_table(self) -> bool:
        write_table(self.cohort, broken=True)
        time.sleep(4 * _PAUSE_SECONDS)
        write_table(self.cohort, broken=False)
        return True

    def _fill_disk(self) -> bool:
        started, ballast = time.time(), self.cohort.project / "ballast"
        space = os.statvfs(self.cohort.project)
        with suppress(OSError), ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, space.f_bavail - 2) * space.f_frsize)
        time.sleep(4 * _PAUSE_SECONDS)
        ballast.unlink()
        self._excuse(time.time(), lambda line: float(str(line["at"])) >= started - 1)
        return True

    def _limit_files(self) -> bool:
        """A quota: from now on a command may write small files only. Its workers are there already."""
        running = self._any_running()
        if running is None or running.executor == "dask" or not workers_of(running.process.pid):
            return False
        with suppress(ProcessLookupError):
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        running.process.wait()
        self._excuse(time.time(), lambda line: line["run"] == running.run)
        return True

    def _any_running(self) -> Running | None:
        running = list(self.commands.running.values())
        return self.random.choice(running) if running else None

    def _excuse(self, moment: float, concerns: Callable[[Mapping[str, object]], bool]) -> None:
        """What was being computed, or was but had not reached the store at a moment, may be computed again."""
        stored: dict[str, dict[str, float]] = {}
        for line in (line for line in computations(self.commands.log) if concerns(line)):
            stage = str(line["stage"])
            if stage not in stored:
                stored[stage] = stored_keys(self.cohort.project, stage)
            if stored[stage].get(str(line["key"]), moment + 1) > moment:
                self.excuses.append(Excuse(str(line["slide"]), moment, stage, str(line["key"])))


def entries(project: Path, stage: str) -> list[Path]:
    """The results in the store of a stage."""
    return [path.parent for path in (project / ".sammil/store" / stage).glob("??/*/manifest.json")]


def stored_keys(project: Path, stage: str) -> dict[str, float]:
    """Since when the store has a result, by the digest of its key."""
    store, found = ResultStore(project / ".sammil/store" / stage), dict[str, float]()
    for entry in entries(project, stage):
        with suppress(FileNotFoundError):
            if result := store.look(entry.name):
                found[key_digest(result.key)] = (entry / "manifest.json").stat().st_mtime
    return found


def computations(log: Path) -> list[dict[str, object]]:
    """The lines of the log."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
