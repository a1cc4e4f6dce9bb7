"""What the user sees: progress, tables, messages, logs. The only place with rich, imported when needed."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_state = {"quiet": False}


def set_up(*, verbose: bool = False, as_json: bool = False) -> None:
    """Logs go to stderr: warnings, or everything that sammil says with `verbose`.

    stdout is for people, or with `as_json` for programs: of what is printed there only the one or the other appears.
    """
    _state["quiet"] = as_json
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("sammil_cli").setLevel(logging.DEBUG if verbose else logging.WARNING)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Within the block nothing is printed on stdout; progress, warnings and notes are."""
    before = _state["quiet"]
    _state["quiet"] = True
    try:
        yield
    finally:
        _state["quiet"] = before


class Bar:
    """A progress bar with the time left."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task

    def advance(self, item: str) -> None:
        """One more is done, and this is its name."""
        self._bar.update(self._task, advance=1, item=item)

    def at(self, done: int, item: str) -> None:
        """`done` of them are finished, and `item` is in work."""
        self._bar.update(self._task, completed=done, item=item)


@contextlib.contextmanager
def progress(total: int, title: str) -> Iterator[Bar]:
    """Shows a bar on stderr while the block runs; on a stream that is no terminal it says nothing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[item]}"),
    )
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        yield Bar(bar, bar.add_task(title, total=total, item=""))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; columns of numbers are right-aligned."""
    if _state["quiet"]:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, name in enumerate(header):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def three_digits(value: float | None) -> str:
    """A number as tables show it; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def short_number(value: float) -> str:
    """A count, or a number to three digits, as tables show it."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def say(message: str) -> None:
    """Prints a message for the user, as it is."""
    if not _state["quiet"]:
        sys.stdout.write(message + "\n")
        sys.stdout.flush()


def note(message: str) -> None:
    """Says something about the run itself on stderr, where it is in no program's way."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def print_json(value: object) -> None:
    """Prints JSON on one line, where stdout is for programs."""
    if _state["quiet"]:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_error(message: str, remedy: str) -> None:
    """Prints what is wrong and the fix on stderr."""
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    sys.stderr.write(f"{red}error: {message}{plain}\n" + (f"  fix: {remedy}\n" if remedy else ""))


def download_progress() -> Callable[[int, int], None]:
    """A function of bytes done and bytes in all that shows a download once per 5 % on stderr."""
    shown = [-1]

    def show(done: int, total: int) -> None:
        step = 20 * done // total if total else 0
        if step > shown[0]:
            shown[0] = step
            sys.stderr.write(f"downloading: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB\n")

    return show
