"""The machinery of all per-slide stages: what a run is to do, the result store, the process list."""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from sammil_cli import console
from sammil_cli.config import Tolerance
from sammil_cli.errors import InputError, MissingError, SlideError, as_slide_error, limit_met
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.process_list import CHANGED, ProcessList, Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits, open_executor
from sammil_cli.runner.inputs import Input, as_key, files_in
from sammil_cli.runner.out_folder import OutFolder
from sammil_cli.runner.pulled_results import adopt
from sammil_cli.runner.spent import Totals
from sammil_cli.runner.worker import Work, in_fresh_folder
from sammil_cli.storage.claims import Claims
from sammil_cli.storage.code import Code
from sammil_cli.storage.files import LONGEST_SUFFIX, Key, check_name, digest, longest_name, provenance
from sammil_cli.storage.store import Result, ResultStore, open_store

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0  # between two looks at what another run is computing
_ROUNDS = 3  # at most, while slides are added, removed or changed
_SHOWN = 5
_AGAIN = "wait until nothing writes there any more (a copy, a download), then run the same command again"
Job = TypeVar("Job")


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Job]):
    """One slide to do.

    `key`: what the result is made with, all of it; `libraries`: that compute, with versions; `files`: those that the
    key is made from, as they were then.
    """

    slide_id: str
    key: Key
    libraries: Mapping[str, str]
    job: Job
    files: Sequence[Input] = ()

    @classmethod
    def of(
        cls, slide_id: str, job: Job, inputs: Mapping[str, object], code: Code, *, strict: bool = False
    ) -> "Task[Job]":
        """A task whose result is made from `inputs` by `code`.

        Args:
            inputs: every file among them is a `runner.inputs.Input`. strict: with these very libraries.
        """
        key = {name: as_key(value) for name, value in inputs.items()} | dict(code.as_key(strict=strict))
        return cls(slide_id=slide_id, key=key, libraries=code.libraries, job=job, files=tuple(files_in(dict(inputs))))

    def changed(self) -> str:
        """Which file was touched since the key was made, in words; empty where none was."""
        return next((text for file in self.files if (text := file.trouble())), "")


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[Job]):
    """What a stage would do: its tasks, and the rows of slides that were found impossible before any work.

    `work(folder, record, job)` writes the slide's files into an empty folder and returns its remarks;
    `longest_suffix`: of these files.
    """

    stage: str
    tasks: Sequence[Task[Job]]
    work: Work[Job]
    out: Path
    process_lists: Path
    refused: Sequence[Row] = ()
    longest_suffix: str = LONGEST_SUFFIX

    @property
    def process_list(self) -> Path:
        """Where to list what becomes of each slide."""
        return self.process_lists / f"{self.stage}.csv"

    def name_of(self, task: Task[Job]) -> str:
        """The name of a task's result in the store: the digest of its key."""
        return self.name_by(task.slide_id, task.key)

    def name_by(self, slide_id: str, key: Key) -> str:
        """The name of a slide's result that is made with a key."""
        return digest({"stage": self.stage, "slide_id": slide_id, **key})

    def prospects(self) -> dict[str, str]:
        """What is to become of each slide: the name of its result, or why it is refused."""
        refused = {row.slide_id: f"{row.code} {row.message}" for row in self.refused}
        return refused | {task.slide_id: self.name_of(task) for task in self.tasks}

    def only(self, slides: Collection[str]) -> "Plan[Job]":
        """The part of the plan that is about some slides."""
        tasks = [task for task in self.tasks if task.slide_id in slides]
        return replace(self, tasks=tasks, refused=[row for row in self.refused if row.slide_id in slides])


def limits_of(settings: Tolerance) -> Limits:
    """The limits of one slide that the settings give."""
    memory = settings.slide_memory_gib
    return Limits(
        seconds=None if settings.slide_minutes is None else 60 * settings.slide_minutes,
        memory_bytes=None if memory is None else int(memory * 2**30),
    )


def run_plan(make: Callable[[], Plan[Job]], options: RunOptions, limits: Limits) -> list[Row]:
    """Does the tasks whose result is not in the store, copies all results to `out` and writes the process list.

    Each slide's work runs in a process of its own: an exception, a crash or a hang costs that slide only. Several
    runs on one project, on other hosts too, share the work: what another one computes is waited for at the end.
    Files of slides that are not up to date are removed from `out` before any work, and those of slides that are no
    longer there, unless `options.only` restricts the run; files that another command has made stay (`OutFolder`).

    Then the plan is made once more: what was added, removed or changed in the meantime is done in another round. What
    still changes after `_ROUNDS` of them fails with `E_CHANGED`, and leaves nothing in `out`.

    Args:
        make: lists and identifies all that there is to do; called before each round, and after the last.

    Raises:
        InputError, MissingError: as `make`; or a file that is read lies in `out`.
        KeyboardInterrupt: after everything finished was kept and listed.
    """
    plan = make()
    _refuse_to_read_there(plan)
    plan = _without_long_names(plan)
    store = open_store(plan.stage, options.store)
    tidy(Project(), plan.out, plan.process_lists, store=options.store)
    store.tidy()
    plan.out.mkdir(parents=True, exist_ok=True)
    folders = [OutFolder(plan.out, plan.stage, plan.process_list, options.only)]
    listing = ProcessList(plan.process_list, options.only, store)
    try:
        _do(plan, store, options, limits, folders[0], listing)
        for left in range(_ROUNDS - 1, -1, -1):
            before, plan = plan, _look_again(make, plan.stage)
            changed = _changed(before, plan, listing)
            if not changed:
                break
            listing.write()
            folders.append(OutFolder(plan.out, plan.stage, plan.process_list, frozenset(changed)))
            for slide_id in changed:
                listing.rows.pop(slide_id, None)
            if left:
                console.say(f"{plan.stage}: {_named(before, plan, changed)} in the meantime: another round")
                _do(plan.only(changed), store, options, limits, folders[-1], listing)
            else:
                folders[-1].clear((), ())
                listing.rows |= {row.slide_id: row for row in changed.values()}
    finally:
        listing.close(plan.stage, plan.out)
    for folder in folders:
        for line in folder.said(listing.done()):
            console.say(f"{plan.stage}: {line}")
    return [listing.rows[slide_id] for slide_id in sorted(listing.rows)]


def _do(
    plan: Plan[Job], store: ResultStore, options: RunOptions, limits: Limits, folder: OutFolder, listing: ProcessList
) -> None:
    """One round: brings results to where they belong, or has them made."""
    names = {task.slide_id: plan.name_of(task) for task in plan.tasks}
    if Path("dvc.lock").exists():
        unknown = {slide_id: name for slide_id, name in names.items() if store.look(name) is None}
        adopt(store, Path("dvc.lock"), plan.out, unknown, plan.name_by)
    with console.progress(len(plan.tasks) + len(plan.refused), plan.stage) as bar:
        for row in plan.refused:
            listing.rows[row.slide_id] = row
            bar.advance(row.slide_id)
        open_tasks, kept = [], set[str]()
        for task, result in _fetch_all(plan, store, folder):
            if result is None:
                open_tasks.append(task)
                continue
            listing.rows[task.slide_id] = _reused(task, result)
            kept |= set(result.files)
            bar.advance(task.slide_id)
        folder.clear(kept, listing.done())
        with contextlib.closing(_compute(plan, open_tasks, store, options, limits)) as ended:
            for row in ended:
                if row.done and folder.was_others(row.slide_id) and (made := store.look(names[row.slide_id])):
                    folder.take_over(row.slide_id, made.files)
                listing.add(row)
                bar.advance(row.slide_id)
                if not row.done:
                    log.info("%s %s: %s %s", row.status, row.slide_id, row.code, row.message)


def _look_again(make: Callable[[], Plan[Job]], stage: str) -> Plan[Job]:
    """The plan as it is now.

    Raises:
        InputError, MissingError: something that was in order when the run began no longer is.
    """
    try:
        return _without_long_names(make())
    except (InputError, MissingError) as error:
        message = f"{error.message} (it was in order when sammil {stage} began; what it finished is kept)"
        raise type(error)(message, remedy=error.remedy, code=error.code) from None


def _changed(before: Plan[Job], now: Plan[Job], listing: ProcessList) -> dict[str, Row]:
    """The slides whose row no longer fits what is there, each with a row that says so."""
    then, since = before.prospects(), now.prospects()
    changed = {}
    for slide_id in sorted(then.keys() | since.keys()):
        row = listing.rows.get(slide_id)
        if row is not None and row.code == CHANGED:
            changed[slide_id] = row
        elif then.get(slide_id) != since.get(slide_id):
            what = _what(slide_id, then, since)
            error = SlideError(CHANGED, f"{what} while sammil {now.stage} ran", remedy=_AGAIN, set_aside=False)
            changed[slide_id] = refusal(slide_id, error)
    return changed


def _what(slide_id: str, then: Collection[str], since: Collection[str]) -> str:
    if slide_id not in then:
        return "the slide was added"
    return "the slide, or what belongs to it, changed" if slide_id in since else "the slide was removed"


def _named(before: Plan[Job], now: Plan[Job], changed: Collection[str]) -> str:
    """`2 slides added (a, b), 1 changed (c)`."""
    then, since = before.prospects(), now.prospects()
    parts = []
    for word, slides in (
        ("added", [slide for slide in changed if slide not in then]),
        ("changed", [slide for slide in changed if slide in then and slide in since]),
        ("removed", [slide for slide in changed if slide not in since]),
    ):
        if slides:
            shown = ", ".join(slides[:_SHOWN]) + (", …" if len(slides) > _SHOWN else "")
            parts.append(f"{len(slides)} slide(s) {word} ({shown})")
    return ", ".join(parts)


def _refuse_to_read_there(plan: Plan[Job]) -> None:
    """Refuses inputs in the folder of the results: what is called like a slide there is replaced and removed.

    Raises:
        InputError: with the first of them.
    """
    out, resolved = plan.out.resolve(), cache(Path.resolve)
    for path in (file.path for task in plan.tasks for file in task.files):
        if out == resolved(path.parent) or (path.is_symlink() and out == path.resolve().parent):
            raise InputError(
                f"{path} is read, and lies in {plan.out}, where {plan.stage} writes and removes files",
                remedy="write into another folder, or read a copy that lies elsewhere",
            )


def _without_long_names(plan: Plan[Job]) -> Plan[Job]:
    """The plan, without the slides whose files could not be written; they are refused."""
    refused: dict[str, Row] = {}
    most = longest_name(plan.out)
    for task in plan.tasks:
        try:
            check_name(task.slide_id, plan.out, plan.longest_suffix, most)
        except SlideError as error:
            refused[task.slide_id] = refusal(task.slide_id, error)
    tasks = [task for task in plan.tasks if task.slide_id not in refused]
    return replace(plan, tasks=tasks, refused=[*plan.refused, *refused.values()])


def _reused(task: Task[Job], result: Result) -> Row:
    return Row(slide_id=task.slide_id, status="reused", remarks=tuple(result.remarks))


def _fetch_all(plan: Plan[Job], store: ResultStore, folder: OutFolder) -> Iterator[tuple[Task[Job], Result | None]]:
    """Brings what the store has into `out`. Threads, since disks and check sums take the time."""

    def fetch(task: Task[Job]) -> Result | None:
        return store.fetch(plan.name_of(task), plan.out, lambda: folder.remember(task.slide_id))

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from zip(plan.tasks, pool.map(fetch, plan.tasks), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _compute(
    plan: Plan[Job], tasks: Sequence[Task[Job]], store: ResultStore, options: RunOptions, limits: Limits
) -> Generator[Row, None, None]:
    """Yields a row for each task as it ends, last those that another run computed."""
    by_id = {task.slide_id: task for task in tasks}
    folders: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_folders, folders)
        claims = stack.enter_context(store.claims()) if tasks else None
        while tasks and claims:
            elsewhere: list[Task[Job]] = []
            calls = _calls(plan, tasks, store, claims, folders, elsewhere)
            first = next(calls, None)
            if first is not None:
                # Each process's share of the cores depends on how many there are.
                options = replace(options, workers=min(options.workers, len(tasks)))
                if options.place:
                    console.note(f"{plan.stage}: {options.place}, at most {options.workers} slide(s) at once")
                    options = replace(options, place="")
                with open_executor(options, limits) as executor:
                    totals = Totals()
                    for answer in executor.answers(chain([first], calls)):
                        totals.add(answer.spent, answer.seconds)
                        row = _keep(plan, by_id[answer.slide_id], answer, store)
                        claims.release(plan.name_of(by_id[answer.slide_id]))
                        _remove_folders({row.slide_id: folders.pop(row.slide_id)})
                        yield row
                if line := totals.line():
                    console.say(f"{plan.stage}: {line}")
            tasks = []
            for task in elsewhere:
                result = store.fetch(plan.name_of(task), plan.out)
                if result is None:
                    tasks.append(task)
                else:
                    yield _reused(task, result)
            if tasks:
                log.info("%s: %d slide(s) are being computed by another run", plan.stage, len(tasks))
                time.sleep(_POLL_SECONDS)


def _remove_folders(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)


def _calls(
    plan: Plan[Job],
    tasks: Sequence[Task[Job]],
    store: ResultStore,
    claims: Claims,
    folders: dict[str, Path],
    elsewhere: list[Task[Job]],
) -> Iterator[Call]:
    """Claims one task after the other and yields its call; fills `folders` (to be removed) and `elsewhere`.

    `elsewhere` are the tasks that another run has claimed, or has finished in the meantime.
    """
    for task in tasks:
        name = plan.name_of(task)
        if not claims.take(name):
            elsewhere.append(task)
        elif store.has_files(name):
            claims.release(name)
            elsewhere.append(task)
        else:
            folders[task.slide_id] = store.workspace()
            record = provenance(plan.stage, task.key, task.libraries)
            yield Call.to(task.slide_id, in_fresh_folder, plan.work, folders[task.slide_id], record, task.job)


def _keep(plan: Plan[Job], task: Task[Job], answer: Answer, store: ResultStore) -> Row:
    """Puts a result into the store, and brings it from there into `out`, unless its key may no longer hold."""
    if changed := task.changed():
        message = f"{changed} while the slide was worked on; nothing of that was kept"
        return refusal(task.slide_id, SlideError(CHANGED, message, remedy=_AGAIN, set_aside=False), answer.seconds)
    if answer.error is not None:
        return refusal(task.slide_id, answer.error, answer.seconds)
    folder, remarks = answer.value
    result = Result(remarks=tuple(remarks), slide_id=task.slide_id, key=task.key, libraries=task.libraries)
    try:
        store.put(plan.name_of(task), folder, result)
        fetched = store.fetch(plan.name_of(task), plan.out)
    except OSError as error:  # it costs this slide only: others are smaller, and somebody may make room
        if (met := limit_met(error)) is None:
            raise
        return refusal(task.slide_id, as_slide_error(met), answer.seconds)
    if fetched is None:
        lost = SlideError(
            "E_STORE",
            f"its result does not read back from {store.root} as it was written",
            remedy="check that disk" + (", or set cache.dir of DVC to another one" if store.dvc_files.is_dir() else ""),
            set_aside=False,
        )
        return refusal(task.slide_id, lost, answer.seconds)
    return Row(slide_id=task.slide_id, status="done", seconds=answer.seconds, remarks=tuple(remarks))
