"""sammil train: bags and labels -> one trained model per fold."""

import logging
import math
import shutil
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sammil_cli import console
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.contract import ModelSpec
from sammil_cli.report.metrics import validation_threshold
from sammil_cli.stages.processes import process_pool
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import provenance
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.bundle import BundleFacts, build_model, write_bundle
from sammil_cli.training.cohort import Cohort, counts, read_labels
from sammil_cli.training.learning_curves import CurveFile, epochs_done
from sammil_cli.training.loop import Recipe, Trained, train_fold
from sammil_cli.training.splits import Fold, draw_folds, write_folds

CODE = ("storage", "regions", "features", "mil", "training", "report", "stages/train.py")

# What the settings and every model know.
_SHARED = tuple(sorted((set(ModelSpec.__dataclass_fields__) - {"classes"}) & set(TrainSettings.model_fields)))
_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """Everything that one fold's process needs."""

    fold: Fold
    cohort: Cohort
    spec: ModelSpec
    encoder: EncoderFacts
    settings: TrainSettings
    bags: Path
    models: Path
    curve: Path
    device: str
    record: dict[str, Any]


def run(project: Project, settings: TrainSettings, options: RunOptions) -> list[BundleFacts]:
    """Trains every fold; epoch and threshold are chosen on the validation part, the test part is not read."""
    bags = BagFolder(project.bags, "cpu")
    cohort = labelled_bags(read_labels(project.labels, settings.classes), bags)
    folds = draw_folds(
        cohort,
        folds=settings.folds,
        repeats=settings.repeats,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
    )
    encoder = bags.encoder([member.slide_id for member in cohort.members])
    shared = {name: getattr(settings, name) for name in _SHARED}
    spec = ModelSpec(dim=encoder.dim, classes=len(cohort.classes), **shared)
    build_model(settings.model, spec, settings.model_options)  # refuses a wrong model or option before any work
    console.say(f"train: {settings.model} on {counts(cohort)}, {len(folds)} folds, {options.device}")
    for folder in (project.models, project.learning_curves):
        shutil.rmtree(folder, ignore_errors=True)
    write_folds(project.splits, folds, cohort)
    record = provenance("train", {"settings": settings.model_dump(), "code": code_version(*CODE)})
    jobs = [
        FoldJob(
            fold=fold,
            cohort=cohort,
            spec=spec,
            encoder=encoder,
            settings=settings,
            bags=project.bags,
            models=project.models,
            curve=project.learning_curves / f"{fold.name}.csv",
            device=options.device,
            record=record,
        )
        for fold in folds
    ]
    facts = _train_all(jobs, options.workers, settings.epochs)
    _print(facts)
    return facts


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


def _train_all(jobs: list[FoldJob], workers: int, epochs: int) -> list[BundleFacts]:
    """Folds in parallel processes; progress is read from their learning curves."""
    with console.progress(len(jobs) * epochs, "train") as bar, process_pool(min(workers, len(jobs))) as pool:
        futures = [pool.schedule(train_one, args=[job]) for job in jobs]
        pending: set[Future[BundleFacts]] = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=_POLL_SECONDS)
            for future in finished:
                future.result()  # a fold's error ends the run
            ended = sum(future.done() for future in futures)
            done = sum(epochs if f.done() else epochs_done(j.curve) for f, j in zip(futures, jobs, strict=True))
            bar.at(done, f"{ended} of {len(jobs)} folds done")
        return [future.result() for future in futures]


def train_one(job: FoldJob) -> BundleFacts:
    """Trains one fold and writes its bundle. One thread: the same numbers whatever the number of processes."""
    torch.set_num_threads(1)
    settings, fold = job.settings, job.fold
    label = {member.slide_id: member.label for member in job.cohort.members}
    seed = settings.seed + 1000 * fold.repeat + fold.fold
    torch.manual_seed(seed)  # weights and dropout
    model = build_model(settings.model, job.spec, settings.model_options)
    model.initialise()
    with CurveFile(job.curve) as curve:
        trained = train_fold(
            model.to(job.device),
            BagFolder(job.bags, job.device).load,
            [(slide, label[slide]) for slide in fold.train],
            [(slide, label[slide]) for slide in fold.val],
            Recipe(**{name: getattr(settings, name) for name in Recipe.__dataclass_fields__}),
            seed=seed,
            log=curve.add,
        )
    facts = BundleFacts(
        model=settings.model,
        model_options=settings.model_options,
        spec=job.spec,
        classes=job.cohort.classes,
        threshold=_threshold(trained, [label[slide] for slide in fold.val]),
        temperature=1.0,
        protocol=settings.protocol,
        encoder=job.encoder,
        repeat=fold.repeat,
        fold=fold.fold,
        seed=seed,
        epoch=trained.epoch,
        val_auc=None if math.isnan(trained.val_auc) else trained.val_auc,
        provenance=job.record,
    )
    write_bundle(job.models / fold.name, trained.state, facts)
    return facts


def _threshold(trained: Trained, labels: list[int]) -> float | None:
    """The threshold on the validation part; None with more than two classes, where the largest wins."""
    if trained.val_probabilities.shape[1] != 2:
        return None
    return validation_threshold(np.array(labels), trained.val_probabilities[:, 1])


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
