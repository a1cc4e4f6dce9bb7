"""The machinery of all per-slide stages: isolated processes, the result store, the process list."""

import importlib
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pebble import ProcessExpired

from sammil_cli import console
from sammil_cli.errors import SammilError, SlideError
from sammil_cli.stages.processes import process_pool
from sammil_cli.stages.project import RunOptions
from sammil_cli.storage.files import digest, provenance, read_csv, write_csv
from sammil_cli.storage.store import ResultStore, find_store

log = logging.getLogger(__name__)

_MOST_SHOWN = 30
HEADER = ("slide_id", "status", "code", "message", "remedy", "seconds")
# How a slide's worker is called: where to write, what to record, and what the stage gave the task.
Work = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One slide to do. `recipe` is everything that determines the result; `arguments` go to the worker function."""

    slide_id: str
    recipe: dict[str, Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a process list. Status: done, reused (from the store), set-aside (the slide's fault) or failed."""

    slide_id: str
    status: str
    code: str = ""
    message: str = ""
    remedy: str = ""
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.status in ("done", "reused")


def refusal(slide_id: str, error: SlideError, seconds: float = 0.0) -> Row:
    """The row of a slide that cannot be done."""
    status = "set-aside" if error.set_aside else "failed"
    return Row(
        slide_id=slide_id,
        status=status,
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        seconds=seconds,
    )


def run_tasks(
    step: str,
    tasks: Sequence[Task],
    work: Work,
    out: Path,
    process_list: Path,
    options: RunOptions,
    *,
    refused: Sequence[Row] = (),
) -> list[Row]:
    """Does the tasks whose result is not in the store, copies all results to `out` and writes the process list.

    `work(folder, provenance, *arguments)` writes the slide's files into an empty folder. It runs in a process of its
    own: an exception or a crash costs that slide only. Files of slides that are no longer there are removed from
    `out`, unless `options.only` restricts the run.

    Args:
        refused: rows of slides that were found impossible before.

    Raises:
        KeyboardInterrupt: after everything finished was kept and listed.
    """
    store = ResultStore(find_store(Path.cwd()) / step)
    rows = {row.slide_id: row for row in refused}
    others = _other_rows(process_list, options.only)
    keys = {task.slide_id: digest({"step": step, "slide_id": task.slide_id, **task.recipe}) for task in tasks}
    open_tasks = []
    for task in tasks:
        if store.fetch(keys[task.slide_id], out):
            rows[task.slide_id] = Row(slide_id=task.slide_id, status="reused")
        else:
            open_tasks.append(task)
    try:
        with console.progress(len(tasks) + len(refused), step) as bar:
            for slide_id in rows:
                bar.advance(slide_id)
            for row in _compute(step, open_tasks, work, out, store, keys, options.workers):
                rows[row.slide_id] = row
                bar.advance(row.slide_id)
                if not row.done:
                    log.info("%s %s: %s %s", row.status, row.slide_id, row.code, row.message)
    finally:
        listed = [rows[slide_id] for slide_id in sorted(rows)]
        write_csv(process_list, HEADER, sorted([*others, *(_cells(row) for row in listed)]))
    _remove_stale(out, {row.slide_id for row in listed if row.done}, options.only)
    return listed


def _other_rows(process_list: Path, only: frozenset[str] | None) -> list[tuple[str, ...]]:
    """The rows that a restricted run leaves as they are."""
    if only is None or not process_list.exists():
        return []
    rows = read_csv(process_list, HEADER)
    return [tuple(row[name] for name in HEADER) for row in rows if row["slide_id"] not in only]


def _cells(row: Row) -> tuple[str, ...]:
    return (row.slide_id, row.status, row.code, row.message, row.remedy, f"{row.seconds:.2f}")


def _compute(
    step: str,
    tasks: Sequence[Task],
    work: Work,
    out: Path,
    store: ResultStore,
    keys: dict[str, str],
    workers: int,
) -> Iterator[Row]:
    """Yields a row for each task as it ends."""
    if not tasks:
        return
    target = (work.__module__, work.__name__)
    pending: dict[Future[float], tuple[Task, Path]] = {}
    try:
        with process_pool(min(workers, len(tasks))) as pool:
            for task in tasks:
                folder = store.workspace()
                record = provenance(step, task.recipe)
                pending[pool.schedule(_attempt, args=[target, folder, record, task.arguments])] = (task, folder)
            for future in as_completed(pending):
                task, folder = pending[future]
                row = _outcome(task, future)
                if row.done:
                    store.put(keys[task.slide_id], folder)
                    store.fetch(keys[task.slide_id], out)
                yield row
    finally:
        for _, folder in pending.values():
            shutil.rmtree(folder, ignore_errors=True)


def _attempt(target: tuple[str, str], folder: Path, record: dict[str, Any], arguments: tuple[Any, ...]) -> float:
    """Runs in the worker process; returns the seconds it took."""
    start = time.perf_counter()
    importlib.import_module("openslide")  # before torch, see slides/formats/openslide.py
    work = getattr(importlib.import_module(target[0]), target[1])
    try:
        work(folder, record, *arguments)
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
    return time.perf_counter() - start


def _outcome(task: Task, future: Future[float]) -> Row:
    try:
        return Row(slide_id=task.slide_id, status="done", seconds=future.result())
    except SlideError as error:
        return refusal(task.slide_id, error)
    except ProcessExpired as error:
        crash = SlideError(
            "E_CRASH",
            f"the process ended without a word (exit code {error.exitcode}): the reader crashed or memory ran out",
            remedy="run it alone: --only " + task.slide_id + " --workers 1; if it stays, copy the slide again",
            set_aside=False,
        )
        return refusal(task.slide_id, crash)


def _remove_stale(out: Path, done: set[str], only: frozenset[str] | None) -> None:
    """Deletes the files of slides that are not done; of a restricted run only those of its own slides."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        if path.is_file() and path.stem not in done and (only is None or path.stem in only):
            path.unlink()


def summarise(step: str, rows: Sequence[Row], out: Path, process_list: Path) -> None:
    """Prints what could not be done, with reason and remedy, and one line of totals."""
    troubled = [row for row in rows if not row.done]
    for row in troubled[:_MOST_SHOWN]:
        console.say(f"{row.status}: {row.slide_id}  {row.code}  {row.message}\n    fix: {row.remedy}")
    if len(troubled) > _MOST_SHOWN:
        console.say(f"… and {len(troubled) - _MOST_SHOWN} more")
    tally = {status: sum(row.status == status for row in rows) for status in ("done", "reused", "set-aside", "failed")}
    text = ", ".join(f"{count} {status}" for status, count in tally.items() if count)
    console.say(f"{step}: {text or 'nothing to do'} → {out}" + (f" (list: {process_list})" if troubled else ""))


def exit_code(rows: Sequence[Row], fail_over: float) -> int:
    """0, or 1 when a larger share than `fail_over` could not be done."""
    troubled = sum(not row.done for row in rows)
    return int(troubled > fail_over * len(rows))
