"""Process lists: what became of each slide, in a file that feeds back, and in words."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError, SlideError
from sammil_cli.project.remark_summary import remark_lines
from sammil_cli.storage.files import read_csv, write_csv
from sammil_cli.storage.store import ResultStore

HEADER = ("slide_id", "status", "code", "message", "remedy", "seconds", "remarks")
CHANGED = "E_CHANGED"  # what the slide is made from changed while the command ran
_WRITE_SECONDS = 5.0  # between two states of a process list while a run goes on
_WRITE_SHARE = 0.01  # of the time, at most: a list of many slides takes long to write
_WAIT_SECONDS = 0.05
_MOST_SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a process list. Status: done, reused (from the store), set-aside (the slide's fault) or failed."""

    slide_id: str
    status: str
    code: str = ""
    message: str = ""
    remedy: str = ""
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.status in ("done", "reused")


def refusal(slide_id: str, error: SlideError, seconds: float = 0.0) -> Row:
    """The row of a slide that cannot be done."""
    status = "set-aside" if error.set_aside else "failed"
    return Row(
        slide_id=slide_id, status=status, code=error.code, message=error.message, remedy=error.remedy, seconds=seconds
    )


class ProcessList:
    """The rows of a run, written now and then while it goes on: a killed run leaves its list, too."""

    def __init__(self, path: Path, only: frozenset[str] | None, store: ResultStore) -> None:
        self._path, self._only, self._store = path, only, store
        self._due = time.monotonic() + _WRITE_SECONDS
        self.rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """One more row."""
        self.rows[row.slide_id] = row
        if (begun := time.monotonic()) > self._due:
            with contextlib.suppress(OSError):  # on a full disk the run goes on as far as it can
                self.write()
            now = time.monotonic()
            self._due = now + max(_WRITE_SECONDS, (now - begun) / _WRITE_SHARE)

    def done(self) -> set[str]:
        """The slides whose result is there."""
        return {row.slide_id for row in self.rows.values() if row.done}

    def close(self, stage: str, out: Path) -> None:
        """Writes all rows; where that cannot be done, prints what became of them.

        Raises:
            OSError: the list could not be written.
        """
        try:
            self.write()
        except OSError:
            summarise(stage, list(self.rows.values()), out, self._path)
            raise

    def write(self) -> None:
        """Writes all rows; those that a restricted run leaves as they are stay."""
        rows = [_cells(row) for row in self.rows.values()]
        if self._only is None:
            write_csv(self._path, HEADER, sorted(rows))
        else:
            with self._store.claims() as claims:  # several restricted runs may add to one list
                while not claims.take("process-list"):
                    time.sleep(_WAIT_SECONDS)
                old = read_csv(self._path, ("slide_id",)) if self._path.exists() else []
                mine = self._only | self.rows.keys()
                others = (row for row in old if row["slide_id"] not in mine)
                write_csv(self._path, HEADER, sorted([*rows, *(_as_listed(row) for row in others)]))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes a process list in one go."""
    write_csv(path, HEADER, sorted(_cells(row) for row in rows))


def _as_listed(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in HEADER)


def _cells(row: Row) -> tuple[str, ...]:
    return (row.slide_id, row.status, row.code, row.message, row.remedy, f"{row.seconds:.2f}", "; ".join(row.remarks))


def summarise(stage: str, rows: Sequence[Row], out: Path, process_list: Path) -> None:
    """Prints what could not be done, with reason and remedy, remarks by kind, and one line of totals; the worst first.

    What alone makes the exit code 1, `E_CHANGED`, is never among those that are only counted; then come computations
    that failed, and slides that were set aside.
    """
    troubled = sorted(
        (row for row in rows if not row.done), key=lambda row: (row.code != CHANGED, row.status == "set-aside")
    )
    for row in troubled[:_MOST_SHOWN]:
        console.say(f"{row.status}: {row.slide_id}  {row.code}  {row.message}", f"    fix: {row.remedy}")
    if len(troubled) > _MOST_SHOWN:
        codes = Counter(row.code for row in troubled[_MOST_SHOWN:]).most_common()
        console.say(f"… and {len(troubled) - _MOST_SHOWN} more: {', '.join(f'{n} {code}' for code, n in codes)}")
    console.say(*remark_lines({row.slide_id: row.remarks for row in rows}, len(rows), process_list))
    tally = {status: sum(row.status == status for row in rows) for status in ("done", "reused", "set-aside", "failed")}
    text = ", ".join(f"{count} {status}" for status, count in tally.items() if count)
    console.say(f"{stage}: {text or 'nothing to do'} → {out}" + (f" (list: {process_list})" if troubled else ""))


def exit_code(rows: Sequence[Row], fail_over: float) -> int:
    """0, or 1 when a larger share than `fail_over` could not be done.

    `E_CHANGED` is never allowed for: DVC would take what is there now for what was done, and not run the stage again.
    """
    troubled = sum(not row.done for row in rows)
    return int(troubled > fail_over * len(rows) or any(row.code == CHANGED for row in rows))


def read_share(text: str) -> float:
    """`5%` or `0.05` -> 0.05.

    Raises:
        InputError: no share.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--fail-over {text!r} is no share", remedy="give 5% or 0.05")
    return value
