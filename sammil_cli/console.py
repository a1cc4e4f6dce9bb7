"""Progress, tables and logging: the only place with rich."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

_out = Console()
_err = Console(stderr=True)


def set_up_logging(verbose: bool) -> None:
    """Logs go to stderr: warnings, or everything that sammil says with `verbose`."""
    handler = RichHandler(console=_err, show_path=False, log_time_format="[%X]")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("sammil_cli").setLevel(logging.DEBUG if verbose else logging.WARNING)


class Bar:
    """A progress bar with the time left; on a stream that is no terminal it says nothing."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, item: str) -> None:
        """One more is done, and this is its name."""
        self._bar.update(self._task, advance=1, item=item)

    def at(self, done: int, item: str) -> None:
        """So many are done, and this is the state."""
        self._bar.update(self._task, completed=done, item=item)


@contextlib.contextmanager
def progress(total: int, title: str) -> Iterator[Bar]:
    """Shows a bar on stderr while the block runs."""
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
    with Progress(*columns, console=_err, disable=not _err.is_terminal) as bar:
        yield Bar(bar, bar.add_task(title, total=total, item=""))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; numbers are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, name in enumerate(header):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    _out.print(table)


def say(message: str) -> None:
    """Prints one line for the user, as it is."""
    _out.print(message, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints JSON on one stream for programs."""
    _out.print(json.dumps(value, ensure_ascii=False), markup=False, highlight=False, soft_wrap=True)


def print_error(message: str, remedy: str) -> None:
    """Prints what is wrong and the fix on stderr."""
    _err.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if remedy:
        _err.print(f"  fix: {remedy}", markup=False, highlight=False, soft_wrap=True)


def download_progress() -> Callable[[int, int], None]:
    """A function of bytes done and bytes in all that shows a download once per 5 % on stderr."""
    shown = [-1]

    def show(done: int, total: int) -> None:
        step = 20 * done // total if total else 0
        if step > shown[0]:
            shown[0] = step
            _err.print(f"downloading: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", highlight=False)

    return show
