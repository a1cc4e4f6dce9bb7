"""How slides are spread over processes: one small interface, its implementations in `stages/executors/`."""

import importlib
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sammil_cli import choices
from sammil_cli.errors import SammilError, SlideError
from sammil_cli.stages.project import RunOptions


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one slide may take; None = no limit."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One slide's computation: a function by module and name (imported in the worker) and its arguments."""

    slide_id: str
    function: tuple[str, str]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a call: the function's value, or the error that it cost this slide."""

    slide_id: str
    value: Any = None
    error: SlideError | None = None
    seconds: float = 0.0


class Executor(Protocol):
    """Computes calls in processes other than this one. Use it as a context; leaving it ends the processes."""

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """Yields an answer for each call as it ends, in any order.

        Calls are taken from the iterator as processes become free, so that what is not begun yet is not claimed.
        Whatever happens to a call (an exception, a crash, a hang, too much memory) is an answer with an error.
        """
        ...


def open_executor(options: RunOptions, limits: Limits) -> AbstractContextManager[Executor]:
    """The executor that the options name."""
    opened: AbstractContextManager[Executor] = choices.load(choices.EXECUTORS, options.executor).open_executor(
        options, limits
    )
    return opened


def attempt(function: tuple[str, str], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    """Runs in the worker process: calls the function; every error becomes a `SlideError`. Returns value and seconds."""
    start = time.perf_counter()
    importlib.import_module("openslide")  # before torch, see slides/formats/openslide.py
    work = getattr(importlib.import_module(function[0]), function[1])
    try:
        value = work(*arguments)
    except SlideError:
        raise
    except SammilError as error:  # a damaged file of an earlier stage, say: this slide's trouble only
        raise SlideError("E_INPUT", error.message, remedy=error.remedy, set_aside=False) from error
    except MemoryError as error:
        raise SlideError(
            "E_MEMORY", "not enough memory", remedy="lower batch_size or --workers", set_aside=False
        ) from error
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise SlideError(
            "E_BUG",
            f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})",
            remedy="please report this line with the slide's format",
            set_aside=False,
        ) from error
    return value, time.perf_counter() - start
