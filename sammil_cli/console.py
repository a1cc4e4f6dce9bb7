"""What the user sees: progress, tables, messages, logs. The only place with rich, imported when needed.

Everything that goes to the terminal passes through here as text, never as markup, and what a terminal would obey
(colours, moves of the cursor, right-to-left marks) is written out: names come from files and tables of others.
"""

import contextlib
import io
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO, TypeVar

from sammil_cli.report.text_table import broken_lines, fit
from sammil_cli.storage.shown_text import json_text, shortened, shown

if TYPE_CHECKING:
    from rich.console import Console

_state = {"quiet": False, "silent": False, "counting": False}
_within: list[str] = []  # what progress is a part of
_LONGEST_ITEM = 48  # characters of a name beside a progress bar
_AT_ONCE = 1.0  # seconds; a bar that was full by then is taken away
_FIRST_LINE, _NEXT_LINE = 10.0, 30.0  # seconds between lines of progress where there is no terminal
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


class _OneLine(logging.Formatter):
    """A log message is one line, whatever names it holds."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown(super().formatMessage(record))


def set_up(*, verbose: bool = False, as_json: bool = False) -> None:
    """Logs go to stderr: warnings, or everything that sammil says with `verbose`.

    stdout is for people, or with `as_json` for programs: of what is printed there only the one or the other appears.
    """
    _state["quiet"] = as_json
    for stream in (sys.stdout, sys.stderr):  # a terminal of few letters gets the others as escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
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


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within the block nothing is printed but warnings and errors: no progress and no notes either."""
    before = _state["silent"]
    _state["silent"] = True
    try:
        with hushed():
            yield
    finally:
        _state["silent"] = before


@contextlib.contextmanager
def within(what: str) -> Iterator[None]:
    """Within the block progress begins with what it is a part of, such as a variant of many."""
    _within.append(what)
    try:
        yield
    finally:
        _within.pop()


@contextlib.contextmanager
def each_warning_once() -> Iterator[None]:
    """Within the block a log message that was shown before is not shown again."""
    filters = [(handler, _FirstTime()) for handler in logging.getLogger().handlers]
    for handler, only in filters:
        handler.addFilter(only)
    try:
        yield
    finally:
        for handler, only in filters:
            handler.removeFilter(only)


class _FirstTime(logging.Filter):
    """Lets a message through once; each handler has its own."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self._seen
        self._seen.add(message)
        return new


class Bar:
    """How far a command is: a bar with the time left, or on a stream that is no terminal a line now and then."""

    def __init__(self, at: Callable[[int, str], None]) -> None:
        self._at, self._done, self._one = at, 0, threading.Lock()

    def advance(self, item: str) -> None:
        """One more is done, and this is its name; any thread may say so."""
        with self._one:
            self.at(self._done + 1, item)

    def at(self, done: int, item: str) -> None:
        """`done` of them are finished, and `item` is in work."""
        self._done = done
        self._at(done, _beside_bar(item))


def _beside_bar(item: str) -> str:
    return shortened(shown(item), _LONGEST_ITEM)


class ProgressLines:
    """Progress for a log: a line after 10 s, then one every 30 s, also while nothing gets done.

    Args:
        total: how many there are to do. title: what begins each line.
        clock: seconds; another one in tests.
        unit: what is counted, in the plural, where the title does not say it.
    """

    def __init__(self, total: int, title: str, clock: Callable[[], float] = time.monotonic, unit: str = "") -> None:
        self._total, self._title, self._clock = total, title, clock
        self._of = f"{total:,}{f' {unit}' if unit else ''}"
        self._begun, self._due = clock(), clock() + _FIRST_LINE
        self._done, self._item = 0, ""
        self._marks = deque([(self._begun, 0)], maxlen=3)  # when a line was said, and what was done then

    def at(self, done: int, item: str) -> None:
        """`done` are finished; `item` is the last of them, or in work."""
        self._done, self._item = done, item

    def wait(self) -> float:
        """Seconds until the next line is due."""
        return max(0.0, self._due - self._clock())

    def say(self) -> None:
        """Says how far it is if a line is due."""
        if self.wait() == 0.0:
            self._due += _NEXT_LINE
            note(self._line())
            self._marks.append((self._clock(), self._done))

    def end(self) -> None:
        """Says how long it took, where lines were said before."""
        if self._clock() >= self._begun + _FIRST_LINE and self._done >= self._total:
            note(f"{self._title}: {self._done:,} of {self._of} in {time_words(self._clock() - self._begun)}")

    def _line(self) -> str:
        seconds = self._clock() - self._begun
        said = [f"{self._title}: {self._done:,} of {self._of} in {time_words(seconds)}"]
        since, before = self._marks[0]  # a minute ago or less: workers take their time to start
        if before == self._done:
            since, before = self._begun, 0
        if before < self._done < self._total:
            rate = (self._done - before) / (self._clock() - since)
            pace = f"{short_number(rate)} a second" if rate >= 1 else f"{short_number(1 / rate)} s each"
            said += [pace, f"about {time_words((self._total - self._done) / rate)} left"]
        return ", ".join([*said, *([self._item] if self._item else [])])


def time_words(seconds: float) -> str:
    """Seconds as people say them: `41 s`, `2 min 5 s`, `3 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def progress(total: int, title: str, unit: str = "") -> Iterator[Bar]:
    """Shows on stderr how far the block is: a bar, or on a stream that is no terminal `ProgressLines`.

    Within another progress nothing is shown: one bar at a time.
    """
    if _state["silent"] or _state["counting"]:
        yield Bar(lambda done, item: None)
        return
    from rich.console import Console

    stderr, title = Console(stderr=True), shown(": ".join([*_within, title]))
    moves = stderr.is_terminal and not stderr.is_dumb_terminal  # where nothing moves, rich would say nothing
    _state["counting"] = True
    try:
        with _live_bar(stderr, total, title) if moves else _lines(total, title, unit) as bar:
            yield bar
    finally:
        _state["counting"] = False


@contextlib.contextmanager
def counted(work: Callable[[_Item], _Found], total: int, title: str) -> Iterator[Callable[[_Item], _Found]]:
    """A function for the block that does what `work` does, and shows as `progress` how many times it was called."""
    with progress(total, title) as bar:

        def one(item: _Item) -> _Found:
            found = work(item)
            bar.advance("")
            return found

        yield one


@contextlib.contextmanager
def _lines(total: int, title: str, unit: str) -> Iterator[Bar]:
    lines, over = ProgressLines(total, title, unit=unit), threading.Event()

    def speak() -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads stderr any more
            while not over.wait(lines.wait()):
                lines.say()

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield Bar(lines.at)
    finally:
        over.set()
        speaker.join()
    lines.end()


@contextlib.contextmanager
def _live_bar(stderr: "Console", total: int, title: str) -> Iterator[Bar]:
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[item]}", style="dim", markup=False),
    )
    with Progress(*columns, console=stderr) as bar:
        task, begun = bar.add_task(title, total=total, item=""), time.monotonic()
        try:
            yield Bar(lambda done, item: bar.update(task, completed=done, item=item))
        finally:
            bar.live.transient = time.monotonic() - begun < _AT_ONCE


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table that fits the terminal (80 columns without one), in parts where it is too wide.

    Columns of numbers are right-aligned; numbers and short words are never broken (`report.text_table`). A cell that
    is a list has one line for each item.
    """
    if _state["quiet"]:
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def text(cell: object) -> str:
        lines = cell if isinstance(cell, list) else [cell]
        return "\n".join(shown(str(line)) for line in lines)

    def as_is(cell: str) -> Text:  # a string would be read as markup
        return Text(cell, no_wrap=True)

    console = Console()
    parts = fit(
        [text(name) for name in header], [[text(cell) for cell in row] for row in rows], console.width, cell_len
    )
    console.width = max([console.width, *(part.width for part in parts)])
    for line in broken_lines(text(title), console.width, cell_len) if title else ():
        console.print(Text(line, style="bold"))
    for part in parts:
        table = Table(header_style="bold")
        for name, width, numeric in zip(part.header, part.widths, part.numeric, strict=True):
            table.add_column(as_is(name), justify="right" if numeric else "left", width=width, no_wrap=True)
        for row in part.rows:
            table.add_row(*map(as_is, row))
        console.print(table)


def three_digits(value: float | None) -> str:
    """A number as tables show it; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def short_number(value: float) -> str:
    """A count, or a number to three digits, as tables show it."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def size_words(number: float) -> str:
    """Bytes, as MB or GB."""
    return f"{number / 1e6:,.0f} MB" if number < 1e9 else f"{number / 1e9:,.1f} GB"


def say(*lines: str) -> None:
    """Prints lines for the user; a line break within one, as in a file's name, is shown and breaks nothing."""
    if not _state["quiet"]:
        sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
        sys.stdout.flush()


def note(message: str) -> None:
    """Says something about the run itself on stderr, where it is in no program's way."""
    if not _state["silent"]:
        sys.stderr.write(shown(message) + "\n")
        sys.stderr.flush()


def print_json(value: object) -> None:
    """Prints JSON on one line, where stdout is for programs."""
    if _state["quiet"]:
        sys.stdout.write(json_text(value) + "\n")


def print_error(message: str, remedy: str) -> None:
    """Prints what is wrong and the fix on stderr; both may have several lines."""
    message, remedy = shown(message, kept="\n"), shown(remedy, kept="\n")
    red, plain = ("\x1b[31m", "\x1b[0m") if _is_coloured(sys.stderr) else ("", "")
    sys.stderr.write(f"{red}error: {message}{plain}\n" + (f"  fix: {remedy}\n" if remedy else ""))


def _is_coloured(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def download_progress() -> Callable[[int, int], None]:
    """A function of bytes done and bytes in all that shows a download once per 5 % on stderr, unless `silent`."""
    shown = [-1]

    def show(done: int, total: int) -> None:
        step = 20 * done // total if total else 0
        if step > shown[0] and not _state["silent"]:
            shown[0] = step
            sys.stderr.write(f"downloading: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB\n")

    return show
