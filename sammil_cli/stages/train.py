"""sammil train: bags and labels -> one trained model per fold."""

import logging
import math
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from sammil_cli import console
from sammil_cli.config import Settings, TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.contract import ModelSpec
from sammil_cli.report.metrics import validation_threshold, youden_threshold
from sammil_cli.stages import environment
from sammil_cli.stages.processes import process_pool
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.run import devices
from sammil_cli.stages.run_record import hash_bags, start_run
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import digest, provenance
from sammil_cli.storage.store import ResultStore, find_store
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.bundle import EPOCHS_FILE, BundleFacts, build_model, read_facts, write_bundle
from sammil_cli.training.calibration import fit_temperature
from sammil_cli.training.cohort import Cohort, counts, read_labels
from sammil_cli.training.learning_curves import CurveFile, epochs_done
from sammil_cli.training.loop import Recipe, Trained, train_fold
from sammil_cli.training.splits import Fold, draw_folds, write_folds

CODE = ("storage", "regions", "features", "mil", "training", "report", "stages/train.py")

# What the settings and every model know.
_SHARED = tuple(sorted((set(ModelSpec.__dataclass_fields__) - {"classes"}) & set(TrainSettings.model_fields)))
# Settings that a fold knows already by its parts: another number of folds does not make the same fold a new one.
_OF_FOLDS = ("folds", "repeats", "val_fraction", "published_folds", "classes")
_CURVE_FILE = "curve.csv"
_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """Everything that one fold's process needs. `key`: what determines the result; `folder`: where to write it."""

    key: str
    fold: Fold
    labels: dict[str, int]
    classes: tuple[str, ...]
    spec: ModelSpec
    encoder: EncoderFacts
    settings: TrainSettings
    bags: Path
    folder: Path
    curve: Path
    checkpoint: Path
    device: str
    record: dict[str, Any]


def run(
    project: Project, settings: TrainSettings, options: RunOptions, *, whole: Settings | None = None
) -> list[BundleFacts]:
    """Trains every fold; in the honest protocol the test part is not read.

    A fold that was trained before with the same bags, labels, settings and code is taken from the store; one that was
    interrupted goes on after its last epoch. Both end with the same weights as an undisturbed run.

    Args:
        whole: all settings, for the run record; None = no record is written.
    """
    bags = BagFolder(project.bags, "cpu")
    cohort = labelled_bags(read_labels(project.labels, settings.classes, set(bags.paths)), bags)
    start = None if whole is None else start_run(project, whole, options.device)
    folds = draw_folds(
        cohort,
        folds=settings.folds,
        repeats=settings.repeats,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
        protocol=settings.protocol,
        published=settings.published_folds,
    )
    encoder = bags.encoder([member.slide_id for member in cohort.members])
    shared = {name: getattr(settings, name) for name in _SHARED}
    spec = ModelSpec(dim=encoder.dim, classes=len(cohort.classes), **shared)
    build_model(settings.model, spec, settings.model_options)  # refuses a wrong model or option before any work
    console.say(f"train: {settings.model} on {counts(cohort)}, {len(folds)} folds, {options.device}")
    if settings.protocol == "paper":
        log.warning("protocol: paper chooses epoch and threshold on the test fold; its numbers estimate nothing")
    for folder in (project.models, project.learning_curves):
        shutil.rmtree(folder, ignore_errors=True)
    if start is not None:
        project.record.unlink(missing_ok=True)  # it is of the models that were there
    write_folds(project.splits, folds, cohort)
    store = ResultStore((options.store or find_store(Path.cwd())) / "train")
    bag_sha256 = hash_bags(bags.paths, [member.slide_id for member in cohort.members])
    jobs = _jobs(project, cohort, folds, spec, encoder, settings, options, bag_sha256, store)
    open_jobs = [job for job in jobs if not _collect(store, job, project)]
    if len(open_jobs) < len(jobs):
        console.say(f"train: {len(jobs) - len(open_jobs)} of {len(jobs)} folds trained before with the same input")
    if open_jobs:
        _train_all(open_jobs, options, settings.epochs, store, project)
    facts = {job.fold.name: read_facts(project.models / job.fold.name) for job in jobs}
    if start is not None:
        start.write(cohort, bag_sha256, encoder, facts)
    _print(list(facts.values()))
    return list(facts.values())


def _jobs(
    project: Project,
    cohort: Cohort,
    folds: list[Fold],
    spec: ModelSpec,
    encoder: EncoderFacts,
    settings: TrainSettings,
    options: RunOptions,
    bag_sha256: Mapping[str, str],
    store: ResultStore,
) -> list[FoldJob]:
    labels = {member.slide_id: member.label for member in cohort.members}
    places = devices(options.device)
    chosen = settings.model_dump(exclude=set(_OF_FOLDS))
    code = code_version(*CODE)
    jobs = []
    for number, fold in enumerate(folds):
        parts = {role: [(s, labels[s], bag_sha256[s]) for s in getattr(fold, role)] for role in ("train", "val")}
        seed = fold_seed(settings.seed, fold)
        key = digest(
            {"settings": chosen, "code": code, "parts": parts, "classes": cohort.classes, "seed": seed}
            | {"place": (fold.repeat, fold.fold), "device": places[0].split(":")[0]}
        )
        jobs.append(
            FoldJob(
                key=key,
                fold=fold,
                labels=labels,
                classes=cohort.classes,
                spec=spec,
                encoder=encoder,
                settings=settings,
                bags=project.bags,
                folder=project.models / fold.name,  # a store's workspace while it is trained
                curve=project.learning_curves / f"{fold.name}.csv",
                checkpoint=store.root / "unfinished" / f"{key}.safetensors",
                device=places[number % len(places)],
                record=provenance("train", {"settings": chosen, "code": code}),
            )
        )
    return jobs


def fold_seed(seed: int, fold: Fold) -> int:
    """The seed of one fold's weights, order, masks and dropout."""
    return seed + 1000 * fold.repeat + fold.fold


def labelled_bags(cohort: Cohort, bags: BagFolder) -> Cohort:
    """The part of the cohort that has bags; says what is left out.

    Raises:
        InputError: not one labelled slide has a bag.
    """
    labelled = {member.slide_id for member in cohort.members}
    missing = sorted(labelled - set(bags.paths))
    unlabelled = sorted(set(bags.paths) - labelled)
    if missing:
        log.warning("%d labelled slides have no bag and are left out: %s", len(missing), ", ".join(missing[:5]))
    if unlabelled:
        log.warning("%d bags have no label and are left out: %s", len(unlabelled), ", ".join(unlabelled[:5]))
    present = cohort.only(set(bags.paths))
    if not present.members:
        raise InputError(
            f"no slide of the labels has a bag; labels name {sorted(labelled)[0]!r}, bags {unlabelled[0]!r}",
            remedy="make slide_id in labels.csv the file name of the slide without its suffix",
        )
    return present


def _train_all(jobs: list[FoldJob], options: RunOptions, epochs: int, store: ResultStore, project: Project) -> None:
    """Folds in parallel processes; progress is read from their learning curves. What is finished is kept at once."""
    folders = {job.key: store.workspace() for job in jobs}
    workers = max(options.workers, len({job.device for job in jobs}))  # at least one process for each device
    try:
        with (
            console.progress(len(jobs) * epochs, "train") as bar,
            process_pool(min(workers, len(jobs))) as pool,
        ):
            job_of: dict[Future[None], FoldJob] = {
                pool.schedule(train_one, args=[replace(job, folder=folders[job.key])]): job for job in jobs
            }
            pending = set(job_of)
            while pending:
                finished, pending = wait(pending, timeout=_POLL_SECONDS)
                for future in finished:
                    future.result()  # a fold's error ends the run
                    job = job_of[future]
                    store.put(job.key, folders[job.key])
                    job.checkpoint.unlink(missing_ok=True)
                    _collect(store, job, project)
                done = sum(epochs if f.done() else epochs_done(j.curve) for f, j in job_of.items())
                bar.at(done, f"{sum(f.done() for f in job_of)} of {len(jobs)} folds done")
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _collect(store: ResultStore, job: FoldJob, project: Project) -> bool:
    """Brings a trained fold from the store to its place; False where it is not there."""
    folder = project.models / job.fold.name
    if not store.fetch(job.key, folder):
        return False
    job.curve.parent.mkdir(parents=True, exist_ok=True)
    (folder / _CURVE_FILE).replace(job.curve)
    return True


def train_one(job: FoldJob) -> None:
    """Trains one fold and writes its bundle. One thread: the same numbers whatever the number of processes."""
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    settings, fold = job.settings, job.fold
    seed = fold_seed(settings.seed, fold)
    torch.manual_seed(seed)  # weights and dropout
    model = build_model(settings.model, job.spec, settings.model_options)
    model.initialise()
    with CurveFile(job.curve) as curve:
        trained = train_fold(
            model.to(job.device),
            BagFolder(job.bags, job.device).load,
            [(slide, job.labels[slide]) for slide in fold.train],
            [(slide, job.labels[slide]) for slide in fold.val],
            Recipe(**{name: getattr(settings, name) for name in Recipe.__dataclass_fields__}),
            seed=seed,
            log=curve.add,
            checkpoint=job.checkpoint,
        )
    val_labels = np.array([job.labels[slide] for slide in fold.val])
    facts = BundleFacts(
        model=settings.model,
        model_options=settings.model_options,
        spec=job.spec,
        classes=job.classes,
        threshold=_threshold(trained, val_labels, settings.protocol),
        temperature=fit_temperature(val_labels, trained.val_probabilities),
        protocol=settings.protocol,
        encoder=job.encoder,
        repeat=fold.repeat,
        fold=fold.fold,
        seed=seed,
        epoch=trained.epoch,
        val_auc=None if math.isnan(trained.val_auc) else trained.val_auc,
        provenance={**job.record, "environment": environment.describe(job.device)},
    )
    write_bundle(job.folder, trained.state, facts)
    shutil.copyfile(job.curve, job.folder / _CURVE_FILE)
    if settings.protocol == "paper":  # for the chance level of choosing among epochs on the test fold
        probabilities = torch.from_numpy(trained.every_epoch.astype(np.float32))
        save_file({"probabilities": probabilities}, job.folder / EPOCHS_FILE)


def _threshold(trained: Trained, labels: NDArray[np.int64], protocol: str) -> float | None:
    """The threshold on the validation part, or Youden's own on the test fold as published; None with more classes."""
    if trained.val_probabilities.shape[1] != 2:
        return None
    choose = youden_threshold if protocol == "paper" else validation_threshold
    return choose(labels, trained.val_probabilities[:, 1])


def _print(facts: list[BundleFacts]) -> None:
    rows = [
        (
            fact.repeat,
            fact.fold,
            fact.epoch + 1,
            "–" if fact.val_auc is None else f"{fact.val_auc:.3f}",
            "–" if fact.threshold is None else f"{fact.threshold:.3f}",
        )
        for fact in facts
    ]
    console.print_table("Chosen on validation", ("repeat", "fold", "epoch", "AUC", "threshold"), rows)
