"""The rows of a benchmark, made: folds in parallel processes or on a cluster, what is fresh taken as it is.

A row that fails costs itself only. What is finished is kept at once, so that the same command goes on.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.cohort.cohort import Cohort
from sammil_cli.config import TrainSettings
from sammil_cli.errors import SammilError, SlideError
from sammil_cli.jobs import logistic
from sammil_cli.jobs.drawn_folds import drawn_folds
from sammil_cli.jobs.logistic import LogisticJob, LogisticResult
from sammil_cli.legacy.slide_vectors import vector_paths
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.benchmark_table import Measured
from sammil_cli.report.metrics import Predictions
from sammil_cli.runner.executor import Call, Executor, Limits, open_executor
from sammil_cli.runner.worker import trouble_of
from sammil_cli.stages import evaluate, train, train_ahead
from sammil_cli.stages.settled import settled
from sammil_cli.stages.train_ahead import Ahead
from sammil_cli.storage.code import code_of
from sammil_cli.storage.files import digest, sha256_file
from sammil_cli.studies.benchmark_cells import Cell
from sammil_cli.studies.benchmark_cost import cost_of
from sammil_cli.studies.benchmark_results import read_result, write_result
from sammil_cli.studies.variant import place_of
from sammil_cli.training.fold import Fold, check_tested

# What a cell may be stopped by: errors of ours, and what libraries raise at settings that do not go together.
_OWN = (SammilError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, OSError)
_OF_PROCESSES = ("E_CRASH", "E_MEMORY", "E_TIMEOUT", "E_BUG")  # their remedies speak of slides


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A row that is to be made. `key`: of all that it is made from."""

    cell: Cell
    key: str


@dataclass(frozen=True, kw_only=True)
class _Training(_Planned):
    place: Project
    ahead: Ahead


@dataclass(frozen=True, kw_only=True)
class _Fit(_Planned):
    job: LogisticJob
    cohort: Cohort


@dataclass(kw_only=True)
class Made:
    """Rows by name: what was measured, and what failed. `fresh`: how many were there before."""

    done: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, SlideError] = field(default_factory=dict)
    fresh: int = 0


def make_rows(project: Project, cells: Sequence[Cell], options: RunOptions, runs: Path) -> Made:
    """Makes the rows that are not there yet.

    Args:
        runs: gets a folder for each row: models, folds, learning curves, `result.json`.
    """
    made, planned = Made(), list[_Training | _Fit]()
    with console.progress(len(cells), "benchmark: looking") as bar:
        for cell in cells:
            try:
                plan = _plan(cell, project, options, runs / cell.name)
                if found := read_result(runs / cell.name, plan.key):
                    made.done[cell.name] = found
                    made.fresh += 1
                else:
                    planned.append(plan)
            except _OWN as error:
                made.failed[cell.name] = trouble_of(error)
            bar.advance(cell.name)
    trainings = [plan for plan in planned if isinstance(plan, _Training)]
    _say_plan(cells, trainings, made)
    _compute(trainings, [plan for plan in planned if isinstance(plan, _Fit)], made, options, runs)
    return made


def _say_plan(cells: Sequence[Cell], trainings: Sequence[_Training], made: Made) -> None:
    folds = sum(len(plan.ahead.open) for plan in trainings)
    kept = sum(len(plan.ahead.tasks) - len(plan.ahead.open) for plan in trainings)
    console.say(
        f"benchmark: {len(cells)} rows, {made.fresh} of them as they were; {folds} folds to train"
        + (f", {kept} trained before" if kept else "")
    )
    for name, error in made.failed.items():
        console.say(f"benchmark: {name} cannot be made: {error.code} {error.message}")


def _plan(cell: Cell, project: Project, options: RunOptions, folder: Path) -> _Training | _Fit:
    place = replace(place_of(project, folder), bags=cell.source.path)
    if cell.kind == "model":
        ahead = train_ahead.plan(cell.name, place, cell.settings, options, reseed=cell.reseed)
        judge = code_of("sammil_cli.stages.evaluate", "sammil_cli.studies.benchmark_cost").version
        check_tested([task.job.fold for task in ahead.tasks])
        tests = [(task.name, task.job.fold.test) for task in ahead.tasks]
        key = digest([tests, sorted(ahead.tasks[0].job.labels.items()), judge, *_other_decision(cell.settings)])
        return _Training(cell=cell, place=place, key=key, ahead=ahead)
    source = cell.source
    files = vector_paths(source.path) if source.embeddings else {f.stem: f for f in sorted(source.path.glob("*.h5"))}
    settings = settled(cell.settings)
    cohort = train.read_cohort(place, settings, files).only(set(files))
    folds = drawn_folds(cohort, settings)
    check_tested(folds)
    labels = {member.slide_id: member.label for member in cohort.members}
    job = LogisticJob(
        folds=tuple(folds),
        labels=labels,
        classes=len(cohort.classes),
        folder=source.path,
        embeddings=source.embeddings,
        decision=settings.decided_by,
    )
    parts = [(fold.repeat, fold.fold, fold.train, fold.val, fold.test) for fold in folds]
    sums = {slide: sha256_file(files[slide]) for slide in labels}
    made_with = [parts, sorted(labels.items()), cohort.classes, sums, code_of("sammil_cli.jobs.logistic").version]
    made_with += _other_decision(settings)
    return _Fit(cell=cell, key=digest(made_with), job=job, cohort=cohort)


def _other_decision(settings: TrainSettings) -> list[object]:
    """What a row's key holds of the decision, which those of its folds do not: nothing of the usual one."""
    return [] if settings.decision == "youden" else [settings.decision, settings.decision_target]


def _compute(trainings: Sequence[_Training], fits: Sequence[_Fit], made: Made, options: RunOptions, runs: Path) -> None:
    """Fits and trains what is open, then judges row by row."""
    ahead = [plan.ahead for plan in trainings]
    calls = sum(len(plan.open) for plan in ahead) + len(fits)
    with ExitStack() as stack:
        if calls:
            gpus = len({task.job.device for plan in ahead for task in plan.open})  # at least a process for each
            workers = min(max(options.workers, gpus), calls)
            executor = stack.enter_context(open_executor(replace(options, workers=workers), Limits()))
            _fit(fits, executor, made, runs)
            for ended in train_ahead.train_folds(ahead, executor):
                if ended.error is not None:
                    made.failed.setdefault(ended.name, _as_row(ended.error, ended.fold))
    trained = [plan for plan in trainings if plan.cell.name not in made.failed]
    with console.progress(len(trained), "benchmark: judging") as bar:
        for plan in trained:
            try:
                found = _judged(plan, options)
                write_result(runs / plan.cell.name, plan.key, found)
                made.done[plan.cell.name] = found
            except _OWN as error:
                made.failed[plan.cell.name] = trouble_of(error)
            bar.advance(plan.cell.name)


def _as_row(error: SlideError, fold: str) -> SlideError:
    """The error of a fold as one of its row: what is advised for slides does not help here."""
    remedy = error.remedy
    if error.code in _OF_PROCESSES:
        remedy = "run the same command with --workers 1; if it stays, train that row alone with sammil train"
    return SlideError(error.code, f"{fold}: {error.message}", remedy=remedy, set_aside=error.set_aside)


def _judged(plan: _Training, options: RunOptions) -> Measured:
    """A row whose folds are all in the store: its models brought into its folder, and its test parts judged."""
    here = train_ahead.as_here(options)
    with console.hushed():
        train.run(plan.place, plan.cell.settings, here, reseed=plan.cell.reseed)
        predictions = evaluate.out_of_fold(plan.place, "cpu" if options.executor != "local" else options.device)
    parameters, ms = cost_of(plan.place, plan.ahead.tasks[0].job.fold)
    peak = train_ahead.peak_of(plan.ahead)
    return Measured(
        predictions=predictions,
        parameters=parameters,
        ms_per_slide=ms,
        peak_bytes=peak.resident,
        peak_gpu_bytes=peak.gpu,
    )


def _fit(planned: Sequence[_Fit], executor: Executor, made: Made, runs: Path) -> None:
    by_name = {plan.cell.name: plan for plan in planned}

    def calls() -> Iterator[Call]:
        for name, plan in by_name.items():
            yield Call.to(name, logistic.work, plan.job)

    with console.progress(len(by_name), "benchmark: fitting") as bar:
        for answer in executor.answers(calls()):
            plan = by_name[answer.slide_id]
            bar.advance(plan.cell.name)
            if answer.error is not None:
                made.failed[plan.cell.name] = answer.error
                continue
            found = _of_vectors(plan, answer.value)
            write_result(runs / plan.cell.name, plan.key, found)
            made.done[plan.cell.name] = found


def _of_vectors(plan: _Fit, result: LogisticResult) -> Measured:
    patients = {member.slide_id: member.patient_id for member in plan.cohort.members}
    folds: tuple[Fold, ...] = plan.job.folds
    slides = tuple(slide for fold in folds for slide in fold.test)
    predictions = Predictions(
        slides=slides,
        patients=tuple(patients[slide] for slide in slides),
        repeat=np.concatenate([np.full(len(fold.test), fold.repeat, np.int64) for fold in folds]),
        fold=np.concatenate([np.full(len(fold.test), fold.fold, np.int64) for fold in folds]),
        labels=np.array([plan.job.labels[slide] for slide in slides], np.int64),
        predicted=np.concatenate(result.predicted),
        probabilities=np.concatenate(result.probabilities),
        positive_class=plan.cohort.positive_class,
    )
    return Measured(
        predictions=predictions,
        parameters=result.parameters,
        ms_per_slide=result.ms,
        peak_bytes=result.peak_bytes,
        peak_gpu_bytes=None,
    )
