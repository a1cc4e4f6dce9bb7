"""Reads files in a process of its own, with limits: a crash or a hang is an answer like any other."""

import contextlib
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import traceback
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from bound_by_modes import bind_by_modes
from file_kinds import KINDS, Kind, Read, content
from mutations import SEALED, mutate

from sammil_cli.errors import SammilError

SECONDS = 20  # that a reader may take for a small file on a busy machine; the slowest good one takes 0.1
GIB = 2  # above what the process has when it starts

EQUAL, DIFFERENT, REFUSED, ANEW = "equal", "different", "refused", "made anew"
BUG, HUNG, CRASHED, NO_REMEDY = "bug", "hung", "crashed", "no remedy"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of reading a file.

    `end`: one of the words above. `code`: of a refusal, or the kind of the error; `message` and `remedy` are its own,
    of a bug the traceback. `was`: what the fuzzer changed.
    """

    end: str
    code: str = ""
    message: str = ""
    remedy: str = ""
    was: str = ""


class _HungError(BaseException):
    """Raised by the alarm, where Python still runs: the traceback says where."""


class LimitedReader:
    """A process that reads the file of one kind after the other, replaced after a crash or a hang.

    Files lie in the folder `case`, each under its kind's own name; `file_of` says where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None

    def file_of(self, kind: Kind) -> Path:
        """Where the file of a kind is written and read."""
        return self.folder / "case" / kind.file

    def read(self, kind: Kind) -> list[Answer]:
        """What each of the kind's readers says of the file, the first one first."""
        return self._ask(kind, None)

    def fuzz(self, kind: Kind, seed: str) -> Answer:
        """Writes a good file, changes it as the seed has it, and reads it: the worst that a reader says."""
        return worst(self._ask(kind, seed))

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._line is not None:
            self._process.kill()
            self._process.join()
            self._line.close()
        self._process = self._line = None

    def __enter__(self) -> "LimitedReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: Kind, seed: str | None) -> list[Answer]:
        if self._process is None or self._line is None:
            context = multiprocessing.get_context("spawn")
            self._line, far = context.Pipe()
            self._process = context.Process(target=_serve, args=(far, self.folder))
            self._process.start()
            far.close()
            self._line.recv()  # ready: its imports take seconds, for which no file is to blame
        seconds = SECONDS * len(kind.readers) + 5
        answer = Answer(end=HUNG, message=f"killed after {seconds} s")
        with contextlib.suppress(EOFError, ConnectionError):
            self._line.send((kind.name, seed))
            if self._line.poll(seconds):
                answers: list[Answer] = self._line.recv()
                return answers
        self._process.join(0.5)
        if (code := self._process.exitcode) is not None:
            answer = Answer(end=CRASHED, message=f"exit code {code}")
        self.close()
        return [answer]


def is_sound(kind: Kind, answer: Answer) -> bool:
    """Whether a reader may answer so: of a file of ours, what was changed is refused or makes no difference.

    Where the fuzzer has made the sums fit, it may be read as what it says then.
    """
    may_differ = not kind.ours or answer.was.endswith(SEALED)
    return answer.end in (EQUAL, REFUSED, ANEW) or (answer.end == DIFFERENT and may_differ)


def worst(answers: list[Answer]) -> Answer:
    """The answer that counts, of several readers of one file; of equals the first."""
    order = (EQUAL, ANEW, REFUSED, DIFFERENT, NO_REMEDY, BUG, HUNG, CRASHED)
    return max(answers, key=lambda answer: order.index(answer.end))


def base_of(kind: Kind, path: Path) -> Path:
    """The folder that a kind's name begins in: of `fold/model.json` the one that `fold` lies in."""
    return path.parents[len(Path(kind.file).parts) - 1]


def make_anew(kind: Kind, path: Path) -> Path:
    """A good file with nothing beside it that is not its own."""
    shutil.rmtree(base_of(kind, path), ignore_errors=True)
    path.parent.mkdir(parents=True)
    kind.make(path)
    return path


def _serve(line: Connection, folder: Path) -> None:
    """The process: answers until nobody asks any more."""
    os.chdir(folder)
    bind_by_modes()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # libraries in C complain there
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _alarm)
    good, made = {}, folder / "good"
    for kind in KINDS.values():
        path = make_anew(kind, made / kind.name / kind.file)
        good[kind.name] = [content(read(path)) for read in kind.readers]
        make_anew(kind, path)  # without what the readers leave
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (GIB << 30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line.send("ready")
    while True:
        try:
            name, seed = line.recv()
        except EOFError:
            return
        kind, was = KINDS[name], ""
        path = folder / "case" / kind.file
        if seed is not None:
            shutil.rmtree(folder / "case", ignore_errors=True)
            shutil.copytree(made / name, folder / "case")  # quicker than making it again
            was = mutate(path, kind.form, random.Random(seed))
        line.send([_answer(read, path, known, was) for read, known in zip(kind.readers, good[name], strict=True)])


def _answer(read: Read, path: Path, known: object, was: str) -> Answer:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        value = read(path)
        found = content(value)
    except SammilError as error:
        code = error.code or type(error).__name__
        end = REFUSED if error.remedy else NO_REMEDY
        return Answer(end=end, code=code, message=error.message, remedy=error.remedy, was=was)
    except _HungError:
        return Answer(end=HUNG, message=traceback.format_exc(limit=-6), was=was)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        return Answer(end=BUG, code=type(error).__name__, message=traceback.format_exc(limit=-6), was=was)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Answer(end=EQUAL if found == known else ANEW if value is None else DIFFERENT, was=was)


def _alarm(*_: object) -> None:
    raise _HungError
