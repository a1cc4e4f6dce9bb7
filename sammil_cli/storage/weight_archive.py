"""Weights on the way to a machine without a network: a tar file out, and a tar file, a folder or a file in."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.weight_download import check_space, folder_to_write
from sammil_cli.storage.weights import WeightFile, find_weights, sha256_of, verified_copy

_SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
_MOST_AT_ONCE, _MOST_UNPACKED = 1 << 26, 50_000_000_000  # bytes
_MOST_MEMBERS = 10_000  # tarfile keeps them all
# RecursionError: of headers that only announce the next one.
_NO_TAR = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError, RecursionError)


def write_model(path: Path, pinned: Sequence[WeightFile]) -> None:
    """Writes the verified local files, and their SHA256SUMS, as a tar file; the same files give the same bytes.

    Raises:
        MissingError: one of them is not here, or damaged; or there is no room.
    """
    files = {found.file_name: find_weights(found) for found in sorted(pinned, key=lambda one: one.word)}
    size = sum(file.stat().st_size for file in files.values())
    check_space(path.absolute().parent, size / 1e6, "write the tar file elsewhere")
    sums = "".join(f"{one.sha256}  {one.file_name}\n" for one in sorted(pinned, key=lambda one: one.word)).encode()
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(_entry(_SUMS, len(sums)), io.BytesIO(sums))
        for name, file in files.items():
            with file.open("rb") as stream:
                tar.addfile(_entry(name, file.stat().st_size), stream)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    """Owner, date and mode are the same on every machine."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def take(source: Path, pinned: Sequence[WeightFile]) -> dict[str, Path]:
    """Copies those of `pinned` that `source` has into the weights' folder, verified.

    Args:
        source: a tar file (of `write_model`, or of anybody), a folder, or one weight file under any name.

    Returns:
        Word -> where it is now. Files that are not asked for are passed over.

    Raises:
        InputError: there is no such source. MissingError: a file in it is damaged, or there is no room.
    """
    if source.is_dir():
        return _from_folder(source, pinned)
    if not source.is_file():
        trouble = "is no file" if source.exists() else "does not exist"
        raise InputError(f"{source} {trouble}", remedy="give a tar file of sammil weights export, or a folder")
    if _is_tar(source):
        return _from_tar(source, pinned)
    with source.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    one = next((one for one in pinned if one.sha256 == sha256), None)
    if one is None:
        raise MissingError(
            f"{source} is none of {', '.join(known.file_name for known in pinned)}: sha256 {sha256}",
            remedy="copy it again; sammil weights list --json has the sha256 of each",
        )
    with source.open("rb") as stream:
        return {one.word: _copy(stream, one, source.stat().st_size, str(source))}


def _from_folder(source: Path, pinned: Sequence[WeightFile]) -> dict[str, Path]:
    taken = {}
    for one in pinned:
        names = (one.file_name, one.url.rpartition("/")[2])  # as sammil, or as the publisher names it
        path = next((source / name for name in names if (source / name).is_file()), None)
        # Publishers' names are not theirs alone: many models are called pytorch_model.bin.
        if path is not None and (path.name == one.file_name or _is_content(path, one)):
            with path.open("rb") as stream:
                taken[one.word] = _copy(stream, one, path.stat().st_size, str(path))
    return taken


def _from_tar(source: Path, pinned: Sequence[WeightFile]) -> dict[str, Path]:
    """Members are known by their last name and never unpacked, so that none can be written elsewhere."""
    taken = {}
    with _readable(source) as tar:
        for number, member in enumerate(tar):
            if number >= _MOST_MEMBERS:
                raise tarfile.ReadError(f"it has more than {_MOST_MEMBERS:,} members")
            one = next((one for one in pinned if PurePosixPath(member.name).name == one.file_name), None)
            if one is not None and member.isreg() and (stream := tar.extractfile(member)) is not None:
                taken[one.word] = _copy(stream, one, member.size, f"{one.file_name} in {source}")
    return taken


def _is_content(path: Path, one: WeightFile) -> bool:
    return one.fits(path.stat().st_size) and sha256_of(path) == one.sha256


def _is_tar(source: Path) -> bool:
    try:
        with _opened(source):
            return True
    except _NO_TAR:
        return False


@contextmanager
def _readable(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with _opened(source) as tar:
            yield tar
    except _NO_TAR as error:
        raise MissingError(f"{source} is cut or damaged: {error}", remedy="copy it again") from None


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    """A tar file, plain or gzipped: somebody may have made it. Other compressions can claim gigabytes of memory."""
    with source.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file) if packed else file)
        with stream, tarfile.open(fileobj=cast("IO[bytes]", _Bounded(stream)), mode="r:") as tar:
            yield tar


class _Bounded:
    """What `tarfile` reads from: a few bytes that unpack to more than any archive has are no archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.tell = stream, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        if not 0 <= place <= _MOST_UNPACKED:
            raise tarfile.ReadError(f"a member ends at byte {place:,}")
        return self._stream.seek(place)


def _copy(stream: IO[bytes], one: WeightFile, size: int, whence: str) -> Path:
    if (there := verified_copy(one)) is not None:
        return there
    if size > one.most_bytes:
        raise MissingError(
            f"{whence} is not the published file: {size / 1e6:,.1f} MB instead of {one.size}",
            remedy="copy it again from where it is right: sammil weights verify says so there",
        )
    target = folder_to_write() / one.file_name
    check_space(target.parent, size / 1e6)
    seen = hashlib.sha256()
    with atomic_path(target) as temporary:
        with temporary.open("wb") as copy:
            while block := stream.read(_BLOCK):
                seen.update(block)
                copy.write(block)
        if seen.hexdigest() != one.sha256:
            raise MissingError(
                f"{whence} is not the published file: sha256 {seen.hexdigest()}, expected {one.sha256} ({one.size})",
                remedy="copy it again from where it is right: sammil weights verify says so there",
            )
    return target
