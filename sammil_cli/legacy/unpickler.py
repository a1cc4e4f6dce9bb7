"""Pickles of older tools, read without running anything they ask for: plain data and numpy arrays, nothing else.

A pickle is a program: it names functions and calls them. Here a name is never imported. The few names that numpy
arrays need are answered by stand-ins (`stand_ins.py`), which record their arguments and check them; every other name
is refused. The arrays are then built from the recorded bytes, so that numpy's own restoring code, which trusts
its input, is never reached. Nothing in this package writes pickles.
"""

import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sammil_cli.errors import InputError, limit_met
from sammil_cli.legacy.stand_ins import NAMES, Dtype, PendingArray, StandIn

# What numpy arrays, numbers, text, lists and dictionaries are made of in protocols 2 to 5. Not among them:
# instances of classes, persistent ids, the extension registry, buffers outside the stream.
_INSTRUCTIONS = """
    PROTO FRAME STOP MARK POP POP_MARK BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET NONE NEWTRUE NEWFALSE
    BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_OPCODES = frozenset(_INSTRUCTIONS.split())
_DEEPEST = 16  # lists in lists; the documented files need four
_LONGEST_INTEGER_BYTES = 16


class UnsafePickleError(InputError):
    """A pickle asks for something beyond plain data; it was not run."""


def read_pickles(path: Path, *, max_bytes: int = 4 << 30, max_steps: int = 5_000_000) -> list[object]:
    """Reads all pickled documents that a file holds, one after the other.

    Args:
        path: the file.
        max_bytes: a longer file is refused; what is read takes about as much memory.
        max_steps: a file of more pickle instructions is refused.

    Returns:
        One object per document, of None, bool, int, float, str, bytes, list, tuple, dict and numpy arrays and scalars.

    Raises:
        UnsafePickleError: the file names something that is not in the list above. Nothing was run.
        InputError: no such file, not a pickle, damaged, or too large.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(
                f"{path} has {size} bytes, more than the {max_bytes} that are read",
                remedy="if the file is sound, raise the limit",
            )
        if not size:
            raise _damaged(path, "it is empty")
        with path.open("rb") as stream:
            ends = list(_scan(stream, path, max_steps))
            stream.seek(0)
            return [_load(stream, path, end) for end in ends]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="check the folder") from None
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and (met := limit_met(error)):
            raise met from None
        raise _damaged(path, error) from None


def _damaged(path: Path, error: object) -> InputError:
    reason = str(error) or type(error).__name__
    return InputError(
        f"{path} cannot be read as a pickle of data and arrays: {reason}", remedy="copy or write the file again"
    )


def _scan(stream: IO[bytes], path: Path, max_steps: int) -> Iterator[int]:
    """Walks through the whole file without running it; yields the end of each document."""
    steps = 0
    while stream.read(1):
        stream.seek(-1, 1)
        try:
            argument: Any  # its type goes with the instruction
            for opcode, argument, _ in pickletools.genops(stream):
                steps += 1
                if steps > max_steps:
                    raise InputError(
                        f"{path} has more than {max_steps} pickle instructions", remedy="this is no mask file"
                    )
                if opcode.name == "GLOBAL":
                    _known(path, *argument.split(" ", 1))
                elif opcode.name not in _OPCODES:
                    raise _unsafe(path, f"uses the pickle instruction {opcode.name}")
                # The memo is an array that grows up to its highest index: 5 bytes could ask for 64 GiB.
                elif opcode.name == "LONG_BINPUT" and argument > steps:
                    raise _damaged(path, f"memo index {argument} at step {steps}")
                elif opcode.name in ("LONG1", "LONG4") and argument.bit_length() > 8 * _LONGEST_INTEGER_BYTES:
                    raise _damaged(path, "an integer of absurd length")
        except (ValueError, EOFError, OverflowError) as error:
            raise _damaged(path, error) from None
        yield stream.tell()


def _load(stream: IO[bytes], path: Path, end: int) -> object:
    """Restores the document that ends at `end`."""
    # The unpickler reads ahead, so its start is set anew for each document.
    start = stream.tell()
    unpickler = _Unpickler(stream, path)
    try:
        value = _to_arrays(unpickler.load(), {}, 0)
    # Each of these is what a crafted or cut stream makes the machine trip over.
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise _damaged(path, f"{error} in the document at byte {start}") from None
    stream.seek(end)
    return value


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str, /) -> Any:
        return _known(self._path, module, name)


def _known(path: Path, module: str, name: str) -> StandIn:
    if (module, name) not in NAMES:
        raise _unsafe(path, f"asks for {module}.{name}")
    return NAMES[module, name]


def _unsafe(path: Path, what: str) -> UnsafePickleError:
    return UnsafePickleError(
        f"{path} {what}, which plain data and arrays do not need; nothing was run",
        remedy="do not open this file with other tools; write it again with the published scripts",
    )


def _to_arrays(value: object, seen: dict[int, object], depth: int) -> object:
    """Puts arrays in place of what was recorded for them, inside lists, tuples and dictionaries."""
    if isinstance(value, PendingArray):
        if value.array is None:
            raise pickle.UnpicklingError("an array has no content")
        return value.array if value.array.ndim else value.array[()]
    if isinstance(value, StandIn | Dtype):
        raise pickle.UnpicklingError("a name stands where data should")
    if not isinstance(value, list | tuple | dict):
        return value
    if depth > _DEEPEST:
        raise pickle.UnpicklingError(f"nested deeper than {_DEEPEST}")
    if id(value) in seen:  # shared parts are visited once, or a few bytes could cost hours
        return seen[id(value)]
    if isinstance(value, tuple):
        built: object = tuple(_to_arrays(part, seen, depth + 1) for part in value)
    elif isinstance(value, list):
        built = [_to_arrays(part, seen, depth + 1) for part in value]
    else:
        built = {_to_arrays(key, seen, depth + 1): _to_arrays(part, seen, depth + 1) for key, part in value.items()}
    seen[id(value)] = built
    return built
