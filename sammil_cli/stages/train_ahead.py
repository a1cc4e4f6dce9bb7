"""The folds of many trainings at once, by any executor; `stages.train` then finds them in the result store."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError, SlideError, as_slide_error
from sammil_cli.jobs.measured_training import Peak, work
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.run_record import hash_bags
from sammil_cli.runner.executor import Call, Executor
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages.train import FoldTask, bags_of, forget_unsure, plan_folds, preflight
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.store import Result, ResultStore, open_store

_RESIDENT, _GPU = "peak_bytes: ", "peak_gpu_bytes: "  # remarks of a fold's result


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """One training. `tasks`: all of its folds; `open`: those that are not in the store."""

    name: str
    tasks: Sequence[FoldTask]
    open: Sequence[FoldTask]
    watched: Unchanged
    store: ResultStore


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One fold of a training, done or not. `error`: None = its result is in the store."""

    name: str
    fold: str
    error: SlideError | None = None


def plan(name: str, project: Project, settings: TrainSettings, options: RunOptions, *, reseed: int = 0) -> Ahead:
    """The folds of one training; `reseed` as in `train.plan_folds`. Raises as `train.preflight` does."""
    weights = [Path(settings.start_from)] if settings.start_from else []
    watched = Unchanged(lambda: [project.labels, *weights, *sorted(project.bags.glob("*.h5"))])
    ready = preflight(project, settings)
    bags = hash_bags(ready.bags.paths, [member.slide_id for member in ready.cohort.members])
    watched.check("train")
    store = open_store("train", options.store)
    tasks = plan_folds(project, as_here(options), ready, bags, store, reseed=reseed)
    if options.executor != "local":  # each worker takes a GPU of its own machine
        tasks = [replace(task, job=replace(task.job, device=options.device)) for task in tasks]
    missing = [task for task in tasks if not store.has_files(task.name)]
    forget_unsure(missing, watched)
    return Ahead(name=name, tasks=tasks, open=missing, watched=watched, store=store)


def as_here(options: RunOptions) -> RunOptions:
    """The options with which this machine, which may have no GPU, names folds as the machines that train them do."""
    elsewhere = options.executor != "local" and options.device == "cuda"
    return replace(options, device="cuda:0") if elsewhere else options


def train_folds(plans: Sequence[Ahead], executor: Executor) -> Iterator[Ended]:
    """Trains the open folds of all plans and yields each as it ends. What is finished is kept at once.

    A fold that several plans need is trained once. After a fold has failed, no further one of that training is begun.
    """
    wanted = {f"{plan.name}/{task.job.fold.name}": (plan, task) for plan in plans for task in plan.open}
    folders: dict[str, Path] = {}
    failed: set[str] = set()
    begun: set[str] = set()

    def calls() -> Iterator[Call]:
        for title, (plan, task) in wanted.items():
            if plan.name not in failed and task.name not in begun:
                begun.add(task.name)
                folders[title] = plan.store.workspace()
                yield Call.to(title, work, replace(task.job, out=ModelPath(folders[title])))

    try:
        with console.progress(len(wanted), "benchmark") as bar:
            for answer in executor.answers(calls()):
                plan, task = wanted[answer.slide_id]
                error = answer.error or _keep(plan, task, folders[answer.slide_id], answer.value)
                shutil.rmtree(folders.pop(answer.slide_id), ignore_errors=True)
                if error is not None:
                    failed.add(plan.name)
                bar.advance(answer.slide_id)
                yield Ended(name=plan.name, fold=task.job.fold.name, error=error)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _keep(plan: Ahead, task: FoldTask, folder: Path, peak: Peak) -> SlideError | None:
    """Puts a trained fold into the store, unless a bag of it was touched meanwhile: then the error that says so."""
    try:
        plan.watched.check("train", bags_of(task))
    except InputError as error:
        return as_slide_error(error)
    costs = [f"{_RESIDENT}{peak.resident}"] * (peak.resident is not None)
    costs += [f"{_GPU}{peak.gpu}"] * (peak.gpu is not None)
    plan.store.put(task.name, folder, Result(remarks=tuple(costs)))
    for left in (task.job.checkpoint, task.job.checkpoint.with_suffix(".seen")):
        left.unlink(missing_ok=True)
    return None


def peak_of(plan: Ahead) -> Peak:
    """The largest peak of a training's folds; None where none of them was trained by `train_folds`."""
    remarks = [text for task in plan.tasks if (known := plan.store.look(task.name)) for text in known.remarks]
    most = {
        kind: max((int(text.removeprefix(kind)) for text in remarks if text.startswith(kind)), default=None)
        for kind in (_RESIDENT, _GPU)
    }
    return Peak(resident=most[_RESIDENT], gpu=most[_GPU])
