"""HDF5 files: named arrays, attributes and provenance, written atomically, byte-identical for the same content.

Each kind has a schema (`storage.schema`), and each file sums of what it holds (`storage.sums`). Both are checked once
per process and file, before anything of it is used; a file that was changed since is another one.
"""

import json
import math
import mmap
import os
import stat
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.content import content_of
from sammil_cli.storage.files import Record, atomic_path
from sammil_cli.storage.guarded_json import Parsed, parse_json
from sammil_cli.storage.hdf5_layout import Key, Layout, Stored, key_of
from sammil_cli.storage.hdf5_process import UnreadableError, look_into
from sammil_cli.storage.hdf5_to_disk import new_hdf5
from sammil_cli.storage.paths import is_called_like
from sammil_cli.storage.schema import VERSION, Schema, Value, kinds, schema_of
from sammil_cli.storage.sums import sum_of_array, sum_of_facts

Arrays = dict[str, NDArray[Any]]
Facts = dict[str, Any]
Rules = Callable[[Arrays, Facts], str]  # what is wrong between the fields of a file; empty where nothing is

_SUMS = "sums"
_OF_FACTS = "attributes"  # the name of the sum of all attributes
_MOST_EXPANSION = 1032  # of gzip
_SETTLED_NS = 1_000_000_000  # a file that was changed so lately may be changed again without its times showing it


@dataclass
class _Known:
    """A file whose attributes and shapes were found right; `right`: its arrays whose numbers and sums were, too."""

    layout: Layout
    schema: Schema
    sums: Mapping[str, str]
    right: set[str] = field(default_factory=set)


_known: dict[Key, _Known] = {}  # what this process has seen
_unreadable: dict[Key, str] = {}  # and what could not be read, with the reason: it may have taken seconds to find out


def write_hdf5(
    path: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
    provenance: Record,
    *,
    rules: Rules | None = None,
) -> None:
    """Writes arrays and attributes, and their sums. Attributes that are None are left out.

    Args:
        kind: what the file holds: the name of its schema.
        provenance: see `storage.files.provenance`; stored as JSON in the attribute `provenance`.
        rules: as in `read_hdf5`.

    Raises:
        ValueError: the file could not be read again: it breaks the schema or the rules, or has the name of another
            slide.
    """
    schema = schema_of(kind)
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    facts: dict[str, Value] = {
        "kind": kind,
        "schema": VERSION,
        **{name: _plain(value) for name, value in attributes.items() if value is not None},
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    trouble = "" if _is_of(path, facts) else f"it is of the slide {facts['slide_id']!r}"
    trouble = trouble or _wrong(schema, facts, held) or (rules(held, facts) if rules else "")
    if trouble:
        raise ValueError(f"{path} would not be read again: {trouble}")
    sums = {_OF_FACTS: sum_of_facts(facts)} | {name: sum_of_array(array) for name, array in held.items()}
    with atomic_path(path) as temporary, new_hdf5(temporary, libver="v110") as file:
        for name, array in held.items():
            packed = schema.arrays[name].compressed and array.size
            options = {"compression": "gzip", "shuffle": True} if packed else {}
            file.create_dataset(name, data=array, track_times=False, **options)
        for name, value in {**facts, _SUMS: json.dumps(sums, sort_keys=True)}.items():
            file.attrs[name] = value


def read_hdf5(
    path: Path, kind: str, *, arrays: bool | tuple[str, ...] = True, mapped: bool = False, rules: Rules | None = None
) -> tuple[Arrays, Facts]:
    """Reads arrays and attributes (`provenance` decoded) that are as they were written.

    Args:
        arrays: all, none, or those of these names.
        mapped: maps the arrays that lie in the file as one run of bytes, instead of reading them. A mapped array costs
            no memory of its own and holds the file open. Writing to it does not change the file. It stays as it was
            when the file is replaced or deleted, as `write_hdf5` and DVC do; shortening the file in place breaks it.
        rules: says what is wrong between the fields that are read.

    Raises:
        InputError: `E_DAMAGED`, not an HDF5 file, of another kind, or against its schema, its sums or the rules ·
            `E_MIXED`, it has the name of another slide · without a code: not there, changed meanwhile, a newer schema.
        MissingError: the disk failed, see `errors.limit_met`.
    """
    with _opened(path, kind) as stream:
        known = _look(path, kind, stream)
        if not _is_of(path, known.layout.facts):
            raise InputError(
                f"{path} is of the slide {known.layout.facts['slide_id']!r}, as it says inside",
                remedy=f"give it back its name, or {_again(path, kind)}",
                code="E_MIXED",
            )
        names = [name for name in known.schema.arrays if name in known.layout.arrays]
        names = names if arrays is True else [name for name in names if arrays and name in arrays]
        try:
            content = _read(stream, {name: known.layout.arrays[name] for name in names}, mapped=mapped)
        except (OSError, ValueError, zlib.error) as error:
            if met := limit_met(error):
                raise met from None
            raise damaged(path, kind, f"cannot be read: {error}") from None
    for name in (name for name in names if name not in known.right):
        wanted = known.sums.get(name) if known.sums else None
        if wanted is not None and sum_of_array(content[name]) != wanted:
            raise damaged(path, kind, f"is damaged: the checksum of {name} differs from the one it was written with")
        if trouble := known.schema.wrong_numbers(name, content[name]):
            raise damaged(path, kind, f"is damaged: {trouble}")
        known.right.add(name)
    facts: Facts = {**known.layout.facts, "provenance": _provenance_of(path, known)}
    if rules is not None and (trouble := rules(content, facts)):
        raise damaged(path, kind, f"is damaged: {trouble}")
    return content, facts


def read_provenance(path: Path) -> Parsed:
    """The provenance of a file of any kind, as JSON has it; raises as `read_hdf5`, but for `E_MIXED`."""
    with _opened(path, "") as stream:
        return _provenance_of(path, _look(path, "", stream))


def _provenance_of(path: Path, known: _Known) -> Parsed:
    return parse_json(str(known.layout.facts["provenance"]), path, with_nan=True)


def damaged(path: Path, kind: str, what: str) -> InputError:
    """The error of a file that is not as it was written."""
    return InputError(f"{path} {what}", remedy=_again(path, kind), code="E_DAMAGED")


def _again(path: Path, kind: str) -> str:
    stage = f": sammil {schema_of(kind).stage}" if kind in kinds() else ""
    return f"delete it and run the stage again{stage}; under DVC: dvc checkout {path.parent}"


def _plain(value: Any) -> Value:
    """An attribute as it reads back."""
    if isinstance(value, str):
        return value
    plain: int | float | list[int] | list[float] = np.asarray(value).tolist()
    return plain


def _is_of(path: Path, facts: Mapping[str, Value]) -> bool:
    """Whether a file is called like its slide, where it names one."""
    return "slide_id" not in facts or is_called_like(path, facts["slide_id"])


def _wrong(schema: Schema, facts: Mapping[str, Value], held: Mapping[str, NDArray[Any]]) -> str:
    """What is wrong with what is to be written."""
    unknown = [name for name in held if name not in schema.arrays]
    unknown += [n for n in facts if n not in schema.attributes and n not in ("kind", "schema", "provenance")]
    if unknown:
        return f"its schema does not have {unknown[0]}"
    shapes = {name: (_word_of(array.dtype), array.shape) for name, array in held.items()}
    numbers = (schema.wrong_numbers(name, array) for name, array in held.items())
    return schema.wrong_facts(facts) or schema.wrong_shapes(shapes) or next(filter(None, numbers), "")


def _word_of(dtype: np.dtype[Any]) -> str:
    """A type as schemas name it; other machines' byte order is another type."""
    return dtype.name if dtype.isnative else dtype.str


def _opened(path: Path, kind: str) -> IO[bytes]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise damaged(path, kind, "cannot be read: it is no file")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        raise InputError(f"{path} cannot be read: {error}", remedy="look at its permissions, and at the disk") from None


def _look(path: Path, kind: str, stream: IO[bytes]) -> _Known:
    """What a file holds, found to be of its kind and right but for the numbers in its arrays.

    Args:
        kind: empty = any that has a schema.
    """
    key = key_of(os.fstat(stream.fileno()))
    if (known := _known.get(key)) is not None and kind in ("", known.schema.kind):
        return known
    try:
        if key in _unreadable:
            raise UnreadableError(_unreadable[key])
        layout = look_into(path)
    except UnreadableError as error:
        if met := limit_met(error):  # a disk that fails, say: the file may be whole
            raise met from None
        if abs(time.time_ns() - key[-1]) > _SETTLED_NS:
            _unreadable[key] = str(error)
        other = content_of(path)
        if other and not other.plain and not other.what.startswith("an HDF5"):  # a pointer of Git LFS or DVC, say
            raise InputError(f"{path} is no HDF5 file but {other.what}", remedy=other.fix, code="E_DAMAGED") from None
        raise damaged(path, kind, f"cannot be read: {error}") from None
    if layout.key != key:
        raise InputError(f"{path} was changed while it was read", remedy="run the same command again")
    known = _checked(path, kind, layout)
    if abs(time.time_ns() - key[-1]) > _SETTLED_NS:
        _known[key] = known
    return known


def _checked(path: Path, kind: str, layout: Layout) -> _Known:
    facts = layout.facts
    found = facts.get("kind", "not written by sammil")
    if found not in kinds() if not kind else found != kind:
        raise InputError(
            f"{path} is no {kind} file ({found})" if kind else f"{path} is no file of sammil ({found})",
            remedy="older tools' files come in through: sammil convert-legacy; else delete it and run its stage",
            code="E_DAMAGED",
        )
    version = facts.get("schema")
    if not isinstance(version, int) or version < 1:
        raise damaged(path, kind, "is damaged: schema is missing, or no version")
    if version > VERSION:
        raise InputError(f"{path} was written by a newer sammil", remedy="upgrade sammil")
    schema = schema_of(str(found))
    if trouble := _trouble_of(schema, layout):
        raise damaged(path, kind, f"is damaged: {trouble}")
    return _Known(layout, schema, _sums_of(path, kind, layout))


def _trouble_of(schema: Schema, layout: Layout) -> str:
    """What is wrong with the attributes, types and shapes of a file; empty where nothing is."""
    facts, arrays, odd = layout.facts, layout.arrays, {**layout.odd_facts, **layout.odd}
    ours = {*schema.arrays, *schema.attributes, "provenance", _SUMS}
    for name, what in odd.items():
        if facts["schema"] != 1 or name in ours:  # the first version let others be there
            return f"{name} is {what}"
    if not isinstance(facts.get("provenance"), str):
        return "provenance is missing, or no text"
    try:
        parse_json(str(facts["provenance"]), "provenance", with_nan=True)
    except InputError:
        return "provenance is no JSON"
    for name, spec in schema.arrays.items():
        if name in arrays and (not arrays[name].is_ours or (arrays[name].chunks and not spec.compressed)):
            return f"{name} is stored otherwise than sammil does"
    found = {name: (_word_of(np.dtype(stored.dtype)), stored.shape) for name, stored in arrays.items()}
    return schema.wrong_facts(facts) or schema.wrong_shapes(found)


def _sums_of(path: Path, kind: str, layout: Layout) -> Mapping[str, str]:
    """The sums of a file, that of its attributes verified; none in files of the first version."""
    if _SUMS not in layout.facts and layout.facts["schema"] == 1:
        return {}
    try:
        sums = parse_json(str(layout.facts.get(_SUMS)), path)
    except InputError:
        sums = None
    if (
        not isinstance(sums, dict)
        or sums.keys() - {_OF_FACTS} != layout.arrays.keys()
        or not all(isinstance(one, str) for one in sums.values())
    ):
        raise damaged(path, kind, "is damaged: it does not hold the checksums of its arrays")
    if sum_of_facts({name: value for name, value in layout.facts.items() if name != _SUMS}) != sums.get(_OF_FACTS):
        raise damaged(path, kind, "is damaged: the checksum of its attributes differs from the one it was written with")
    return sums


def _read(stream: IO[bytes], wanted: Mapping[str, Stored], *, mapped: bool) -> Arrays:
    """Arrays by name; those that lie in one piece are parts of the file, where that can be mapped."""
    whole = _map(stream) if mapped else None
    content: Arrays = {}
    for name, stored in wanted.items():
        dtype = np.dtype(stored.dtype)
        if stored.chunks:
            content[name] = _unpacked(stream, stored, dtype)
        elif stored.offset < 0:
            content[name] = np.empty(stored.shape, dtype)
        elif whole is not None and stored.offset % dtype.alignment == 0:
            if stored.offset + stored.nbytes > len(whole):  # shortened since: touching it would kill the process
                raise OSError(f"{name} ends at byte {stored.offset + stored.nbytes} of {len(whole)}")
            content[name] = np.ndarray(stored.shape, dtype, whole, stored.offset)
        else:
            array = np.empty(stored.shape, dtype)
            stream.seek(stored.offset)
            if stream.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
                raise OSError(f"{name} ends beyond the file")
            content[name] = array
    return content


def _map(stream: IO[bytes]) -> mmap.mmap | None:
    """The bytes of an open file; None where it cannot be mapped: the file system has no maps, or too many are open."""
    try:
        return mmap.mmap(stream.fileno(), os.fstat(stream.fileno()).st_size, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None


def _unpacked(stream: IO[bytes], stored: Stored, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of pieces, each shuffled and deflated; not by the library, which unpacks a piece to any length."""
    length = math.prod(stored.chunk) * dtype.itemsize
    if length > _MOST_EXPANSION * (max(size for _, size in stored.chunks) + 1):
        raise ValueError("its pieces would unpack to more than they can hold")
    array = np.empty(stored.shape, dtype)
    grid = product(*(range(0, side, step) for side, step in zip(stored.shape, stored.chunk, strict=True)))
    for corner, (offset, size) in zip(grid, stored.chunks, strict=True):
        stream.seek(offset)
        unpacking = zlib.decompressobj()
        piece = unpacking.decompress(stream.read(size), length + 1)
        if len(piece) != length or not unpacking.eof:
            raise ValueError("a piece does not unpack to its length")
        numbers = np.frombuffer(piece, np.uint8).reshape(dtype.itemsize, -1).T.copy().view(dtype).reshape(stored.chunk)
        place = tuple(slice(at, at + step) for at, step in zip(corner, stored.chunk, strict=True))
        part = array[place]
        part[...] = numbers[tuple(slice(0, side) for side in part.shape)]
    return array
