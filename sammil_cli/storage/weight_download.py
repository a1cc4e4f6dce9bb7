"""Published weight files, fetched: going on where an attempt stopped, verified before they are used."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sammil_cli.errors import MissingError
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.hub import Address, locate, other_content
from sammil_cli.storage.web_file import WebError, opened
from sammil_cli.storage.weights import FOLDER_VARIABLE, WeightFile, carried_over, verified_copy, weight_folders

Progress = Callable[[int, int], None]  # bytes done, bytes in all
_WITH_NETWORK = " where there is a network"


def folder_to_write() -> Path:
    """The first of `weight_folders()` that can be written: the named one is often mounted read-only.

    Raises:
        MissingError: none of them can be written.
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


def check_space(folder: Path, megabytes: float, elsewhere: str = f"set {FOLDER_VARIABLE} to another folder") -> None:
    """Makes the folder, and refuses one without the room.

    Raises:
        MissingError: it cannot be made, or has less room; the remedy ends with `elsewhere`.
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

    Of a file of the Hugging Face hub the hub is asked first, as `hub.locate` does.

    Raises:
        MissingError: no network, no access, no room, another process is fetching it, or the content is not the pinned
            one (what was fetched is deleted then).
    """
    if (there := verified_copy(pinned)) is not None:
        return there
    target = folder_to_write() / pinned.file_name
    part = target.with_name(target.name + ".part")
    source = locate(pinned, pinned.hub, target) if pinned.hub else Address(url=pinned.url)
    size = (pinned.megabytes or 0) if source.size is None else source.size / 1e6
    check_space(target.parent, size - (part.stat().st_size / 1e6 if part.exists() else 0))
    with _alone(part, target) as stream:
        _receive(pinned, source, stream, target, progress)
        stream.flush()
        os.fsync(stream.fileno())
        if (found := sha256_file(part)) != pinned.sha256:
            part.unlink()
            raise other_content(pinned, found, f"what {pinned.url} sent is not the published file")
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


def _receive(pinned: WeightFile, source: Address, stream: BinaryIO, target: Path, progress: Progress | None) -> None:
    """Appends what is not there yet. Errors of writing are the disk's and stay what they are.

    Raises:
        MissingError: it did not come; what has come stays, unless it cannot be a part of the file.
    """
    about = source.size or round((pinned.megabytes or 0) * 1e6)
    least, most = (source.size, source.size) if source.size else (pinned.least_bytes, pinned.most_bytes)
    done = stream.tell() if stream.tell() <= most else 0
    try:
        with opened(source.url, start=done, most=most, headers=source.headers) as body:
            done = body.start
            stream.truncate(done)
            for block in body.blocks:
                stream.write(block)
                done += len(block)
                if progress:
                    progress(done, body.total or about)
            if body.total is None and done < least:
                raise WebError(f"the connection was closed after {done} of about {about / 1e6:,.1f} MB")
    except WebError as error:
        stream.flush()
        if error.final:
            stream.truncate(done := 0)
        again = "run it again" + (f" to go on from {done} bytes" if done else "" if error.final else _WITH_NETWORK)
        raise MissingError(
            f"{pinned.url} cannot be fetched: {error}",
            remedy=f"{again}\n  by hand: fetch that address as {target}\n{carried_over(pinned.word)}",
        ) from None
