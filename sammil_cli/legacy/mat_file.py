"""Numeric arrays of MATLAB files of version 5 to 7. `scipy.io` reads them too, but damaged ones end its process."""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, MissingError, limit_met
from sammil_cli.storage.regular_file import check_regular

_MOST_BYTES = 1 << 30  # of a file, and of each array
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)  # double to uint64; not cells, structures, text, sparse matrices
_COMPLEX = 0x0800


@dataclass(frozen=True, kw_only=True)
class _Element:
    """A part of the file: its data type and its bytes."""

    kind: int
    content: memoryview


def read_mat_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The real numeric arrays of a file by name; what else it holds is left out.

    Raises:
        InputError: it cannot be read, is damaged, or holds an array of more than 1 GiB.
        MissingError: the system lacks memory or files.
    """
    check_regular(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
        content = path.read_bytes()
        if content[:10] != b"MATLAB 5.0" or content[126:128] not in (b"IM", b"MI"):
            raise ValueError("it does not begin as a file of version 5 to 7 does")
        order = "<" if content[126:128] == b"IM" else ">"
        return dict(_arrays(memoryview(content)[_HEADER:], order))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="check the folder") from None
    except (ValueError, struct.error, zlib.error, MemoryError, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError | MissingError:
    met = None if isinstance(error, ValueError) else limit_met(error)
    return met or InputError(
        f"{path} cannot be read as a MATLAB file: {error}",
        remedy="copy it again; a file of version 7.3 is HDF5: save it with -v7",
    )


def _arrays(content: memoryview, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for outer in _elements(content, order, padded=False):
        whole = outer
        if outer.kind == _COMPRESSED:
            unpacked = zlib.decompressobj()
            plain = unpacked.decompress(outer.content, _MOST_BYTES)
            if not unpacked.eof:
                raise ValueError("a compressed array is cut off, or larger than is read")
            whole = next(_elements(memoryview(plain), order, padded=True), outer)
        if whole.kind == _MATRIX and (named := _numbers(whole.content, order)):
            yield named


def _numbers(matrix: memoryview, order: str) -> tuple[str, NDArray[Any]] | None:
    """Name and values of a matrix; None where it is no real numeric one."""
    parts = _elements(matrix, order, padded=True)
    flags, shape, name, values = (next(parts, None) for _ in range(4))
    if flags is None or shape is None or name is None:
        raise ValueError("an array has no shape or name")
    (word,) = struct.unpack_from(order + "I", flags.content)
    if word & 0xFF not in _NUMERIC_CLASSES or word & _COMPLEX or values is None:
        return None
    if values.kind not in _TYPES:
        raise ValueError(f"an array is of the data type {values.kind}")
    sides = np.frombuffer(shape.content, order + "i4").tolist()
    found = np.frombuffer(values.content, order + _TYPES[values.kind])
    if len(sides) < 2 or min(sides) < 0 or math.prod(sides) != len(found):
        raise ValueError(f"an array of the shape {sides} has {len(found)} values")
    return bytes(name.content).decode("ascii"), found.reshape(sides, order="F")


def _elements(content: memoryview, order: str, *, padded: bool) -> Iterator[_Element]:
    """The elements one after the other; `padded`: each begins at a multiple of eight bytes."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        start = at + 8
        if kind >> 16:  # the short form: size and type in one word, up to four bytes in the next
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(content) or (start == at + 4 and size > 4):
            raise ValueError("it is cut off, or a length in it is wrong")
        yield _Element(kind=kind, content=content[start : start + size])
        end = at + 8 if start == at + 4 else start + size
        at = end + (-end % 8 if padded else 0)
