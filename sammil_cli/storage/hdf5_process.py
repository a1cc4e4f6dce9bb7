"""A process that opens HDF5 files for this one: one that makes the HDF5 library hang or crash costs nothing but itself.

A process has one such helper, started when it first needs it (a quarter of a second), and asks it about one file after
the other (a millisecond each). Numbers are not read there: once it is known where they lie, they are safe to map.
"""

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from sammil_cli.storage.hdf5_layout import Layout, layout_of

CPU_SECONDS = 3.0  # of one file; whole ones take milliseconds, and a slow disk takes no processor time
MEMORY_BYTES = 4 << 30
# How h5py says that a file is damaged; any other error ends the process.
_SIGNS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
_READY = b"ready\n"
_ROOT = Path(__file__).resolve().parents[2]


class UnreadableError(ValueError):
    """A file that the HDF5 library cannot read, with the reason."""


class _Helper:
    """The process, and the pipes to it; used by one thread at a time."""

    def __init__(self) -> None:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sammil_cli.storage.hdf5_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for this process, which then closes the pipe
        )
        if self._line() != _READY:
            raise RuntimeError(f"the process that opens HDF5 files ended at once (exit code {self.end()})")

    def ask(self, path: Path) -> Layout:
        """What a file holds.

        Raises:
            UnreadableError: it is damaged; the reason. EOFError: the process ended, see `end`.
        """
        self._pipe().write(json.dumps([str(path.absolute()), CPU_SECONDS]).encode() + b"\n")
        self._pipe().flush()
        if not (answer := self._line()).endswith(b"\n"):
            raise EOFError
        if answer.startswith(b"!"):
            raise UnreadableError(json.loads(answer[1:]))
        return Layout.of_json(answer.decode())

    def end(self) -> int:
        """Ends the process; returns its exit code."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return self._process.wait()

    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise EOFError
        return self._process.stdin

    def _line(self) -> bytes:
        return b"" if self._process.stdout is None else self._process.stdout.readline()


_lock = threading.Lock()
_helpers: list[_Helper] = []
_inherited: list[_Helper] = []  # of the process that this one was forked from


def look_into(path: Path) -> Layout:
    """What a file holds, whatever it does to the HDF5 library.

    Raises:
        UnreadableError: it cannot be read, hangs the library or makes it crash; says which.
    """
    with _lock:
        if _helpers and _helpers[0].owner != os.getpid():
            _inherited.append(_helpers.pop())
        for _ in range(2):  # a helper that somebody ended between two files gets a successor
            is_new = not _helpers
            helper = _helpers[0] if _helpers else _Helper()
            _helpers[:] = [helper]
            try:
                return helper.ask(path)
            except (EOFError, BrokenPipeError):
                _helpers.clear()
                code = helper.end()
                if is_new or code == -signal.SIGPROF:
                    raise UnreadableError(_why(code)) from None
    raise UnreadableError(_why(code))


def _why(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"the HDF5 library did not come to an end within {CPU_SECONDS:g} s"
    return f"the HDF5 library crashed ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


@atexit.register
def _end() -> None:
    for helper in _helpers:
        if helper.owner == os.getpid():
            helper.end()


def main() -> None:
    """Answers until the other process closes the pipe: a line of JSON for each path, or `!` and the reason why it
    cannot be opened."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    least = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (least, most))
    out = sys.stdout.buffer
    out.write(_READY)
    out.flush()
    for line in sys.stdin.buffer:
        path, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process, wherever it is
        try:
            answer = layout_of(Path(path)).as_json()
        except _SIGNS as error:
            answer = "!" + json.dumps(" ".join(str(error).split())[:500] or type(error).__name__)
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(answer.encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
