"""Whether functions print what their commands print: not, unless they are asked to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from sammil_cli import console

_printing = ContextVar("printing", default=False)


@contextmanager
def printing() -> Iterator[None]:
    """Within the block every function prints what its command prints: progress, tables, remarks.

    Without it functions print nothing but warnings.
    """
    before = _printing.set(True)
    try:
        yield
    finally:
        _printing.reset(before)


def voice() -> AbstractContextManager[None]:
    """Within the block what commands print is printed, or not."""
    return nullcontext() if _printing.get() else console.silent()
