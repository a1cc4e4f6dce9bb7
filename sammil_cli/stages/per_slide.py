"""The machinery of all per-slide stages: what a run is to do, the result store, the process list."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import Tolerance
from sammil_cli.errors import SlideError
from sammil_cli.stages.executor import Answer, Call, Limits, open_executor
from sammil_cli.stages.project import RunOptions
from sammil_cli.storage.files import digest, provenance, read_csv, write_csv
from sammil_cli.storage.store import ResultStore, find_store

log = logging.getLogger(__name__)

_MOST_SHOWN = 30
HEADER = ("slide_id", "status", "code", "message", "remedy", "seconds", "notes")
# How a slide's worker is called: where to write, what to record, and what the stage gave the task. It returns notes:
# short remarks on this slide, such as QC flags, for the process list.
Work = Callable[..., Sequence[str]]


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
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.status in ("done", "reused")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stage would do: its tasks, and the rows of slides that were found impossible before any work.

    `work(folder, provenance, *arguments)` writes the slide's files into an empty folder and returns its notes.
    """

    step: str
    tasks: Sequence[Task]
    work: Work
    out: Path
    process_list: Path
    refused: Sequence[Row] = ()

    def key(self, task: Task) -> str:
        """The content key of a task's result."""
        return digest({"step": self.step, "slide_id": task.slide_id, **task.recipe})


def limits_of(settings: Tolerance) -> Limits:
    """The limits of one slide that the settings give."""
    memory = settings.slide_memory_gib
    return Limits(
        seconds=None if settings.slide_minutes is None else 60 * settings.slide_minutes,
        memory_bytes=None if memory is None else int(memory * 2**30),
    )


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


def run_plan(plan: Plan, options: RunOptions, limits: Limits) -> list[Row]:
    """Does the tasks whose result is not in the store, copies all results to `out` and writes the process list.

    Each slide's work runs in a process of its own: an exception, a crash or a hang costs that slide only. Files of
    slides that are no longer there are removed from `out`, unless `options.only` restricts the run.

    Raises:
        KeyboardInterrupt: after everything finished was kept and listed.
    """
    store = ResultStore(find_store(Path.cwd()) / plan.step)
    rows = {row.slide_id: row for row in plan.refused}
    others = _other_rows(plan.process_list, options.only)
    open_tasks = []
    for task in plan.tasks:
        notes = store.fetch(plan.key(task), plan.out)
        if notes is not None:
            rows[task.slide_id] = Row(slide_id=task.slide_id, status="reused", notes=tuple(notes))
        else:
            open_tasks.append(task)
    try:
        with console.progress(len(plan.tasks) + len(plan.refused), plan.step) as bar:
            for slide_id in rows:
                bar.advance(slide_id)
            for row in _compute(plan, open_tasks, store, options, limits):
                rows[row.slide_id] = row
                bar.advance(row.slide_id)
                if not row.done:
                    log.info("%s %s: %s %s", row.status, row.slide_id, row.code, row.message)
    finally:
        listed = [rows[slide_id] for slide_id in sorted(rows)]
        write_csv(plan.process_list, HEADER, sorted([*others, *(_cells(row) for row in listed)]))
    _remove_stale(plan.out, {row.slide_id for row in listed if row.done}, options.only)
    return listed


def _other_rows(process_list: Path, only: frozenset[str] | None) -> list[tuple[str, ...]]:
    """The rows that a restricted run leaves as they are."""
    if only is None or not process_list.exists():
        return []
    rows = read_csv(process_list, ("slide_id",))
    return [tuple(row.get(name, "") for name in HEADER) for row in rows if row["slide_id"] not in only]


def _cells(row: Row) -> tuple[str, ...]:
    return (row.slide_id, row.status, row.code, row.message, row.remedy, f"{row.seconds:.2f}", "; ".join(row.notes))


def _compute(
    plan: Plan, tasks: Sequence[Task], store: ResultStore, options: RunOptions, limits: Limits
) -> Iterator[Row]:
    """Yields a row for each task as it ends."""
    if not tasks:
        return
    by_id = {task.slide_id: task for task in tasks}
    folders: dict[str, Path] = {}

    def calls() -> Iterator[Call]:
        for task in tasks:
            folders[task.slide_id] = store.workspace()
            record = provenance(plan.step, task.recipe)
            target = (plan.work.__module__, plan.work.__name__)
            arguments = (target, folders[task.slide_id], record, task.arguments)
            yield Call(slide_id=task.slide_id, function=(__name__, "in_workspace"), arguments=arguments)

    try:
        with open_executor(options, limits) as executor:
            for answer in executor.answers(calls()):
                yield _keep(plan, by_id[answer.slide_id], answer, store)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def in_workspace(
    target: tuple[str, str], folder: Path, record: dict[str, Any], arguments: tuple[Any, ...]
) -> tuple[Path, list[str]]:
    """Runs in the worker: does the work in a fresh folder below `folder`, which a second attempt does not share."""
    fresh = Path(tempfile.mkdtemp(dir=folder))
    work: Work = getattr(import_module(target[0]), target[1])
    return fresh, list(work(fresh, record, *arguments))


def _keep(plan: Plan, task: Task, answer: Answer, store: ResultStore) -> Row:
    if answer.error is not None:
        return refusal(task.slide_id, answer.error, answer.seconds)
    folder, notes = answer.value
    store.put(plan.key(task), folder, notes)
    store.fetch(plan.key(task), plan.out)
    return Row(slide_id=task.slide_id, status="done", seconds=answer.seconds, notes=tuple(notes))


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
