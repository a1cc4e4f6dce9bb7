"""What answers the names in a pickle: recorders of this package, never what the names mean elsewhere.

The names, and why each is safe:

- `numpy._reconstruct`, `numpy._frombuffer`, `numpy.ndarray`: an array to be filled; its shape must fit its bytes.
- `numpy.dtype`: booleans, integers and floats of 1 to 8 bytes, text of a fixed length; nothing that holds objects.
- `numpy.scalar`: one number of such a type.
- `_codecs.encode`: how protocol 2 spells bytes; only text to latin1.
- `bytes`, `bytearray`: only from bytes or from nothing; a number would reserve that much memory.
- `collections.OrderedDict`: only from pairs; becomes a plain dictionary.
"""

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_LAST_CHARACTER = 0x10FFFF
_TEXT = re.compile("U[1-9][0-9]{0,3}")  # the number of characters, of 4 bytes each
_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class StandIn:
    """Answers a name of the list; it can be called with what numpy writes, and nothing can be set on it."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., object]) -> None:
        self._build = build

    def __call__(self, *arguments: object) -> object:
        """What the name gives for these arguments."""
        return self._build(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function is given a state")


class Dtype:
    """A number type by its name (`b1`, `i4`, `f8`, …) and, from its state, its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, name: object, *_flags: object) -> None:
        if not isinstance(name, str) or not (name in _DTYPES or _TEXT.fullmatch(name)):
            raise pickle.UnpicklingError(f"arrays of type {name!r} are not read")
        self.dtype: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[0] != 3 or state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(f"arrays of type {state!r} are not read")
        self.dtype = self.dtype.newbyteorder(state[1])


class PendingArray:
    """An array to be: type, shape, order and bytes, checked against each other."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: object, dtype: object, shape: object, order: object) -> "PendingArray":
        """Takes an array's bytes after checking that they are as many as its type and shape need."""
        if not isinstance(dtype, Dtype) or not isinstance(data, bytes | bytearray) or order not in ("C", "F"):
            raise pickle.UnpicklingError("an array's state is not what numpy writes")
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise pickle.UnpicklingError("an array's shape is not what numpy writes")
        if len(shape) > 32 or math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {shape} has {len(data)} bytes")
        array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
        if dtype.dtype.kind == "U":  # numpy takes any bytes for text
            code = np.frombuffer(data, dtype.dtype.str[0] + "u4")
            if (code > _LAST_CHARACTER).any():
                raise pickle.UnpicklingError("an array of text holds bytes that are none")
        self.array = array
        return self


def _reconstruct(*_arguments: object) -> PendingArray:
    return PendingArray()


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> PendingArray:
    return PendingArray().fill(data, dtype, shape, order)


def _scalar(dtype: object, data: object) -> PendingArray:
    return PendingArray().fill(data, dtype, (), "C")


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("_codecs.encode is for bytes only")
    return text.encode("latin1")


def _bytes(data: object = b"") -> bytes:
    if not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("bytes are made of bytes only")
    return bytes(data)


def _ordered(pairs: object = ()) -> dict[object, object]:
    if not isinstance(pairs, list | tuple):
        raise pickle.UnpicklingError("an OrderedDict is made of pairs only")
    return dict(pairs)


def _refuse(*_arguments: object) -> object:
    raise pickle.UnpicklingError("numpy.ndarray is never called by name")


NAMES: dict[tuple[str, str], StandIn] = {
    ("numpy", "ndarray"): StandIn(_refuse),
    ("numpy", "dtype"): StandIn(Dtype),
    ("_codecs", "encode"): StandIn(_encode),
    ("collections", "OrderedDict"): StandIn(_ordered),
    # numpy 2 calls its inner package _core; protocol 2 calls builtins by their Python 2 name.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): StandIn(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): StandIn(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): StandIn(_frombuffer) for core in ("core", "_core")},
    **{(module, "bytes"): StandIn(_bytes) for module in ("builtins", "__builtin__")},
    **{(module, "bytearray"): StandIn(_bytes) for module in ("builtins", "__builtin__")},
}
