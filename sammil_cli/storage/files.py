"""Atomic writing: a file is there whole or not at all, and says how it was made."""

import contextlib
import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from sammil_cli import __version__
from sammil_cli.errors import InputError, SlideError, limit_met
from sammil_cli.storage.claims import TEMPORARY, owner_tag
from sammil_cli.storage.csv_text import guarded, no_table, separator_of, unguarded
from sammil_cli.storage.regular_file import check_regular
from sammil_cli.storage.shown_text import json_text, shown

SCHEMA_VERSION = 1  # of records: provenance and runs; that of HDF5 files is in storage.schema
_LONGEST_NAME = 255  # bytes
RENAME = "rename it, such as with convmv -f latin1 -t utf8 --notest"
LONGEST_SUFFIX = ".geojson"  # of the files that are written for a slide
Record = Mapping[str, object]  # how a file was made, see `provenance`
Key = Mapping[str, object]  # what a result is made with: inputs by their digests, settings, code


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `path` that replaces it when the block ends without an error."""
    with temporary_sibling(path) as temporary:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """Yields an empty file beside `path` with its suffix, which is gone when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the name itself, which may be as long as the file system allows.
    handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{owner_tag()}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_together() -> Iterator[Callable[[Path], Path]]:
    """Yields what gives a temporary sibling of a file: all replace their files when the block ends without an error.

    The one that was asked for last comes first.
    """
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(atomic_path(path))


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def longest_name(folder: Path) -> int:
    """How many bytes a file's name may have in a folder, which need not be there yet."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path())
    try:
        return os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows
        return _LONGEST_NAME


def check_name(slide_id: str, folder: Path, suffix: str = LONGEST_SUFFIX, most: int | None = None) -> None:
    """Refuses a slide whose files in `folder`, which are called like it, would have too long a name, or no UTF-8 one.

    Args:
        suffix: the longest of those files. most: what `longest_name` says of the folder, where it is known.

    Raises:
        SlideError: `E_NAME`.
    """
    if not is_utf8(slide_id):
        raise SlideError("E_NAME", f"its name is no UTF-8: {shown(slide_id)}", remedy=RENAME)
    most = most or longest_name(folder)
    length = len(os.fsencode(slide_id))
    if length + len(suffix) > most:
        there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path())
        raise SlideError(
            "E_NAME",
            f"its name has {length} bytes, with {suffix} more than the {most} of a file's name in {there} "
            "(letters beyond ASCII have 2 to 4)",
            remedy=f"rename it, here and in tables, to at most {most - len(suffix)} bytes before its suffix",
        )


def is_utf8(name: str | Path) -> bool:
    """Whether a name can be written into a table; an archive of another system may hold names that cannot."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes JSON atomically, two-space indented, keys in the order given; NaN is refused."""
    write_text(path, json_text(value, indent=2) + "\n")


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, for_spreadsheets: bool = True
) -> None:
    """Writes a table atomically; `read_csv` gives the same names back.

    Args:
        for_spreadsheets: names that a spreadsheet would run are guarded (`csv_text.guarded`); False = for programs that
            do not know that.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        careful = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in chain([header], rows):
            cells = [guarded(cell) for cell in row] if for_spreadsheets else list(row)
            lone = any(isinstance(cell, str) and "\r" in cell for cell in cells)  # would end the row if not quoted
            (careful if lone else writer).writerow(cells)


def read_csv(path: Path, required: Sequence[str], *, header: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Reads a table; cells are stripped of blanks, blank lines are passed over.

    Args:
        required: columns that must be there.
        header: the column names of a table without a header line; None = the first line names them.

    Raises:
        InputError: the file is missing, is not text, is separated by something else than commas, lacks a required
            column, or has a column twice.
    """
    return [row for _, row in read_csv_lines(path, required, header=header)]


def read_csv_lines(
    path: Path, required: Sequence[str], *, header: Sequence[str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """As `read_csv`, each row with its line as an editor counts it; of a row of several lines it is the last."""
    check_regular(path)
    try:
        data = path.read_bytes()
        if trouble := no_table(data):
            raise InputError(f"{path} {trouble}", remedy="save it as CSV UTF-8")
        text = data.decode("utf-8-sig")
        if trouble := separator_of(text)[1]:
            raise InputError(f"{path}: {trouble}", remedy=f"save it with commas; begin: {','.join(required)}")
        reader = csv.DictReader(io.StringIO(text, newline=""), fieldnames=header)
        names = [name.strip() for name in reader.fieldnames or []]
        missing = [name for name in required if name not in names]
        if missing:
            raise InputError(
                f"{path}: the header {','.join(names)!r} lacks the column {missing[0]!r}",
                remedy=f"make the first line: {','.join(required)}",
            )
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise InputError(f"{path}: the column {twice[0]!r} appears twice", remedy="rename or delete one")
        reader.fieldnames = names
        rows = []
        for row in reader:
            if any(cell.strip() for cell in row.pop(None, ())):
                raise InputError(
                    f"{path}, line {reader.line_num} has more than {len(names)} cells",
                    remedy="quote cells that hold a comma",
                )
            cells = [cell for cell in row.values() if cell is not None]
            if len(cells) == 1 < len(names) and separator_of(cells[0])[1]:
                raise InputError(
                    f"{path}, line {reader.line_num}: {separator_of(cells[0])[1]}, those of the header by commas",
                    remedy="save it with commas",
                )
            rows.append((reader.line_num, {key: unguarded((value or "").strip()) for key, value in row.items()}))
        return rows
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy=f"write it, first line: {','.join(required)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason})", remedy="save it as CSV UTF-8") from None
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        message = f"{path} cannot be read: {error.strerror}"
        raise InputError(message, remedy="look at its permissions, and at the disk") from None
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}", remedy="save it as CSV UTF-8") from None


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_stored(value: Mapping[str, object]) -> dict[str, Any]:
    """A key or facts as they read back from a file: what JSON makes of their values."""
    stored: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return stored


def digest(value: object) -> str:
    """The sha256 of a JSON-able value in canonical form: the same value gives the same digest anywhere."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: object) -> str:
    """A JSON-able value in the one form that `digest` takes the sum of: sorted names, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def provenance(stage: str, key: Key, libraries: Mapping[str, str]) -> Record:
    """How a file was made, stored in it. No time stamp: the same input gives the same bytes."""
    made = {"stage": stage, "key": dict(key), "libraries": dict(libraries)}
    return {"tool": f"sammil {__version__}", "schema": SCHEMA_VERSION, **made}
