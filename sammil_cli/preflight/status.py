"""sammil status, sammil why: what the per-slide stages would do, and why; nothing is computed or written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import Settings
from sammil_cli.errors import InputError, MissingError, SammilError
from sammil_cli.preflight.key_changes import Change, changes, listed_settings
from sammil_cli.project.pipeline import FILES
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.out_folder import RECORDED, done_before, is_own
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.slides.files import find_slides
from sammil_cli.stages.by_name import plan_stage
from sammil_cli.storage.files import Key, as_stored, read_csv
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.origin import read_key
from sammil_cli.storage.paths import slide_of
from sammil_cli.storage.store import Result, ResultStore, is_content, open_store

STAGES = ("segment", "patch", "sam", "extract")
STATES = ("up to date", "from the store", "to compute", "not done", "follows", "to remove")
UP_TO_DATE, STORED, TO_DO, NOT_DONE, FOLLOWS, GONE = STATES
_WOULD_BE = {STORED: "brought back from the result store", TO_DO: "computed"}
_MOST_REASONS = 6
_MOST_FILES = 10
_LARGE_BYTES = 1 << 20  # larger files are asked how they were made, not read whole


@dataclass(frozen=True, kw_only=True)
class SlideStatus:
    """What one stage would do with one slide.

    Args:
        state: one of `STATES`. Slides that could not be done are tried again by each run.
        changes: why, against what lies in the stage's folder now.
        because_of: the earlier stage that settles it.
        settings: those that its result is made with. remarks: of the run that made it.
        libraries: which computed it in another version than the one that is installed; empty where none did.
    """

    slide_id: str
    state: str
    changes: tuple[Change, ...] = ()
    because_of: str = ""
    settings: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    libraries: str = ""


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """What one stage would do; `problem` says why that is not known, such as missing weights."""

    stage: str
    slides: Sequence[SlideStatus]
    problem: SammilError | None = None


def run(project: Project, settings: Settings, only: frozenset[str] | None = None) -> list[StageStatus]:
    """What each per-slide stage would do, with `only` of some slides.

    Raises:
        InputError: no slides, or a table that cannot be read.
    """
    known = find_slides(project.slides).ids
    stages: list[StageStatus] = []
    for stage in STAGES:
        needed = [earlier for earlier in stages if set(FILES[earlier.stage].outs) & set(FILES[stage].deps)]
        # A stage refuses to be restricted to a slide that is gone.
        stages.append(_examine(stage, project, settings, only if only and only <= known else None, needed))
    if only is None:
        return stages
    return [replace(stage, slides=[slide for slide in stage.slides if slide.slide_id in only]) for stage in stages]


def _examine(
    stage: str, project: Project, settings: Settings, only: frozenset[str] | None, needed: Sequence[StageStatus]
) -> StageStatus:
    waiting: dict[str, SlideStatus] = {}
    for earlier in needed:
        for slide in earlier.slides:
            if slide.state != UP_TO_DATE and slide.slide_id not in waiting:
                waiting[slide.slide_id] = _after(slide, earlier.stage)
    try:
        plan = plan_stage(stage, project, settings, RunOptions(only=only))
    except (InputError, MissingError) as error:
        # That earlier files are missing is no problem while the stage that writes them is still to run.
        expected = isinstance(error, InputError) and waiting and any(earlier.slides for earlier in needed)
        return StageStatus(stage=stage, slides=_sorted(waiting), problem=None if expected else error)
    listed = _read_list(plan.process_list)
    store = open_store(plan.stage)
    found = {task.slide_id: _judge(stage, plan, task, store, listed, project) for task in plan.tasks}
    for row in plan.refused:
        found[row.slide_id] = SlideStatus(
            slide_id=row.slide_id, state=NOT_DONE, changes=(Change(row.code, f"{row.message}; fix: {row.remedy}"),)
        )
    found |= {slide_id: slide for slide_id, slide in waiting.items() if slide.state != GONE or slide_id in found}
    done = done_before(plan.process_list)
    for path in plan.out.iterdir() if plan.out.is_dir() else ():
        name = slide_of(path)
        if name in found or (only is not None and name not in only) or path.name.startswith("."):
            continue
        if is_own(plan.out, name, plan.stage, done):
            gone = Change("slide is gone", f"{name} is no longer among the slides: its files would be removed")
            found[name] = SlideStatus(slide_id=name, state=GONE, changes=(gone,))
    return StageStatus(stage=stage, slides=_sorted(found))


def _sorted(slides: Mapping[str, SlideStatus]) -> list[SlideStatus]:
    return [slides[slide_id] for slide_id in sorted(slides)]


def _after(slide: SlideStatus, stage: str) -> SlideStatus:
    """What an earlier stage's state means for a later one."""
    if slide.because_of:
        return slide
    state, why = FOLLOWS, Change(f"follows {stage}", f"follows {stage}")
    if slide.state == NOT_DONE:
        state, why = NOT_DONE, Change(f"not done by {stage}", f"{stage} could not do it")
    elif slide.state == GONE:
        state = GONE
    return SlideStatus(slide_id=slide.slide_id, state=state, changes=(why,), because_of=stage)


def _read_list(path: Path) -> dict[str, dict[str, str]]:
    """The last process list by slide; empty before the first."""
    try:
        return {row["slide_id"]: row for row in read_csv(path, ("slide_id", "status"))}
    except InputError:
        return {}


def _judge(
    stage: str,
    plan: Plan[Any],
    task: Task[Any],
    store: ResultStore,
    listed: Mapping[str, Mapping[str, str]],
    project: Project,
) -> SlideStatus:
    name, key = plan.name_of(task), as_stored(task.key)
    result = store.look(name)
    status = SlideStatus(slide_id=task.slide_id, state=UP_TO_DATE, settings=key.get("settings"))
    if result is not None:
        status = replace(status, remarks=tuple(result.remarks), libraries=_other_libraries(result, task))
        if all(_is_there(plan.out / file, result, key) for file in result.files):
            return status
    row = listed.get(task.slide_id, {})
    old = _made_with(plan.out, task.slide_id)
    if store.has_files(name):
        why = changes(stage, task.slide_id, old, key, project) if old else ()
        missing = Change("not in its folder", f"its files are not in {plan.out}, or are not what they were")
        return replace(status, state=STORED, changes=why or (missing,))
    if row.get("status") in ("failed", "set-aside"):
        text = f"{row['status']}: {row.get('code', '')}  {row.get('message', '')}"
        text += f"\nfix: {row.get('remedy', '')}\nthe next run tries it again"
        why = (Change(f"not done: {row.get('code', '')}", text),)
        return replace(status, state=NOT_DONE, changes=why)
    if old is None:
        new = Change("files are missing", "its files are gone") if row else Change("new slide", "it is new")
        return replace(status, state=TO_DO, changes=(new,))
    lost = Change("not in the result store", "its files are there, but the result store does not know them")
    return replace(status, state=TO_DO, changes=changes(stage, task.slide_id, old, key, project) or (lost,))


def _other_libraries(result: Result, task: Task[Any]) -> str:
    """Libraries that computed a result in another version than the one that is installed."""
    then, now = result.libraries, task.libraries
    other = [name for name in now if then.get(name, now[name]) != now[name]]
    return ", ".join(f"{name} {then[name]} (here {now[name]})" for name in other)


def _is_there(path: Path, result: Result, key: Key) -> bool:
    """Whether an out file is that of the result; a large one is believed when length and key agree."""
    facts = result.files[path.name]
    if facts.bytes <= _LARGE_BYTES:
        return is_content(path, facts)
    try:
        same_length = path.stat().st_size == facts.bytes
    except OSError:
        return False
    made_with = read_key(path) if same_length else None
    return same_length and (made_with == key if made_with else is_content(path, facts))


def _made_with(out: Path, slide_id: str) -> dict[str, Any] | None:
    """The key of what lies in a stage's folder now."""
    keys = (read_key(out / f"{slide_id}{suffix}") for suffix in RECORDED)
    return next((key for key in keys if key is not None), None)


def report(stages: Sequence[StageStatus]) -> None:
    """Prints a table, one line for each stage."""
    used = [state for state in STATES if any(slide.state == state for stage in stages for slide in stage.slides)]
    rows = []
    for stage in stages:
        tally = Counter(slide.state for slide in stage.slides)
        reasons = Counter(
            change.short for slide in stage.slides for change in slide.changes if slide.state != UP_TO_DATE
        )
        why = [f"{count} × {short}" for short, count in reasons.most_common(_MOST_REASONS)]
        libraries = Counter(slide.libraries for slide in stage.slides if slide.libraries)
        why += [f"{count} × computed with {other}" for other, count in libraries.items()]
        if len(reasons) > _MOST_REASONS:
            why.append(f"… and {len(reasons) - _MOST_REASONS} other reasons")
        if stage.problem is not None:
            why.append(f"{stage.problem.message} (fix: {stage.problem.remedy})")
        rows.append((stage.stage, *(tally[state] for state in used), why))
    console.print_table("What the next run would do", ("stage", *used, "why"), rows)
    for line in changed_files(stages):
        console.say(line)
    if set(used) <= {UP_TO_DATE} and not any(stage.problem for stage in stages):
        console.say("nothing to do")


def changed_files(stages: Sequence[StageStatus]) -> list[str]:
    """A line for each kind of change among the user's files, with the first of the files."""
    files: dict[str, dict[str, None]] = {}
    for change in (change for stage in stages for slide in stage.slides for change in slide.changes):
        if change.file is not None:
            files.setdefault(change.short, {})[str(change.file)] = None
    return [f"{short}: {_first_of(list(names))}" for short, names in files.items()]


def _first_of(names: Sequence[str]) -> str:
    more = len(names) - _MOST_FILES
    return ", ".join(names[:_MOST_FILES]) + (f" and {more} more" if more > 0 else "")


def check_slide(project: Project, slide_id: str) -> None:
    """Refuses a slide that is nowhere in the project.

    Raises:
        InputError: with the ids that are nearly the same.
    """
    known = find_slides(project.slides).ids
    folders = (project.tissue, project.patches, project.regions, project.bags)
    known |= {slide_of(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}
    if slide_id not in known:
        raise InputError(f"there is no slide {slide_id!r} in {project.slides}", remedy=did_you_mean(slide_id, known))


def explain(slide_id: str, stages: Sequence[StageStatus]) -> None:
    """Says in words what each stage would do with one slide, and why."""
    console.say(slide_id)
    width = max(len(stage.stage) for stage in stages)
    for stage in stages:
        slide = next((slide for slide in stage.slides if slide.slide_id == slide_id), None)
        for number, line in enumerate(_lines(stage, slide)):
            console.say(f"  {'' if number else stage.stage:<{width}}  {line}")


def _lines(stage: StageStatus, slide: SlideStatus | None) -> list[str]:
    problem = stage.problem
    told = [] if problem is None else [f"not known: {problem.message}", f"fix: {problem.remedy}"]
    if slide is None:
        return told or ["nothing is known of it"]
    reasons = [line for change in slide.changes for line in change.long.split("\n")]
    if slide.state == UP_TO_DATE:
        said = ["up to date"]
        said += [f"made with {listed_settings(stage.stage, slide.settings)}"] if slide.settings else []
        said += [f"remark: {remark}" for remark in slide.remarks]
    elif slide.state in _WOULD_BE:
        said = [f"would be {_WOULD_BE[slide.state]}:", *(f"  {line}" for line in reasons)]
    else:
        said = reasons
    said += [f"computed with {slide.libraries}; strict_versions: true would redo it"] if slide.libraries else []
    return [*said, *told]


def as_records(stages: Sequence[StageStatus]) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "stage": stage.stage,
            "problem": None if stage.problem is None else stage.problem.message,
            "slides": [
                {
                    "slide_id": slide.slide_id,
                    "state": slide.state,
                    "reasons": [change.short for change in slide.changes],
                    "details": [change.long for change in slide.changes],
                    "files": [str(change.file) for change in slide.changes if change.file is not None],
                    "remarks": list(slide.remarks),
                    "libraries": slide.libraries,
                }
                for slide in stage.slides
            ],
        }
        for stage in stages
    ]
