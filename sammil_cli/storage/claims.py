"""Who computes what: claims by which several processes, on several hosts too, share the work of one store.

A claim is a small file. It is created exclusively, which every file system can do, so no locks are needed. Its
modification time is its owner's heartbeat. The claim of a dead owner is taken over: the first claim of a key is
`<key>.0`, the one that takes it over `<key>.1`, and so on; only one process can create each of them.
"""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import parse_json

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # without a heartbeat; a false alarm costs a computation, never a result
TEMPORARY = ".work-"  # names of temporary files and folders begin so, then comes the tag of their owner, then "-"
ABANDONED_SECONDS = 7 * 86400.0  # after so long another host's leavings are cleared away: longer than any slide takes


@functools.cache
def host_id() -> str:
    """This machine since it was started and, in a container, its own numbering of processes; 12 hex digits.

    Containers may share a host's name, and process numbers start anew with each of them and after a restart.
    """
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux only; elsewhere the name must do
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        facts += [started, str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def owner_tag() -> str:
    """The name of this process, `<host id>-<pid>`, for names of files that it alone may use."""
    return f"{host_id()}-{os.getpid()}"


def is_dead(tag: str) -> bool:
    """Whether the process of a tag is known to be gone; of another host's nothing is known."""
    host, _, pid = tag.partition("-")
    if host != host_id() or not pid.isdigit() or os.name == "nt":  # there, signal 0 is Ctrl-C
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def clock(folder: Path) -> float:
    """The time by the clock of the file system that holds `folder`; clocks of hosts may differ."""
    with tempfile.NamedTemporaryFile(prefix=f"{TEMPORARY}{owner_tag()}-clock-", dir=folder) as file:
        os.utime(file.name)  # to the server's time, where there is a server
        return os.fstat(file.fileno()).st_mtime


class Claims:
    """The claims of this process in a folder; use it as a context, which keeps the heart beating.

    Args:
        root: the folder of all claims on one store.
    """

    def __init__(self, root: Path, *, beat_seconds: float = BEAT_SECONDS, stale_seconds: float = STALE_SECONDS) -> None:
        self._root, self._beat_seconds, self._stale_seconds = root, beat_seconds, stale_seconds
        self._token = secrets.token_hex(8)
        self._held: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="sammil claims", daemon=True)

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True, exist_ok=True)
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._heart.join()
        for key in list(self._held):
            self.release(key)

    def take(self, key: str) -> bool:
        """Claims a key; False while another process that lives, or is not known to be dead, holds it.

        Whoever gets a claim looks first whether the result has appeared in the meantime.
        """
        earlier = self._of(key)
        stale = None
        if earlier:
            stale = self._token_if_stale(earlier[-1])
            if stale is None:
                return False
        path = self._root / f"{key}.{_generation(earlier[-1]) + 1 if earlier else 0}"
        if not self._create(path):
            return False
        if earlier:
            token, _, beat = _read(earlier[-1])
            if token != stale or beat is None:  # it was released, and perhaps claimed again, in the meantime
                path.unlink(missing_ok=True)
                return False
        with self._lock:
            self._held[key] = path
        return True

    def release(self, key: str) -> None:
        """Gives a key up; a claim that was taken over in the meantime is left to its new owner."""
        with self._lock:
            path = self._held.pop(key)
        if _read(path)[0] != self._token or self._of(key)[-1:] != [path]:
            return
        for old in self._of(key):
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes the claims of the dead, which nobody asks for when their results are there."""
        for path in self._root.glob("*.*") if self._root.is_dir() else ():
            _, owner, beat = _read(path)
            if is_dead(owner) or (beat is not None and clock(self._root) - beat > ABANDONED_SECONDS):
                path.unlink(missing_ok=True)

    def _of(self, key: str) -> list[Path]:
        """The claims on a key, the valid one last."""
        return sorted(self._root.glob(f"{key}.*"), key=_generation)

    def _create(self, path: Path) -> bool:
        try:
            file = path.open("x", encoding="utf-8")
        except FileExistsError:
            return False
        try:
            with file:
                json.dump({"token": self._token, "owner": owner_tag(), "host": socket.gethostname()}, file)
        except OSError:  # a full disk: nobody shall wait for a claim that says nothing
            path.unlink(missing_ok=True)
            raise
        return True

    def _token_if_stale(self, path: Path) -> str | None:
        """The token of a claim whose owner is dead, or silent for too long; None of one that is to be respected."""
        token, owner, beat = _read(path)
        if owner and is_dead(owner):
            return token
        return token if beat is not None and clock(self._root) - beat > self._stale_seconds else None

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            with self._lock:
                held = list(self._held.values())
            for path in held:
                if _read(path)[0] == self._token:
                    with contextlib.suppress(OSError):  # a server that is away for a moment
                        os.utime(path)


def _generation(path: Path) -> int:
    suffix = path.suffix[1:]
    return int(suffix) if suffix.isdigit() else -1


def _read(path: Path) -> tuple[str, str, float | None]:
    """Token and owner of a claim (empty while it is being written) and its heartbeat (None: there is no such claim)."""
    try:
        # Opening makes a network file system ask its server; a plain stat may be a minute old.
        with path.open("rb") as file:
            beat, text = os.fstat(file.fileno()).st_mtime, file.read()
    except OSError:
        return "", "", None
    try:
        facts = parse_json(text, path)
        return str(facts["token"]), str(facts["owner"]), beat
    except (InputError, KeyError, TypeError):
        return "", "", beat
