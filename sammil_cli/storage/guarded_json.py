"""JSON that may come from anybody: size, depth and numbers have limits, and every refusal is an `InputError`."""

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from sammil_cli.errors import InputError
from sammil_cli.storage.regular_file import check_regular

Parsed = Any  # whatever a text says; who reads it checks it
MOST_BYTES = 64 << 20  # of a file of ours: facts on 100 000 slides are about 20 MiB
DEEPEST = 64  # brackets in brackets; a GeoJSON geometry has about 8
_MOST_DIGITS = 40  # of a whole number; int() takes time with the square of the digits

# The optional end makes it linear: a string without one is passed over once, not tried again from each quote in it.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_LONG_NUMBER = re.compile(rb"(?<![0-9.])[0-9]{%d}" % (_MOST_DIGITS + 1))
# A text's brackets alone, all of one kind.
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_TOO_MANY = b"[" * (DEEPEST + 1)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def read_json(path: Path, *, remedy: str = "", most_bytes: int = MOST_BYTES, with_nan: bool = False) -> Parsed:
    """A file's content; see `parse_json`. Of a larger file nothing more than the limit is read.

    Raises:
        InputError: it is a pipe or device, too large, or no JSON within the limits.
        OSError: it is not there, or cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    return parse_json(content, path, remedy=remedy, most_bytes=most_bytes, with_nan=with_nan)


def parse_json(
    content: str | bytes,
    what: object,
    *,
    kind: str = "JSON",
    remedy: str = "",
    most_bytes: int = MOST_BYTES,
    with_nan: bool = False,
) -> Parsed:
    """The value of a text, in time and memory that grow with its length only.

    Args:
        content: text, or bytes in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        what: the file or attribute, for messages.
        kind: of JSON, for messages.
        remedy: what to do about it.
        most_bytes: of a longer text nothing is read.
        with_nan: NaN and Infinity are numbers, as Python writes them.

    Raises:
        InputError: it is longer, no JSON (NaN and Infinity are none), or has deeper brackets or longer whole numbers
            than the limits of this module.
    """
    reason = _refused(content, most_bytes)
    if not reason:
        try:
            return json.loads(content, parse_constant=None if with_nan else _refuse_constant)
        except UnicodeDecodeError:
            reason = "it is no text in UTF-8 or UTF-16"
        except json.JSONDecodeError as error:
            ended = error.pos >= len(error.doc.rstrip())
            reason = "it ends too early" if ended else f"{error.msg}, line {error.lineno}"
        except (ValueError, RecursionError):
            reason = "a number is NaN or out of any bounds"
    raise InputError(f"{what} is no valid {kind}: {reason}", remedy=remedy)


def _refused(content: str | bytes, most_bytes: int) -> str:
    """Why a text is not parsed; "" where it is."""
    if len(content) > most_bytes:
        return f"it is larger than {most_bytes >> 20} MiB" if most_bytes >> 20 else f"it is over {most_bytes} bytes"
    if isinstance(content, bytes):
        encoding = json.detect_encoding(content)
        try:
            plain = content if encoding == "utf-8" else content.decode(encoding).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return "it is no text in UTF-8 or UTF-16"
    else:
        plain = content.encode("utf-8", "surrogatepass")
    bare = _STRING.sub(b"", plain)
    if _is_deep(bare):
        return f"its brackets lie more than {DEEPEST} deep"
    if _LONG_NUMBER.search(bare):
        return f"a number has more than {_MOST_DIGITS} digits"
    return ""


def _is_deep(bare: bytes) -> bool:
    """Whether brackets lie too deep in a text without strings: their innermost pairs are taken away, level by level."""
    left = bare.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEEPEST):
        if _TOO_MANY in left:
            return True
        before, left = len(left), left.replace(b"[]", b"")
        if len(left) == before:
            break
    return b"[]" in left or left.count(b"[") > DEEPEST


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)  # which Python reads and JSON does not know
