"""HDF5 files: named arrays, attributes and provenance, written atomically, byte-identical for the same content."""

import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.content import content_of
from sammil_cli.storage.files import SCHEMA_VERSION, Record, atomic_path
from sammil_cli.storage.hdf5_to_disk import new_hdf5

Arrays = dict[str, NDArray[Any]]
_STAGES = {"artefacts": "segment", "patches": "patch", "regions": "sam", "bag": "extract"}  # kind -> who writes it


class _Content(dict[str, Any]):
    """Arrays or attributes of a file: looking up one that it lacks is an `InputError`."""

    def __init__(self, path: Path, kind: str, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self._path, self._kind = path, kind

    def __missing__(self, name: str) -> Any:
        raise InputError(f"{self._path} is damaged: {name} is missing", remedy=_again(self._kind))


def write_hdf5(
    path: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
    provenance: Record,
    *,
    compressed: tuple[str, ...] = (),
) -> None:
    """Writes arrays (contiguous, or gzip for the names in `compressed`) and attributes.

    Args:
        kind: what the file holds (`patches`, `regions`, `bag`), checked on reading.
        provenance: see `storage.files.provenance`; stored as JSON in the attribute `provenance`.
    """
    with atomic_path(path) as temporary, new_hdf5(temporary, libver="v110") as file:
        for name, array in arrays.items():
            options = {"compression": "gzip", "shuffle": True} if name in compressed and array.size else {}
            file.create_dataset(name, data=array, track_times=False, **options)
        file.attrs["kind"] = kind
        file.attrs["schema"] = SCHEMA_VERSION
        for name, value in attributes.items():
            if value is not None:
                file.attrs[name] = value
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)


def read_hdf5(
    path: Path,
    kind: str,
    *,
    arrays: bool | tuple[str, ...] = True,
    attributes: bool = True,
    mapped: bool = False,
    shapes: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Arrays, dict[str, Any]]:
    """Reads arrays and attributes (`provenance` decoded); looking up one that is missing is an `InputError`.

    Args:
        arrays: all, none, or those of these names. attributes: all, or kind and schema only.
        mapped: maps the arrays that lie in the file as one run of bytes, instead of reading them. A mapped array costs
            no memory of its own and holds the file open. Writing to it does not change the file. It stays as it was
            when the file is replaced or deleted, as `write_hdf5` and DVC do; shortening the file in place breaks it.
        shapes: of arrays, such as `n 2`; a letter is the same length in all of them.

    Raises:
        InputError: not an HDF5 file, damaged, another kind, a newer schema, or other shapes.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            ours = h5py.h5a.exists(file.id, b"kind")
            wanted = None if attributes else (b"kind", b"schema")
            facts = _Content(path, kind, _read_attributes(file, wanted) if ours else {})
            if facts.get("kind") != kind:
                found = facts.get("kind", "not written by sammil")
                raise InputError(
                    f"{path} is no {kind} file ({found})",
                    remedy="older tools' files come in through: sammil convert-legacy",
                )
            if facts["schema"] > SCHEMA_VERSION:
                raise InputError(f"{path} was written by a newer sammil", remedy="upgrade sammil")
            names = arrays if isinstance(arrays, tuple) else tuple(file) if arrays else ()
            content = _Content(path, kind, _read_arrays(file, names, _map(file) if mapped else None))
        if attributes:
            facts["provenance"] = json.loads(facts["provenance"])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's ways to say that a file is damaged
        if met := limit_met(error):
            raise met from None
        other = content_of(path)
        if other and not other.plain and not other.what.startswith("an HDF5"):  # a pointer of Git LFS or DVC, say
            raise InputError(f"{path} is no HDF5 file but {other.what}", remedy=other.fix) from None
        raise InputError(f"{path} cannot be read: {error}", remedy=_again(kind)) from None
    if wrong := _wrong_shape(content, shapes):
        raise InputError(f"{path} is damaged: {wrong}", remedy=_again(kind))
    return content, facts


def _again(kind: str) -> str:
    return "delete it and run the stage again" + (f": sammil {_STAGES[kind]}" if kind in _STAGES else "")


def _wrong_shape(arrays: Arrays, shapes: Mapping[str, str]) -> str:
    """The first array that is not of its shape; empty where all are."""
    lengths: dict[str, int] = {}
    for name in (name for name in shapes if name in arrays):
        found, sides = arrays[name].shape, shapes[name].split()
        pairs = zip(found, sides, strict=False)
        wanted = tuple(int(side) if side.isdigit() else lengths.setdefault(side, length) for length, side in pairs)
        if found != wanted or len(found) != len(sides):
            known = ", ".join(f"{side} = {length}" for side, length in lengths.items() if side in sides)
            return f"{name} has the shape {found}, not ({', '.join(sides)})" + (f" with {known}" if known else "")
    return ""


def _read_attributes(file: h5py.File, names: tuple[bytes, ...] | None) -> dict[str, Any]:
    """What `write_hdf5` stored; a mapped bag is open in half a millisecond, and `file.attrs` would take as much."""
    if names is None:
        found: list[bytes] = []
        h5py.h5a.iterate(file.id, found.append)
        names = tuple(found)
    attributes = {}
    for name in names:
        stored = h5py.h5a.open(file.id, name)
        array = np.empty(stored.shape, stored.dtype)
        stored.read(array)
        value = array if array.ndim else array.item()
        attributes[name.decode()] = value.decode() if isinstance(value, bytes) else value
    return attributes


def _read_arrays(file: h5py.File, names: tuple[str, ...], whole: mmap.mmap | None) -> Arrays:
    """Arrays by name; those that `whole` can give are parts of it."""
    content: Arrays = {}
    for name in names:
        part = None if whole is None else _part(whole, h5py.h5d.open(file.id, name.encode()), name)
        content[name] = file[name][()] if part is None else part
    return content


def _map(file: h5py.File) -> mmap.mmap | None:
    """The bytes of the file that HDF5 has opened: by now, its path may lead to another.

    None where there can be no map: a file system that has none, or too many open files.
    """
    descriptor: int = file.id.get_vfd_handle()
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size, access=mmap.ACCESS_COPY)
    except OSError:
        return None


def _part(whole: mmap.mmap, dataset: h5py.h5d.DatasetID, name: str) -> NDArray[Any] | None:
    """An array as a part of its file, or None where it is empty, not one run of bytes, or not aligned to its type.

    Raises:
        OSError: it reaches beyond the end of the file, where touching it would kill the process.
    """
    offset, dtype, shape = dataset.get_offset(), dataset.dtype, dataset.shape
    if offset is None or offset % dtype.alignment:
        return None
    end = offset + math.prod(shape) * dtype.itemsize
    if end > len(whole):
        raise OSError(f"{name} ends at byte {end} of {len(whole)}")
    return np.ndarray(shape, dtype, whole, offset)
