"""train, one fold: bags and labels -> a trained model and its learning curve."""

import math
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.config import TrainSettings
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import CutShort, Recipe
from sammil_cli.project import environment
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagFolderPath, CheckpointPath, CurvePath, ModelPath
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.calibration import fit_temperature
from sammil_cli.training.decision import Decision
from sammil_cli.training.epoch import EpochLog
from sammil_cli.training.fold import Fold
from sammil_cli.training.learning_curves import CurveFile
from sammil_cli.training.loop import train_fold
from sammil_cli.training.model_facts import ModelFacts, TrainedOn, ValidationPart
from sammil_cli.training.thresholds import fold_threshold
from sammil_cli.training.trained_model import build_model, write_model
from sammil_cli.training.usual_bags import usual_bags

CURVE_FILE, FIRST_STAGE_FILE = "curve.csv", "first_stage.csv"  # the second where a model has two stages


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Everything that one fold's process needs. `out`: where to write; `record`: how it is made, for its facts.

    `start`: weights by name that take the place of random ones, float32. (Arrays: tensors between processes are shared
    by file handles.) `stop_after`: epochs after which training ends, though its schedule goes on.
    """

    fold: Fold
    labels: dict[str, int]
    classes: tuple[str, ...]
    spec: ModelSpec
    encoder: EncoderFacts
    trained_on: TrainedOn
    settings: TrainSettings
    bags: BagFolderPath
    out: ModelPath
    curve: CurvePath
    checkpoint: CheckpointPath
    device: str
    record: Record
    start: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    stop_after: int | None = None


def work(job: TrainJob) -> None:
    """Trains one fold and writes its model. One thread: the same numbers whatever the number of processes.

    The threshold is Youden's, whatever `decision` says, so that another decision trains nothing anew: `stages.train`
    gives the model the threshold that was asked for.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    settings, fold = job.settings, job.fold
    seed = fold_seed(settings.seed, fold)
    torch.manual_seed(seed)  # weights and dropout
    model = build_model(settings.model, job.spec, settings.model_options)
    model.initialise()
    model.load_state_dict({**model.state_dict(), **{name: torch.from_numpy(one) for name, one in job.start.items()}})
    with CurveFile(job.curve) as curve, ExitStack() as stack:
        first = stack.enter_context(CurveFile(job.out / FIRST_STAGE_FILE)) if model.first_stage() else None

        def log(epoch: int, figures: EpochLog, /, *, first_stage: bool = False) -> None:
            (first if first_stage and first else curve).add(epoch, figures)

        trained = train_fold(
            model.to(job.device),
            BagFolder(job.bags, job.device).of_model(model),
            [(slide, job.labels[slide]) for slide in fold.train],
            [(slide, job.labels[slide]) for slide in fold.val],
            _recipe(job),
            seed=seed,
            log=log,
            checkpoint=job.checkpoint,
        )
    val_labels = np.array([job.labels[slide] for slide in fold.val], np.int64)
    facts = ModelFacts(
        model=settings.model,
        model_options=settings.model_options,
        spec=job.spec,
        classes=job.classes,
        threshold=fold_threshold(val_labels, trained.val_probabilities, Decision(protocol=settings.protocol)),
        temperature=fit_temperature(val_labels, trained.val_probabilities),
        protocol=settings.protocol,
        encoder=job.encoder,
        repeat=fold.repeat,
        fold=fold.fold,
        seed=seed,
        epoch=trained.epoch,
        val_auc=None if math.isnan(trained.val_auc) else trained.val_auc,
        provenance={**job.record, "environment": environment.describe(job.device)},
        trained_on=job.trained_on,
        validation=ValidationPart.of(val_labels, trained.val_probabilities),
        usual=usual_bags(BagFolder(job.bags, "cpu").read, job.trained_on.slides),
        chosen_on="test" if settings.protocol == "paper" else "validation",
    )
    if not fold.val:
        half = 0.5 if len(job.classes) == 2 else None
        facts = replace(facts, threshold=half, temperature=1.0, validation=None, chosen_on="nothing")
    # Of the paper's protocol every epoch, for the chance level of choosing among epochs on the test fold.
    every = torch.from_numpy(trained.every_epoch.astype(np.float32)) if settings.protocol == "paper" else None
    write_model(job.out, trained.state, facts, every)
    shutil.copyfile(job.curve, job.out / CURVE_FILE)


def _recipe(job: TrainJob) -> Recipe:
    settings = {name: getattr(job.settings, name) for name in Recipe.__dataclass_fields__}
    return Recipe(**settings) if job.stop_after is None else CutShort(**settings, stop_after=job.stop_after)


def fold_seed(seed: int, fold: Fold) -> int:
    """The seed of one fold's weights, order, masks and dropout."""
    return seed + 1000 * fold.repeat + fold.fold
