"""Published weight files: which they are, where they are looked for, and how they are fetched."""

import contextlib
import fcntl
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from sammil_cli.errors import MissingError
from sammil_cli.storage.files import sha256_file

FOLDER_VARIABLE = "SAMMIL_WEIGHTS"
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A published weight file, pinned: `sha256` of the content that `url` serves.

    `word` names it on the command line, `used_by` are the settings that ask for it, `page` is what its publisher says
    of it, `megabytes` (1e6 bytes) is the published size.
    """

    word: str
    used_by: str
    file_name: str
    url: str
    sha256: str
    megabytes: float
    licence: str
    page: str

    @property
    def size(self) -> str:
        """The size in words."""
        return f"{self.megabytes:,.1f} MB"


def weight_folders() -> list[Path]:
    """Where weights are looked for: the folders in SAMMIL_WEIGHTS (a colon between them), then the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep)
    return [*(Path(part) for part in named if part), user_cache_path("sammil") / "weights"]


def folder_to_write() -> Path:
    """The first of `weight_folders()` that can be written: the named one is often mounted read-only.

    Raises:
        MissingError: there is none.
    """
    folders = weight_folders()
    for folder in folders:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return folder
    raise MissingError(
        f"no folder for weights can be written: {', '.join(map(str, folders))}",
        remedy=f"set {FOLDER_VARIABLE} to one that can",
    )


def copies(pinned: WeightFile) -> list[Path]:
    """The local files of this name, in the order of `weight_folders()`; none is opened."""
    return [path for folder in weight_folders() if (path := folder / pinned.file_name).is_file()]


def sha256_of(path: Path) -> str:
    """The sha256 of a weight file.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", remedy="see to its permissions") from None


def verified_copy(pinned: WeightFile) -> Path | None:
    """The first local file with the pinned content."""
    return next((path for path in copies(pinned) if sha256_of(path) == pinned.sha256), None)


def find_weights(pinned: WeightFile) -> Path:
    """`verified_copy`, or how to get one.

    Raises:
        MissingError: there is none, or its content is not the pinned one.
    """
    if (path := verified_copy(pinned)) is not None:
        return path
    raise damaged(pinned, here[0]) if (here := copies(pinned)) else missing(pinned)


def own_weights(path: Path, sha256: str, key: str) -> Path:
    """A weight file of the user's own, which the settings `key` and `key`_sha256 name and pin.

    Raises:
        MissingError: it is not there, or has another content.
    """
    if not path.is_file():
        raise MissingError(f"{path} does not exist", remedy=f"correct {key}; null = the published file")
    if (found := sha256_of(path)) != sha256:
        raise MissingError(
            f"{path} is not the pinned file: sha256 {found}, expected {sha256}",
            remedy=f"put the right file there; or, if this is the one you mean, set {key}_sha256: {found}",
        )
    return path


def damaged(pinned: WeightFile, path: Path) -> MissingError:
    """The error of a file with another content than the published one."""
    return MissingError(
        f"{path} is not the published file: sha256 {sha256_of(path)}, expected {pinned.sha256} "
        f"({path.stat().st_size / 1e6:,.1f} of {pinned.size})",
        remedy=f"fetch it again: sammil weights fetch {pinned.word}",
    )


def missing(pinned: WeightFile) -> MissingError:
    """The error of a file that is not here: what it is, where it was looked for, and every way to get it."""
    word, folders = pinned.word, weight_folders()
    whose = [f"({FOLDER_VARIABLE})"] * (len(folders) - 1) + ["(the cache)"]
    looked = "\n    ".join(f"{folder / pinned.file_name} {of}" for folder, of in zip(folders, whose, strict=True))
    return MissingError(
        f"the weights {pinned.file_name} are not here; looked for\n    {looked}\n"
        f"  for      {pinned.used_by}\n"
        f"  size     {pinned.size}\n"
        f"  sha256   {pinned.sha256}\n"
        f"  licence  {pinned.licence}\n"
        f"  source   {pinned.page}",
        remedy=f"sammil weights fetch {word}; or --download with sammil sam, extract, ablate\n"
        f"  by hand: fetch {pinned.url}\n"
        f"           as {pinned.file_name} into one of the folders above, or set {FOLDER_VARIABLE} to its folder\n"
        f"{_carried_over(word)}\n"
        "  container: docker run -v /my/weights:/weights …",
    )


def check_space(folder: Path, megabytes: float, elsewhere: str = f"set {FOLDER_VARIABLE} to another folder") -> None:
    """Makes the folder.

    Raises:
        MissingError: so much does not fit into it; the remedy ends with `elsewhere`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingError(f"{folder} cannot be made: {error.strerror}", remedy=elsewhere) from None
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise MissingError(
            f"{folder} has room for {free:,.0f} MB, {megabytes:,.0f} MB are to come",
            remedy=f"make room, or {elsewhere}",
        )


def download(pinned: WeightFile, progress: Progress | None = None) -> Path:
    """Fetches the file into `folder_to_write()`, unless it is here; goes on where an earlier attempt stopped.

    Raises:
        MissingError: no network, no room, another process is fetching it, or the content is not the pinned one (what
            was fetched is deleted then).
    """
    if (there := verified_copy(pinned)) is not None:
        return there
    if not pinned.url.startswith(("https://", "http://127.0.0.1:")):
        raise MissingError(f"{pinned.url} is no https address", remedy="use the published address")
    target = folder_to_write() / pinned.file_name
    part = target.with_name(target.name + ".part")
    check_space(target.parent, pinned.megabytes - (part.stat().st_size / 1e6 if part.exists() else 0))
    with _alone(part, target) as stream:
        _receive(pinned, stream, target, progress)
        stream.flush()
        os.fsync(stream.fileno())
        if sha256_file(part) != pinned.sha256:
            part.unlink()
            raise MissingError(f"what {pinned.url} sent is not the published file", remedy="try again")
        part.replace(target)
    return target


@contextlib.contextmanager
def _alone(part: Path, target: Path) -> Iterator[BinaryIO]:
    """The part file, open to append, for one process at a time: two would mix what they write."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        except OSError:
            alone = True  # some network disks know no locks
        if not alone or not _lies_at(stream, part):  # a process that ended just now has renamed or removed what we hold
            raise MissingError(
                f"another process is fetching {target}", remedy="wait until it is done, then run this again"
            )
        try:
            yield stream
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()


def _lies_at(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _receive(pinned: WeightFile, stream: BinaryIO, target: Path, progress: Progress | None) -> None:
    """Appends what is not there yet."""
    done = stream.tell()
    request = urllib.request.Request(pinned.url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the scheme was checked
            if answer.status != 206:  # the server sends the whole file
                done = 0
                stream.truncate(0)
            total = done + int(answer.headers.get("Content-Length", 0))
            while block := answer.read(1 << 20):
                stream.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
            if done < total:  # a connection that is closed early ends like a whole answer
                raise ConnectionError(f"the connection was closed after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part is already whole
            raise MissingError(
                f"{pinned.url}: {error}", remedy=f"try again later, or fetch it by hand as {target}"
            ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        again = f"run it again to go on from {done} bytes" if done else "run it again where there is a network"
        raise MissingError(
            f"{pinned.url} cannot be fetched: {reason}",
            remedy=f"{again}\n  by hand: fetch that address as {target}\n{_carried_over(pinned.word)}",
        ) from None


def _carried_over(word: str) -> str:
    return (
        "  no network: on another machine\n"
        f"           sammil weights fetch {word} && sammil weights export {word} weights.tar\n"
        "           and here: sammil weights fetch --from weights.tar"
    )
