"""The machinery of all per-slide stages: what a run is to do, the result store, the process list."""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import Tolerance
from sammil_cli.errors import SlideError
from sammil_cli.stages.adoption import adopt
from sammil_cli.stages.executor import Answer, Call, Limits, open_executor
from sammil_cli.stages.process_list import ProcessList, Row, refusal
from sammil_cli.stages.project import RunOptions
from sammil_cli.storage.claims import Claims
from sammil_cli.storage.files import digest, provenance
from sammil_cli.storage.store import Result, ResultStore, find_store, is_temporary, sweep

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0  # between two looks at what another run is computing
# How a slide's worker is called: where to write, what to record, and what the stage gave the task. It returns notes
# for the process list: `word: text` is a remark to look at, such as a QC flag, and anything else a fact.
Work = Callable[..., Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One slide to do. `recipe` is everything that determines the result; `arguments` go to the worker function."""

    slide_id: str
    recipe: dict[str, Any]
    arguments: tuple[Any, ...]


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
        return self.key_of(task.slide_id, task.recipe)

    def key_of(self, slide_id: str, recipe: Mapping[str, Any]) -> str:
        """The content key of a slide's result that was made by a recipe."""
        return digest({"step": self.step, "slide_id": slide_id, **recipe})


def limits_of(settings: Tolerance) -> Limits:
    """The limits of one slide that the settings give."""
    memory = settings.slide_memory_gib
    return Limits(
        seconds=None if settings.slide_minutes is None else 60 * settings.slide_minutes,
        memory_bytes=None if memory is None else int(memory * 2**30),
    )


def run_plan(plan: Plan, options: RunOptions, limits: Limits) -> list[Row]:
    """Does the tasks whose result is not in the store, copies all results to `out` and writes the process list.

    Each slide's work runs in a process of its own: an exception, a crash or a hang costs that slide only. Several
    runs on one project, on other hosts too, share the work: what another one computes is waited for at the end.
    Files of slides that are not up to date are removed from `out` before any work, and those of slides that are no
    longer there, unless `options.only` restricts the run.

    Raises:
        KeyboardInterrupt: after everything finished was kept and listed.
    """
    store = open_store(plan.step, options.store)
    store.tidy()
    if unknown := {task.slide_id: key for task in plan.tasks if store.look(key := plan.key(task)) is None}:
        adopt(store, Path("dvc.lock"), plan.out, unknown, plan.key_of)
    plan.out.mkdir(parents=True, exist_ok=True)
    sweep(plan.out)
    listing = ProcessList(plan.process_list, options.only, store)
    try:
        with console.progress(len(plan.tasks) + len(plan.refused), plan.step) as bar:
            for row in plan.refused:
                listing.rows[row.slide_id] = row
                bar.advance(row.slide_id)
            open_tasks, kept = [], set[str]()
            for task, result in _fetch_all(plan, store):
                if result is None:
                    open_tasks.append(task)
                    continue
                listing.rows[task.slide_id] = _reused(task, result)
                kept |= set(result.files)
                bar.advance(task.slide_id)
            _remove_stale(plan.out, kept, options.only)
            with contextlib.closing(_compute(plan, open_tasks, store, options, limits)) as ended:
                for row in ended:
                    listing.add(row)
                    bar.advance(row.slide_id)
                    if not row.done:
                        log.info("%s %s: %s %s", row.status, row.slide_id, row.code, row.message)
    finally:
        listing.write()
    return [listing.rows[slide_id] for slide_id in sorted(listing.rows)]


def open_store(step: str, root: Path | None = None) -> ResultStore:
    """The results of a step in the store `root`; None = the one that serves the project in the working directory."""
    return ResultStore((root or find_store(Path.cwd())) / step)


def _reused(task: Task, result: Result) -> Row:
    return Row(slide_id=task.slide_id, status="reused", notes=tuple(result.notes))


def _fetch_all(plan: Plan, store: ResultStore) -> Iterator[tuple[Task, Result | None]]:
    """Brings what the store has into `out`. Threads, since disks and check sums take the time."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from zip(
            plan.tasks, pool.map(lambda task: store.fetch(plan.key(task), plan.out), plan.tasks), strict=True
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _remove_stale(out: Path, kept: set[str], only: frozenset[str] | None) -> None:
    """Deletes all files but those of `kept`; in a restricted run only those of its own slides."""
    for path in out.iterdir():
        ours = only is None or path.stem in only
        if ours and path.name not in kept and not path.is_dir() and not is_temporary(path):
            path.unlink(missing_ok=True)


def _compute(
    plan: Plan, tasks: Sequence[Task], store: ResultStore, options: RunOptions, limits: Limits
) -> Generator[Row, None, None]:
    """Yields a row for each task as it ends, last those that another run computed."""
    by_id = {task.slide_id: task for task in tasks}
    folders: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_folders, folders)
        claims = stack.enter_context(store.claims()) if tasks else None
        while tasks and claims:
            elsewhere: list[Task] = []
            calls = _calls(plan, tasks, store, claims, folders, elsewhere)
            first = next(calls, None)
            if first is not None:
                # Each process's share of the cores depends on how many there are.
                options = replace(options, workers=min(options.workers, len(tasks)))
                if options.place:
                    console.note(f"{plan.step}: {options.place}, at most {options.workers} slide(s) at once")
                    options = replace(options, place="")
                with open_executor(options, limits) as executor:
                    for answer in executor.answers(chain([first], calls)):
                        row = _keep(plan, by_id[answer.slide_id], answer, store)
                        claims.release(plan.key(by_id[answer.slide_id]))
                        _remove_folders({row.slide_id: folders.pop(row.slide_id)})
                        yield row
            tasks = []
            for task in elsewhere:
                result = store.fetch(plan.key(task), plan.out)
                if result is None:
                    tasks.append(task)
                else:
                    yield _reused(task, result)
            if tasks:
                log.info("%s: %d slide(s) are being computed by another run", plan.step, len(tasks))
                time.sleep(_POLL_SECONDS)


def _remove_folders(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)


def _calls(
    plan: Plan,
    tasks: Sequence[Task],
    store: ResultStore,
    claims: Claims,
    folders: dict[str, Path],
    elsewhere: list[Task],
) -> Iterator[Call]:
    """Claims one task after the other and yields its call; fills `folders` (to be removed) and `elsewhere`.

    `elsewhere` are the tasks that another run has claimed, or has finished in the meantime.
    """
    target = (plan.work.__module__, plan.work.__name__)
    for task in tasks:
        key = plan.key(task)
        if not claims.take(key):
            elsewhere.append(task)
        elif store.has_files(key):
            claims.release(key)
            elsewhere.append(task)
        else:
            folders[task.slide_id] = store.workspace()
            record = provenance(plan.step, task.recipe)
            arguments = (target, folders[task.slide_id], record, task.arguments)
            yield Call(slide_id=task.slide_id, function=(__name__, "in_workspace"), arguments=arguments)


def in_workspace(
    target: tuple[str, str], folder: Path, record: dict[str, Any], arguments: tuple[Any, ...]
) -> tuple[Path, list[str]]:
    """Runs in the worker: does the work in a fresh folder below `folder`, which a second attempt does not share."""
    fresh = Path(tempfile.mkdtemp(dir=folder))
    work: Work = getattr(import_module(target[0]), target[1])
    return fresh, list(work(fresh, record, *arguments))


def _keep(plan: Plan, task: Task, answer: Answer, store: ResultStore) -> Row:
    """Puts a result into the store, and brings it from there into `out`."""
    if answer.error is not None:
        return refusal(task.slide_id, answer.error, answer.seconds)
    folder, notes = answer.value
    store.put(plan.key(task), folder, notes, slide_id=task.slide_id, recipe=task.recipe)
    if store.fetch(plan.key(task), plan.out) is None:
        lost = SlideError(
            "E_STORE",
            f"its result does not read back from {store.root} as it was written",
            remedy="check that disk, or set cache.dir of DVC to another one",
            set_aside=False,
        )
        return refusal(task.slide_id, lost, answer.seconds)
    return Row(slide_id=task.slide_id, status="done", seconds=answer.seconds, notes=tuple(notes))
