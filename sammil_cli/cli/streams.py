"""stdout and stderr when nobody listens: `sammil inspect | head -1`, `>&-`, a full disk; or nothing is said yet."""

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDIN, _STDOUT, _STDERR = range(3)
_ERASE = b"\r\x1b[K"  # what is in the cursor's line
_shown = {"line": False}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Outlet(io.FileIO):
    """A standard stream; once its reader has gone, what is written goes nowhere, and the work goes on.

    A full disk is an error once, on stdout: what was asked for is lost. On stderr nothing is an error.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self._lost = False

    def write(self, data: "ReadableBuffer") -> int:
        erase_line()
        if not self._lost:
            try:
                return super().write(data)
            except OSError as error:
                self._lost = True
                if self.fileno() == _STDOUT and error.errno in _NO_ROOM:
                    raise OSError(error.errno, error.strerror, "stdout") from None
        return len(memoryview(data).cast("B"))


def hold_streams() -> None:
    """Opens standard streams that are closed, else the next file would take their place and get what libraries print.

    Streams that another program has put in place of the real ones, as tests do, are left alone.
    """
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdout is sys.__stdout__:
        sys.stdout = _over(_STDOUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _over(_STDERR, sys.stderr)


def show_line(line: str) -> None:
    """On a terminal, shows a line on stderr until anything is written: libraries take seconds to load."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        sys.stderr.write(f"\x1b[2m{line}\x1b[0m\r")
        sys.stderr.flush()
        _shown["line"] = True


def erase_line() -> None:
    """Takes away what `show_line` shows, if it is still there."""
    if _shown["line"]:
        _shown["line"] = False
        with contextlib.suppress(OSError):  # the terminal was closed
            os.write(_STDERR, _ERASE)


def _over(number: int, stream: TextIO | None) -> TextIO:
    """A stream like the one that was there, None = it was closed."""
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    encoding, errors, lines = (
        ("utf-8", "backslashreplace", False)
        if stream is None
        else (stream.encoding, stream.errors, stream.line_buffering)
    )
    raw = io.BufferedWriter(_Outlet(number))
    return io.TextIOWrapper(raw, encoding, errors, line_buffering=bool(lines) or number == _STDERR)
