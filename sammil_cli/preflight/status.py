"""sammil status, sammil why: what the per-slide stages would do, and why; nothing is computed or written.

A project may have asked for a stage besides, which works on slides one by one and then trains on all of them
(`AskedFor`, `TrainingStatus`); what it trains is as fresh or stale as a slide's result.
"""

import glob
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sammil_cli.config import ConvertSettings, Settings, TilesSettings
from sammil_cli.errors import InputError, MissingError, SammilError
from sammil_cli.exchange.convert_legacy import plan_project, slides_in_hand
from sammil_cli.patches.tile_folders import find_tiles
from sammil_cli.preflight.key_changes import Change, changes
from sammil_cli.project.in_hand import UNGROUPED, InHand, in_hand_of
from sammil_cli.project.pipeline import ASKED_FOR, FILES, PIPELINE, WSI_SAM_STAGE
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.out_folder import RECORDED, done_before, is_own
from sammil_cli.runner.per_slide import Job, Plan, Task
from sammil_cli.slides.files import find_slides
from sammil_cli.stages import tiles
from sammil_cli.stages.by_name import plan_stage
from sammil_cli.storage.files import Key, as_stored, read_csv
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.origin import read_key
from sammil_cli.storage.paths import slide_of
from sammil_cli.storage.store import Result, ResultStore, is_content, open_store

STAGES = ("segment", "patch", "sam", "extract")
STATES = ("up to date", "from the store", "to compute", "not done", "follows", "to remove")
UP_TO_DATE, STORED, TO_DO, NOT_DONE, FOLLOWS, GONE = STATES
_MADE_OTHERWISE = Change(
    "made otherwise", "what is there was made with other settings, models, code or files than those of now"
)
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
class TrainingStatus:
    """What a stage would do with what it trains on all of its slides together.

    Args:
        state: one of `STATES`. changes: why.
        there: what lies in its folder now, in words; empty before the first training.
        resumes_after: the epochs that an interrupted training has finished; None = it would begin anew.
        parts: by slide, what it is to the training that lies there, in words.
        what: is said to be done: training, or judging.
    """

    state: str
    changes: tuple[Change, ...] = ()
    there: str = ""
    resumes_after: int | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    what: str = "training"


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """What one stage would do.

    Args:
        problem: why that is not known, such as missing weights.
        training: of a stage that trains on its slides.
        passed_over: what is said of a slide that is none of them; empty = nothing, the stage works on all together.
        not_made: says so where nobody has asked for the stage's results yet, and how to; empty = they are there.
    """

    stage: str
    slides: Sequence[SlideStatus]
    problem: SammilError | None = None
    training: TrainingStatus | None = None
    passed_over: str = "nothing is known of it"
    not_made: str = ""


@dataclass(frozen=True, kw_only=True)
class AskedFor:
    """A stage that a project has asked for, and that comes right before one of `STAGES`.

    Args:
        before: that stage. examine: says what would be done, after the stages that come before it.
        is_read: whether the results of `before` are made with what it trains.
    """

    before: str
    examine: Callable[[Sequence[StageStatus]], StageStatus]
    is_read: bool


def run(
    project: Project, settings: Settings, only: frozenset[str] | None = None, asked_for: AskedFor | None = None
) -> list[StageStatus]:
    """What each per-slide stage would do, with `only` of some slides.

    Raises:
        InputError: no slides, or a table that cannot be read.
    """
    in_hand = in_hand_of(Path(PIPELINE))
    of_slides = in_hand is None or in_hand.beside
    stages = _of_slides(project, settings, only, asked_for) if of_slides else []
    if in_hand is not None:
        stages += _of_features(project, settings, in_hand)
    if only is None:
        return stages
    return [replace(stage, slides=[slide for slide in stage.slides if slide.slide_id in only]) for stage in stages]


def _of_features(project: Project, settings: Settings, in_hand: InHand) -> list[StageStatus]:
    """What would be done with features or tiles in hand, and where the project asks for it, to find their regions."""
    out = Path(UNGROUPED) if in_hand.regions else project.bags
    try:
        if in_hand.tiles:
            of_tiles = tiles.plan(replace(project, bags=out), settings.stage(TilesSettings), RunOptions())
            stages = [judge_plan(of_tiles, project, {})]
        else:
            stages = [judge_plan(plan_project(project, settings.stage(ConvertSettings), out), project, {})]
    except (InputError, MissingError) as error:
        return [StageStatus(stage=in_hand.stage, slides=[], problem=error)]
    if in_hand.regions:
        grouped = replace(project, ungrouped=out)
        for stage in ("sam", "extract"):
            stages.append(_examine(stage, grouped, settings, None, waiting_for(stages)))
    return stages


def _of_slides(
    project: Project, settings: Settings, only: frozenset[str] | None, asked_for: AskedFor | None
) -> list[StageStatus]:
    """What each stage that works on slides would do, with all of them."""
    known = find_slides(project.slides).ids
    # A stage refuses to be restricted to a slide that is gone; and what is trained follows from all slides.
    some = only if only and only <= known and asked_for is None else None
    stages: list[StageStatus] = []
    for stage in STAGES:
        needed = [earlier for earlier in stages if set(_outs(earlier.stage)) & set(FILES[stage].deps)]
        waiting = waiting_for(needed)
        if asked_for is not None and asked_for.before == stage:
            stages.append(asked_for.examine(stages))
            if asked_for.is_read and _comes_first(stages[-1].training):
                waiting = _all_waiting(stages[-1].stage, needed) | waiting
        stages.append(_examine(stage, project, settings, some, waiting))
    return stages


def _outs(stage: str) -> tuple[str, ...]:
    return {**FILES, **ASKED_FOR}[stage].outs


def waiting_for(needed: Sequence[StageStatus]) -> dict[str, SlideStatus]:
    """The slides whose results in a later stage are settled by those that it needs."""
    waiting: dict[str, SlideStatus] = {}
    for earlier in needed:
        for slide in earlier.slides:
            if slide.state != UP_TO_DATE and slide.slide_id not in waiting:
                waiting[slide.slide_id] = _after(slide, earlier.stage)
    return waiting


def _comes_first(training: TrainingStatus | None) -> bool:
    return training is not None and training.state in (TO_DO, STORED, FOLLOWS)


def _all_waiting(stage: str, needed: Sequence[StageStatus]) -> dict[str, SlideStatus]:
    """All slides, waiting for what a stage trains."""
    why = (Change(f"follows {stage}", f"follows {stage}"),)
    names = {slide.slide_id for earlier in needed for slide in earlier.slides}
    return {name: SlideStatus(slide_id=name, state=FOLLOWS, changes=why, because_of=stage) for name in names}


def _examine(
    stage: str, project: Project, settings: Settings, only: frozenset[str] | None, waiting: Mapping[str, SlideStatus]
) -> StageStatus:
    try:
        plan = plan_stage(stage, project, settings, RunOptions(only=only))
    except (InputError, MissingError) as error:
        # That earlier files are missing is no problem while the stage that writes them is still to run.
        trains = any(slide.because_of == WSI_SAM_STAGE for slide in waiting.values())
        expected = waiting and (trains or isinstance(error, InputError))
        return StageStatus(stage=stage, slides=_sorted(waiting), problem=None if expected else error)
    return judge_plan(plan, project, waiting, only)


def judge_plan(
    plan: Plan[Job], project: Project, waiting: Mapping[str, SlideStatus], only: frozenset[str] | None = None
) -> StageStatus:
    """What a stage with that plan would do; slides that are `waiting` for an earlier one follow it."""
    stage, listed = plan.stage, _read_list(plan.process_list)
    store = open_store(plan.stage)
    here = frozenset(path.name for path in plan.out.iterdir()) if plan.out.is_dir() else frozenset()
    found = {task.slide_id: _judge(stage, plan, task, store, listed, project, here) for task in plan.tasks}
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
    here: Container[str],
) -> SlideStatus:
    """The state of one slide; `here`: the names of the files in the stage's folder."""
    name, key = plan.name_of(task), as_stored(task.key)
    result = store.look(name)
    status = SlideStatus(slide_id=task.slide_id, state=UP_TO_DATE, settings=key.get("settings"))
    if result is not None:
        status = replace(status, remarks=tuple(result.remarks), libraries=_other_libraries(result, task))
        if all(_is_there(plan.out / file, result, key) for file in result.files):
            return status
    row = listed.get(task.slide_id, {})
    old = _made_with(plan.out, task.slide_id, here)
    if result is not None and store.has_files(name):
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
        if row.get("status") in ("done", "reused") and any(plan.out.glob(f"{glob.escape(task.slide_id)}.*")):
            new = _MADE_OTHERWISE  # pictures hold no key
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


def _made_with(out: Path, slide_id: str, here: Container[str]) -> dict[str, Any] | None:
    """The key of what lies in a stage's folder now."""
    keys = (read_key(out / file) for suffix in RECORDED if (file := f"{slide_id}{suffix}") in here)
    return next((key for key in keys if key is not None), None)


def check_slide(project: Project, slide_id: str) -> None:
    """Refuses a slide that is nowhere in the project.

    Raises:
        InputError: with the ids that are nearly the same.
    """
    in_hand = in_hand_of(Path(PIPELINE))
    known = _in_hand(project, in_hand) if in_hand else set()
    known |= find_slides(project.slides).ids if in_hand is None or in_hand.beside else set()
    folders = (project.tissue, project.patches, project.fields, project.regions, project.bags)
    known |= {slide_of(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}
    if slide_id not in known:
        where = project.slides if in_hand is None or in_hand.beside else Path(in_hand.root)
        raise InputError(f"there is no slide {slide_id!r} in {where}", remedy=did_you_mean(slide_id, known))


def _in_hand(project: Project, in_hand: InHand) -> set[str]:
    return find_tiles(project.tiles).ids if in_hand.tiles else set(slides_in_hand(project))
