"""Where things lie in an HDF5 file: its attributes, and type, shape and place of its arrays. No array is read.

This is the one place where the HDF5 library meets a file of ours. What it would take from elsewhere (links, virtual
data sets, external storage) or what has no plain numbers is not followed, but listed in `odd` and `odd_facts`.
"""

import itertools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sammil_cli.storage.schema import Value

NO_NUMBERS = "without numbers"  # what `odd` says of an array of text, objects, pairs, …
_MOST_NAMES = 100_000  # attributes or links of one object
_MOST_TEXT = 16 << 20  # bytes or letters of one attribute
_MOST_FACTS = 64 << 20  # letters of all attributes: in a file many of them may share one text
_MOST_VALUES = 16  # of an attribute
_MOST_CHUNKS = 1 << 20
_DAMAGED = (ValueError, TypeError, KeyError, RuntimeError, OSError, OverflowError)  # how h5py says it
_OURS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE)

Key = tuple[int, ...]  # what tells a file from another, and from itself once it was changed


@dataclass(frozen=True)
class Stored:
    """An array in a file: `dtype` as numpy's `str`, `shape`, and where its bytes are.

    `offset`: of the one piece that it lies in, -1 = it does not. `chunks`: offset and size of each piece of shape
    `chunk`, row by row, shuffled and deflated. Neither: it is empty, or stored as sammil does not.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int = -1
    chunk: tuple[int, ...] = ()
    chunks: tuple[tuple[int, int], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_ours(self) -> bool:
        """Whether it is stored as sammil does it."""
        return self.offset >= 0 or bool(self.chunks) or not self.nbytes


@dataclass(frozen=True)
class Layout:
    """What a file holds: attributes, arrays (of groups as `group/name`), and the attributes of arrays.

    `odd`: links to what is no array of plain numbers, and what that is; `odd_facts`: attributes that are neither plain
    numbers nor text.
    """

    key: Key
    facts: Mapping[str, Value]
    arrays: Mapping[str, Stored]
    array_facts: Mapping[str, Mapping[str, Value]]
    odd: Mapping[str, str]
    odd_facts: Mapping[str, str]

    def as_json(self) -> str:
        """As one line; `of_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> "Layout":
        """What `as_json` wrote."""
        content = json.loads(text)
        arrays = {
            name: Stored(
                dtype=stored["dtype"],
                shape=tuple(stored["shape"]),
                offset=stored["offset"],
                chunk=tuple(stored["chunk"]),
                chunks=tuple((at, size) for at, size in stored["chunks"]),
            )
            for name, stored in content["arrays"].items()
        }
        return cls(**{**content, "key": tuple(content["key"]), "arrays": arrays})


def key_of(stat: os.stat_result) -> Key:
    """What identifies a file as it is now."""
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def layout_of(path: Path) -> Layout:
    """Looks through a file. Call it in a process that may hang or crash: see `hdf5_process`.

    Raises:
        OSError, RuntimeError, KeyError, ValueError, TypeError: h5py's ways to say that a file is damaged.
    """
    with h5py.File(path, "r", locking=False) as file:
        stat = os.fstat(file.id.get_vfd_handle())
        facts, odd_facts = _attributes(file.id)
        odd: dict[str, str] = {}
        arrays: dict[str, Stored] = {}
        array_facts: dict[str, Mapping[str, Value]] = {}
        todo = [("", file.id)]
        for above, group in todo:
            for name in _names(group.links.iterate):
                title = above + name.decode("utf-8", "replace")
                try:
                    if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                        raise _OddError("a link to elsewhere")
                    found = h5py.h5o.open(group, name)
                    if isinstance(found, h5py.h5d.DatasetID):
                        arrays[title] = _stored(found, stat.st_size)
                        if h5py.h5a.get_num_attrs(found):
                            array_facts[title] = _attributes(found)[0]
                    elif isinstance(found, h5py.h5g.GroupID) and not above:  # one in another could be in itself
                        todo.append((f"{title}/", found))
                    else:
                        raise _OddError("no array")
                except _DAMAGED as error:
                    odd[title] = _words_of(error)
    texts = [value for held in (facts, *array_facts.values()) for value in held.values() if isinstance(value, str)]
    if sum(map(len, texts)) > _MOST_FACTS:
        raise ValueError(f"its attributes hold more than {_MOST_FACTS >> 20} MiB of text")
    return Layout(key=key_of(stat), facts=facts, arrays=arrays, array_facts=array_facts, odd=odd, odd_facts=odd_facts)


class _OddError(ValueError):
    """Something that is not as sammil writes it."""


def _words_of(error: Exception) -> str:
    return str(error) if isinstance(error, _OddError) else f"unreadable ({error.args[0] if error.args else error!r})"


def _names(iterate: Any) -> list[bytes]:
    """The names that one of h5py's iterations gives."""
    names: list[bytes] = []

    def add(name: bytes) -> bool | None:
        names.append(name)
        return len(names) > _MOST_NAMES or None  # True ends it

    iterate(add)
    if len(names) > _MOST_NAMES:
        raise ValueError(f"it has more than {_MOST_NAMES} attributes or data sets")
    return names


def _attributes(holder: h5py.h5g.GroupID) -> tuple[dict[str, Value], dict[str, str]]:
    facts: dict[str, Value] = {}
    odd: dict[str, str] = {}
    for name in _names(lambda add: h5py.h5a.iterate(holder, add)):
        title = name.decode("utf-8", "replace")
        try:
            facts[title] = _value(h5py.h5a.open(holder, name))
        except _DAMAGED as error:
            odd[title] = _words_of(error)
    return facts, odd


def _value(stored: h5py.h5a.AttrID) -> Value:
    kind, shape = stored.get_type(), _shape_of(stored.get_space())
    if kind.committed():
        raise _OddError("of a named type")
    if math.prod(shape) > _MOST_VALUES or stored.get_storage_size() > _MOST_TEXT:
        raise _OddError("too long")
    if kind.get_class() == h5py.h5t.STRING and not shape:
        array = np.empty((), stored.dtype)
        stored.read(array)
        text = array.item()
        if len(text) > _MOST_TEXT:  # a text of any length has a storage size of some bytes: it lies elsewhere
            raise _OddError("too long")
        return text.decode("utf-8") if isinstance(text, bytes) else str(text)
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        raise _OddError("neither text nor numbers")
    array = np.empty(shape, kind.dtype)
    stored.read(array)
    values: int | float | list[int] | list[float] = array.astype(
        np.float64 if array.dtype.kind == "f" else int
    ).tolist()
    return values


def _shape_of(space: h5py.h5s.SpaceID) -> tuple[int, ...]:
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise _OddError("empty")
    return tuple(int(side) for side in space.get_simple_extent_dims())


def _stored(data: h5py.h5d.DatasetID, size: int) -> Stored:
    """Where an array lies; `ValueError` says why it is none of ours."""
    kind, plan, shape = data.get_type(), data.get_create_plist(), _shape_of(data.get_space())
    if kind.committed():
        raise _OddError("of a named type")
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
        raise _OddError(NO_NUMBERS)
    dtype = kind.dtype
    if not h5py.h5t.py_create(dtype).equal(kind):
        raise _OddError("of a number type that numpy does not have")
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise _OddError("taken from another file")
    nbytes, filters = math.prod(shape) * dtype.itemsize, [plan.get_filter(at)[0] for at in range(plan.get_nfilters())]
    if nbytes and plan.get_layout() == h5py.h5d.CONTIGUOUS and (offset := data.get_offset()) is not None:
        if offset + nbytes > size:
            raise _OddError(f"said to end at byte {offset + nbytes} of {size}")
        return Stored(dtype.str, shape, offset)
    if nbytes and plan.get_layout() == h5py.h5d.CHUNKED and tuple(filters) == _OURS:
        return _in_chunks(data, dtype, shape, tuple(plan.get_chunk()), size)
    return Stored(dtype.str, shape)


def _in_chunks(
    data: h5py.h5d.DatasetID, dtype: np.dtype[Any], shape: tuple[int, ...], chunk: tuple[int, ...], size: int
) -> Stored:
    grid = [range(0, side, step) for side, step in zip(shape, chunk, strict=True)]
    found: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(info: Any) -> None:
        if not info.filter_mask and info.byte_offset is not None and info.byte_offset + info.size <= size:
            found[tuple(int(corner) for corner in info.chunk_offset)] = (int(info.byte_offset), int(info.size))

    if (count := math.prod(len(places) for places in grid)) > _MOST_CHUNKS:
        raise _OddError(f"in {count} pieces")
    data.chunk_iter(add)
    if len(found) != count:  # the others were never written, lie beyond the file, or are filtered otherwise
        return Stored(dtype.str, shape)
    places = itertools.product(*grid)
    return Stored(dtype.str, shape, chunk=chunk, chunks=tuple(found[place] for place in places))
