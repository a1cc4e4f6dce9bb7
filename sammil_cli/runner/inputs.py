"""Files that a key is made from, as they were then: a result counts only where none of them was touched since.

That a file has its old content again is not enough: a slide that was swapped for another one and back may have been
read in between. So a file's inode, size and times are compared as well; they are no part of any key.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.project.process_list import CHANGED
from sammil_cli.slides.files import identify, other_files
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import SlidePath
from sammil_cli.storage.regular_file import check_regular, is_endless

_COARSE_NS = 2 * 10**9  # the coarsest clock of a file system: two versions of an older file never look alike
_GONE = "gone"
_NEW = ()

State = tuple[tuple[int, int, int, int] | None, ...]  # inode, size, mtime, ctime of files; None = not to be read
_digests: dict[tuple[object, str, str], tuple[State, str]] = {}  # of this process: nothing is read twice


def state_of(*paths: Path) -> State:
    """What files are like now, without their content."""
    return tuple(map(_look, paths))


def _look(path: Path) -> tuple[int, int, int, int] | None:
    if is_endless(path):  # whoever reads it says so
        return None
    try:
        # Opening makes a network file system ask its server; a plain stat may be a minute old.
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        facts = os.fstat(opened)
    finally:
        os.close(opened)
    if stat.S_ISDIR(facts.st_mode):
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file of a key. `digest`: what stands in the key; `state`: taken before its content was read.

    `files`: all files that belong to it, itself first; `identify`: makes the digest.
    """

    path: Path
    files: Callable[[Path], list[Path]]
    identify: Callable[[Path], str]
    state: State
    digest: str

    @classmethod
    def of(cls, path: Path, files: Callable[[Path], list[Path]], identify: Callable[[Path], str]) -> "Input":
        """Looks at a file and identifies it."""
        state = state_of(*files(path))
        return cls(path=path, files=files, identify=identify, state=state, digest=_digest(path, identify, state))

    def trouble(self) -> str:
        """What has become of the file since, in words; empty where nobody touched it."""
        now = state_of(*self.files(self.path))
        if now == self.state and _digest(self.path, self.identify, now) == self.digest:
            return ""
        then, since = _bytes(self.state), _bytes(now)
        if now[0] is None:
            return f"{self.path} went away"
        return f"{self.path} grew from {then:,} to {since:,} bytes" if since > then else f"{self.path} changed"


def content(path: Path | None) -> Input | None:
    """A file that its whole content identifies; None of no file.

    Raises:
        InputError: it is a pipe, a socket or a device.
    """
    return None if path is None else Input.of(path, _alone, _sha256)


def slide_input(path: SlidePath) -> Input:
    """A slide, identified as `slides.files.identify` does."""
    return Input.of(path, _with_others, _identify)


def as_key(inputs: object) -> object:
    """Inputs as they stand in a key: digests in place of files."""
    if isinstance(inputs, Input):
        return inputs.digest
    if isinstance(inputs, dict):
        return {name: as_key(value) for name, value in inputs.items()}
    return [as_key(value) for value in inputs] if isinstance(inputs, list) else inputs


def files_in(inputs: object) -> Iterator[Input]:
    """The files among inputs."""
    if isinstance(inputs, Input):
        yield inputs
    for value in inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, list) else ():
        yield from files_in(value)


class Unchanged:
    """All files that a command works on, and what each was like when it began.

    Args:
        listed: lists them; called again when they are checked, so that an added file is noticed.
    """

    def __init__(self, listed: Callable[[], Iterable[Path]]) -> None:
        self._listed = listed
        self._states = {path: state_of(path) for path in listed()}

    def states(self, paths: Iterable[Path]) -> list[tuple[str, State]]:
        """What some of the files were like, by name."""
        return [(path.name, self._states[path]) for path in paths]

    def check(self, command: str, paths: Iterable[Path] | None = None, known: Mapping[Path, str] | None = None) -> None:
        """Refuses to go on with files that were touched since.

        Args:
            paths: those to look at; None = all.
            known: the sha256 of files that may have been touched as long as their content is still the same.

        Raises:
            InputError: `E_CHANGED`.
        """
        looked_at = list(dict.fromkeys([*self._states, *self._listed()]) if paths is None else paths)
        found = [path for path in looked_at if self._is_other(path, (known or {}).get(path))]
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise InputError(
                f"the input of sammil {command} changed while it ran: {found[0]}{more} (written, added or removed)",
                remedy="wait until nothing writes there any more, then run the same command again",
                code=CHANGED,
            )

    def _is_other(self, path: Path, known: str | None) -> bool:
        state = state_of(path)
        if state == self._states.get(path, _NEW):
            return False
        return known is None or state == (None,) or sha256_file(path) != known


def _digest(path: Path, identify: Callable[[Path], str], state: State) -> str:
    place = identify, str(Path.cwd()), str(path)
    known = _digests.get(place)
    if known is not None and known[0] == state:
        return known[1]
    try:
        digest = identify(path)
    except FileNotFoundError:  # between listing and reading; whoever needs it says so
        return _GONE
    newest = max((max(facts[2:]) for facts in state if facts), default=0)
    if None not in state and time.time_ns() - newest > _COARSE_NS:
        _digests[place] = state, digest
    return digest


def _bytes(state: State) -> int:
    return sum(facts[1] for facts in state if facts)


def _alone(path: Path) -> list[Path]:
    return [path]


def _with_others(path: Path) -> list[Path]:
    try:
        return [path, *other_files(path)]
    except OSError:  # a DICOM series or MIRAX data whose folder went away
        return [path]


def _sha256(path: Path) -> str:
    check_regular(path)
    return sha256_file(path)


def _identify(path: Path) -> str:
    return identify(SlidePath(path))
