"""How slides are spread over processes: one small interface, its implementations in `runner/executors/`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.spent import Spent

P = ParamSpec("P")


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
    arguments: tuple[object, ...]

    @classmethod
    def to(cls, slide_id: str, function: Callable[P, object], *arguments: P.args, **no: P.kwargs) -> "Call":
        """A call of a module's own function, whose arguments the type checker sees; they are given by position."""
        if no:
            raise TypeError("arguments of a call are given by position")
        return cls(slide_id=slide_id, function=(function.__module__, function.__name__), arguments=arguments)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a call: the function's value, or the error that it cost this slide."""

    slide_id: str
    value: Any = None
    error: SlideError | None = None
    seconds: float = 0.0
    spent: Spent = field(default_factory=Spent)


class Executor(Protocol):
    """Computes calls in processes other than this one. Use it as a context; leaving it ends the processes."""

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        """Yields an answer for each call as it ends, in any order.

        Calls are taken from the iterator as processes become free, so that what is not begun yet is not claimed.
        Whatever happens to a call (an exception, a crash, a hang, too much memory) is an answer with an error.
        """
        ...


def check_executor(options: RunOptions) -> None:
    """Refuses what no executor is, before any work is looked for, so also where nothing is to do.

    Raises:
        InputError: an unknown executor, or one that lacks what it needs; the message lists those there are.
    """
    check = getattr(choices.load(choices.EXECUTORS, options.executor), "check", None)
    if check is not None:
        check(options)


def open_executor(options: RunOptions, limits: Limits) -> AbstractContextManager[Executor]:
    """The executor that the options name."""
    opened: AbstractContextManager[Executor] = choices.load(choices.EXECUTORS, options.executor).open_executor(
        options, limits
    )
    return opened
