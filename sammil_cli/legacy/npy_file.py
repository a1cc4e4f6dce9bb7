"""Arrays of NumPy (`.npy`): a slide's features or its patches' corners; nothing in such a file is unpickled."""

import ast
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError, limit_met
from sammil_cli.legacy.h5_file import damaged, missing
from sammil_cli.storage.regular_file import is_endless

SUFFIX = ".npy"
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16  # bytes
_HEADER_KEYS = {"descr", "fortran_order", "shape"}


@dataclass(frozen=True, kw_only=True)
class NpyHeader:
    """What a file says of its array, whose numbers begin at the byte `start`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    start: int

    @property
    def is_matrix(self) -> bool:
        """Whether it may be one slide's features, (rows, d) or (1, rows, d) floating-point numbers."""
        shape = self.shape[1:] if len(self.shape) == 3 and self.shape[0] == 1 else self.shape
        return len(shape) == 2 and shape[1] > 2 and np.issubdtype(self.dtype, np.floating)

    @property
    def is_places(self) -> bool:
        """Whether it may be the corners of patches, (rows, 2) numbers."""
        return len(self.shape) == 2 and self.shape[1] == 2 and self.dtype.kind in "iuf"


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a file.

    Raises:
        SlideError: as `read_npy_header`.
    """
    header = read_npy_header(path)
    try:
        flat = np.fromfile(path, header.dtype, math.prod(header.shape), offset=header.start)
        array = flat.reshape(header.shape, order="F" if header.by_columns else "C")
        return np.ascontiguousarray(array.astype(header.dtype.newbyteorder("="), copy=False))
    except (OSError, ValueError, MemoryError) as error:
        raise _unreadable(path, error) from None


def read_npy_header(path: Path) -> NpyHeader:
    """What a file says of its array; the numbers must all be there, and be numbers.

    Raises:
        SlideError: `E_LEGACY_MISSING` · `E_LEGACY_DAMAGED` · `E_LEGACY_UNSAFE`, it holds Python's objects, which are
            pickles. MissingError: the disk failed.
    """
    if not path.exists():
        raise missing(path)
    if is_endless(path):
        raise damaged(path, "it is no file but a pipe, a socket or a device")
    try:
        with path.open("rb") as stream:
            header = _header(stream)
            held = path.stat().st_size - header.start
    except (OSError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise _unreadable(path, error) from None
    if header.dtype.hasobject:
        raise SlideError(
            "E_LEGACY_UNSAFE",
            f"{path} holds Python's objects as a pickle, which could run code; nothing was run",
            remedy="write the numbers alone: numpy.save(path, numpy.asarray(features, numpy.float32))",
        )
    if (wanted := math.prod(header.shape) * header.dtype.itemsize) != held:
        raise damaged(path, f"an array of the shape {header.shape} takes {wanted:,} bytes, and it has {held:,}")
    return header


def _header(stream: IO[bytes]) -> NpyHeader:
    """Reads as `numpy.lib.format` describes it: the magic word, a version, a length, and a dictionary as text."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin as a file of numpy.save does")
    major = stream.read(2)[:1]
    wide = {b"\x01": 2, b"\x02": 4, b"\x03": 4}.get(major)
    if wide is None:
        raise ValueError("it is of a version that NumPy does not write")
    length = int.from_bytes(stream.read(wide), "little")
    if not 0 < length <= _LONGEST_HEADER:
        raise ValueError(f"its header would have {length:,} bytes")
    facts = ast.literal_eval(stream.read(length).decode("latin-1" if wide == 2 else "utf-8").strip())
    if not isinstance(facts, dict) or facts.keys() != _HEADER_KEYS:
        raise ValueError("its header does not say shape and type")
    shape = facts["shape"]
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("its shape is none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a type that NumPy is about to give up
        dtype = np.dtype(
            [tuple(part) for part in facts["descr"]] if isinstance(facts["descr"], list) else facts["descr"]
        )
    if not dtype.itemsize:
        raise ValueError(f"its numbers of the type {dtype} take no room")
    return NpyHeader(shape=shape, dtype=dtype, by_columns=facts["fortran_order"] is True, start=stream.tell())


def _unreadable(path: Path, error: Exception) -> Exception:
    met = limit_met(error) if isinstance(error, OSError | MemoryError) else None
    return met or damaged(path, str(error) or type(error).__name__)
