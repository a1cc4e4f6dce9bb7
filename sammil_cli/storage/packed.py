"""A small text file, plain or packed: `.gz`, or a `.zip` that holds one."""

import contextlib
import gzip
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.files import atomic_path, temporary_sibling
from sammil_cli.storage.regular_file import check_regular

PACKED = (".gz", ".zip")
MOST_BYTES = 1 << 29  # of text: a file (or what a small one unpacks to) must not fill the memory
# What damaged, encrypted and unknown archives raise; ValueError for names that are no text.
_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def read_packed(path: Path, *, wanted: Callable[[str], bool]) -> tuple[str, bytes]:
    """The name in small letters, without `.gz`, and the content of a file; of a `.zip` those of the one file in it.

    Args:
        wanted: says of a name in a `.zip` whether that file is looked for; others in it are passed over.

    Raises:
        InputError: no such file, or it cannot be unpacked, is too large, or holds more or less than one wanted file.
    """
    check_regular(path)
    kind = path.suffix.lower()
    try:
        if kind == ".zip":
            with zipfile.ZipFile(path) as archive:
                name = _only_member(path, archive, wanted)
                with archive.open(name) as member:
                    return PurePosixPath(name).name.lower(), _read(path, member)
        if kind == ".gz":
            with gzip.open(path) as stream:
                return path.stem.lower(), _read(path, stream)
        with path.open("rb") as plain:
            return path.name.lower(), _read(path, plain)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except _DAMAGED as error:
        if met := limit_met(error):
            raise met from None
        raise InputError(f"{path} cannot be read: {error}", remedy="copy or export it again") from None


@contextlib.contextmanager
def packed_path(path: Path) -> Iterator[Path]:
    """As `files.atomic_path`; what the block writes is packed where the name ends with `.gz`.

    The same content gives the same bytes: no name and no time is stored.
    """
    if path.suffix.lower() != ".gz":
        with atomic_path(path) as temporary:
            yield temporary
        return
    with atomic_path(path) as packed, temporary_sibling(path.with_suffix("")) as plain:
        yield plain
        with (
            plain.open("rb") as content,
            packed.open("wb") as stream,
            gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as archive,
        ):
            shutil.copyfileobj(content, archive)


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _only_member(path: Path, archive: zipfile.ZipFile, wanted: Callable[[str], bool]) -> str:
    places = [(name, PurePosixPath(name)) for name in archive.namelist() if not name.endswith("/")]
    seen = [(name, place) for name, place in places if place.name and not _is_of_macos(place)]
    found = [name for name, place in seen if wanted(place.name)]
    if len(found) != 1:
        names = ", ".join(found[:3] or [name for name, _ in seen[:3]]) or "nothing"
        raise InputError(
            f"{path} holds {len(found) or 'no'} drawings, not one ({names})",
            remedy="unpack it, and keep one file for each slide",
        )
    return found[0]


def _is_of_macos(place: PurePosixPath) -> bool:
    """Whether macOS has added it: that lies in __MACOSX and begins with a dot."""
    return place.parts[0] == "__MACOSX" or place.name.startswith(".")


def _read(path: Path, stream: _Stream) -> bytes:
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 20} MiB", remedy="export fewer objects")
    return content
