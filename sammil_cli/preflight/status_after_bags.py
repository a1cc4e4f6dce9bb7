"""What train, evaluate, visualize and explain would do, for sammil status and sammil why; nothing is written.

Torch is not loaded: what lies there tells it, that is the run record, the predictions, the summary and the keys of
the pictures.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sammil_cli.config import EvaluateSettings, Settings, TrainSettings, VisualizeSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.preflight.key_changes import Change
from sammil_cli.preflight.status import (
    FOLLOWS,
    NOT_DONE,
    TO_DO,
    UP_TO_DATE,
    SlideStatus,
    StageStatus,
    TrainingStatus,
    judge_plan,
    waiting_for,
)
from sammil_cli.project.code_in_use import code_of_stage
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.run_record import RunRecord, read_record
from sammil_cli.runner.per_slide import Job, Plan
from sammil_cli.stages.by_name import plan_stage
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.paths import PACKED_GEOJSON

_TRAIN, _EVALUATE, _VISUALIZE, _EXPLAIN, _EVIDENCE = "train", "evaluate", "visualize", "explain", "evidence"
_NOT_MADE = "not made; run: sammil explain"
_HERE = RunOptions()
_SAME = 1e-5  # predictions.csv has thresholds to six digits
_UNCHANGED = "the labels are the same"  # how `since_training` ends where only the form of a table changed
_FOLLOWS_TRAIN = Change("follows train", "follows train")


def after_bags(
    project: Project, settings: Settings, before: Sequence[StageStatus], since: Sequence[str]
) -> list[StageStatus]:
    """The stages after the bags; none before the first training.

    Args:
        before: the stages up to the bags. since: what changed since the models were trained (`since_training`).
    """
    if not before or not project.record.is_file():
        return []
    try:
        record = read_record(project.record)
    except InputError as error:
        return [StageStatus(stage=_TRAIN, slides=[], problem=error)]
    trained = _train(project, settings, record, before[-1], since)
    fresh = trained.state == UP_TO_DATE
    judged = _evaluate(project, settings, record, fresh=fresh)
    pictures = _of_slides(_VISUALIZE, project, partial(plan_stage, _VISUALIZE, project, settings, _HERE), fresh=fresh)
    return [
        StageStatus(stage=_TRAIN, slides=[], training=trained, passed_over=""),
        StageStatus(stage=_EVALUATE, slides=[], training=judged, passed_over=""),
        pictures,
        _explain(project, settings, fresh=fresh),
        _evidence(project, settings, pictures, fresh=fresh),
    ]


def _train(
    project: Project, settings: Settings, record: RunRecord, bags: StageStatus, since: Sequence[str]
) -> TrainingStatus:
    asked = settings.stage(TrainSettings).model_dump(mode="json")
    changes = [
        Change(f"{key} changed", f"{key}: {record.params[key]} → {value}")
        for key, value in asked.items()
        if key in record.params and record.params[key] != value
    ]
    if record.code.get(_TRAIN) != code_of_stage(_TRAIN, project, settings).version:
        changes.append(Change("code changed", "sammil's code for train, or that of a plug-in it uses, changed"))
    changes += [Change("labels or slides changed", line) for line in since if not line.endswith(_UNCHANGED)]
    waiting = [slide for slide in bags.slides if slide.state not in (UP_TO_DATE, NOT_DONE)]
    if waiting:
        many = f"{len(waiting)} bag(s) would be made anew by {bags.stage}"
        changes = [Change(f"follows {bags.stage}", many), *changes]
    state = FOLLOWS if waiting else TO_DO if changes else UP_TO_DATE
    there = f"{len(record.folds)} model(s) of {record.params.get('model', 'an earlier version')} there"
    parts = {slide.slide_id: "in no part of any fold" for slide in bags.slides} | _parts(project)
    return TrainingStatus(state=state, changes=tuple(changes), there=there, parts=parts)


def _parts(project: Project) -> dict[str, str]:
    """By slide, in which folds it was what."""
    folds: dict[tuple[str, str], list[str]] = {}
    try:
        for row in read_csv(project.splits, ("repeat", "fold", "slide_id", "role")):
            folds.setdefault((row["slide_id"], row["role"]), []).append(f"{row['repeat']}.{row['fold']}")
    except InputError:
        return {}
    found: dict[str, list[str]] = {}
    for (slide_id, role), names in folds.items():
        found.setdefault(slide_id, []).append(f"{role} part of {', '.join(names)}")
    return {slide_id: f"{'; '.join(sorted(said))} (repeat.fold)" for slide_id, said in found.items()}


def _evaluate(project: Project, settings: Settings, record: RunRecord, *, fresh: bool) -> TrainingStatus:
    changes: list[Change] = []
    if not (project.predictions.is_file() and project.metrics.is_file()):
        changes = [Change("not judged yet", f"{project.metrics} or {project.predictions} is missing")]
    else:
        if not _judges(project.predictions, record):
            what = f"{project.predictions} judges other models than those of {project.models}"
            changes = [Change("other models", f"{what}: they were trained since")]
        changes += _other_settings(project.metrics, settings)
    if not fresh:
        return TrainingStatus(state=FOLLOWS, changes=(_FOLLOWS_TRAIN, *changes), what="judging")
    return TrainingStatus(state=TO_DO if changes else UP_TO_DATE, changes=tuple(changes), what="judging")


def _judges(predictions: Path, record: RunRecord) -> bool:
    """Whether predictions are of the models of a run: each fold of one has a threshold of its own."""
    threshold = {(str(fold.repeat), str(fold.fold)): fold.threshold for fold in record.folds}
    try:
        rows = read_csv(predictions, ("repeat", "fold", "role"))
    except InputError:
        return False
    said = {
        (row["repeat"], row["fold"]): row.get("uncalibrated_threshold", "") for row in rows if row["role"] == "test"
    }
    return said.keys() == threshold.keys() and all(_alike(said[fold], threshold[fold]) for fold in said)


def _alike(said: str, threshold: float | None) -> bool:
    if threshold is None or not said:  # several classes have none
        return threshold is None and not said
    try:
        return math.isclose(float(said), threshold, abs_tol=_SAME)
    except ValueError:
        return False


def _other_settings(metrics: Path, settings: Settings) -> list[Change]:
    try:
        then = read_json(metrics)
    except (InputError, OSError) as error:
        return [Change("its summary cannot be read", f"{metrics}: {error}")]
    now = settings.stage(EvaluateSettings).model_dump(mode="json")
    return [
        Change(f"{key} changed", f"{key}: {then[key]} → {value}")
        for key, value in now.items()
        if key in then and then[key] != value
    ]


def _of_slides(
    stage: str, project: Project, plan: Callable[[], Plan[Job]], *, fresh: bool, before: Sequence[StageStatus] = ()
) -> StageStatus:
    """Pictures, explanations, evidence: those of other models, settings or bags are made anew.

    Args:
        before: the stages whose results they are made of, besides models and bags.
    """
    try:
        planned = plan()
    except (InputError, MissingError) as error:
        return StageStatus(stage=stage, slides=[], problem=error if fresh else None)
    names = {task.slide_id for task in planned.tasks}
    if fresh:
        waiting = {name: slide for name, slide in waiting_for(before).items() if name in names}
    else:
        follows = partial(SlideStatus, state=FOLLOWS, changes=(_FOLLOWS_TRAIN,), because_of=_TRAIN)
        waiting = {name: follows(slide_id=name) for name in names}
    return judge_plan(planned, project, waiting)


def _explain(project: Project, settings: Settings, *, fresh: bool) -> StageStatus:
    out = project.pictures.with_name("explain")
    if not out.is_dir():
        return StageStatus(stage=_EXPLAIN, slides=[], not_made=_NOT_MADE)
    from sammil_cli.stages import explain  # here, as is evidence: few projects have them

    asked = settings.stage(VisualizeSettings)
    return _of_slides(_EXPLAIN, project, partial(explain.plan, project, asked, _HERE, out), fresh=fresh)


def _evidence(project: Project, settings: Settings, pictures: StageStatus, *, fresh: bool) -> StageStatus:
    """What QuPath shows of the pictures' tables."""
    if not project.evidence.is_dir():
        return StageStatus(stage=_EVIDENCE, slides=[], not_made=_NOT_MADE)
    from sammil_cli.stages import evidence

    packed = any(project.evidence.glob(f"*{PACKED_GEOJSON}"))
    plan = partial(evidence.plan, project, settings.stage(VisualizeSettings), _HERE, packed=packed)
    return _of_slides(_EVIDENCE, project, plan, fresh=fresh, before=[pictures])
