"""One model on all labelled slides, by what cross-validation chose: for `sammil bundle --refit`."""

import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.bundles.ensemble import TrainedFold
from sammil_cli.bundles.models import Models
from sammil_cli.cohort.cohort import Cohort, counts
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.run_record import RunRecord, hash_bags
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages import train
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.store import open_store
from sammil_cli.training.calibration import before_calibration
from sammil_cli.training.decision import Rule
from sammil_cli.training.model_facts import with_facts
from sammil_cli.training.thresholds import mean_threshold
from sammil_cli.training.trained_model import build_model


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """What a model of all slides takes over from the folds, as it has no validation part to choose by.

    `epochs`: after which its training ends; the schedule is that of the folds. The others as in `ModelFacts`.
    """

    epochs: int
    threshold: float | None
    temperature: float
    decision: Rule
    decision_target: float | None


_AGAIN = "train the folds anew: sammil train"


@contextmanager
def refitted(project: Project, models: Models, options: RunOptions) -> Iterator[ModelPath]:
    """Trains one model on all labelled slides of a run, and yields its folder, which is gone when the block ends.

    Settings and seed are those of the run, epochs, threshold and temperature those of `take_over`. It comes from the
    result store where it was trained before with the same input, and goes on where it was interrupted.

    Args:
        project: of the run: its bags and labels.

    Raises:
        InputError: no folds that could choose, no record of the run, or bags or labels that are not the run's.
    """
    taken_over = take_over(models.folds)
    if models.record is None or models.settings is None:
        raise InputError(f"{models.source} has no run record, which says how it was trained", remedy=_AGAIN)
    watched = Unchanged(lambda: [project.labels, *sorted(project.bags.glob("*.h5"))])
    ready = train.preflight(project, models.settings.stage(TrainSettings))
    sums = hash_bags(ready.bags.paths, [member.slide_id for member in ready.cohort.members])
    _check_cohort(ready.cohort, sums, models.record, project)
    watched.check("train")
    settings = ready.settings.model_copy(update={"repeats": 1})
    ready = replace(ready, settings=settings, cohort=replace(ready.cohort, trains_all=True))
    store = open_store("train", options.store)
    with tempfile.TemporaryDirectory(prefix="sammil-refit-") as made:
        place = replace(project, models=Path(made), learning_curves=Path(made) / "curves")
        (task,) = train.plan_folds(place, options, ready, sums, store, stop_after=taken_over.epochs)
        folder = ModelPath(place.models / task.job.fold.name)
        console.say(
            f"refit: one model on all {counts(ready.cohort)}, {taken_over.epochs} epochs (the median of what "
            f"{len(models.folds)} folds chose), {options.device}"
        )
        if not store.fetch(task.name, folder):
            train.forget_unsure([task], watched)
            stages = 1 if build_model(settings.model, ready.spec, settings.model_options).first_stage() is None else 2
            train.train_all([task], options, stages * taken_over.epochs, store, place.models, watched)
        chosen = {name: value for name, value in asdict(taken_over).items() if name != "epochs"}
        with_facts(folder, **chosen, chosen_on="folds")
        yield folder


def take_over(folds: Sequence[TrainedFold]) -> TakenOver:
    """What folds choose for a model of all slides.

    The median of their epochs; the mean of their calibrated thresholds, and the geometric mean of their temperatures,
    which together give the threshold before calibration.

    Raises:
        InputError: they chose on the test fold, or have chosen nothing.
    """
    if any(fold.facts.stamp for fold in folds):
        raise InputError(
            "these folds chose on the test fold (protocol: paper): what they chose is not for a model to use",
            remedy="train with protocol: honest",
        )
    if any(fold.facts.chosen_on in ("nothing", "folds") for fold in folds):
        raise InputError(
            "this model was trained on all slides already, and no fold chose anything", remedy="leave out --refit"
        )
    calibrated = mean_threshold([fold.facts.calibrated_threshold for fold in folds])
    temperature = math.exp(statistics.fmean(math.log(fold.facts.temperature) for fold in folds))
    return TakenOver(
        epochs=round(statistics.median(fold.facts.epoch + 1 for fold in folds)),
        threshold=None if calibrated is None else before_calibration(calibrated, temperature),
        temperature=temperature,
        decision=folds[0].facts.decision,
        decision_target=folds[0].facts.decision_target,
    )


def _check_cohort(cohort: Cohort, bags: dict[str, str], record: RunRecord, project: Project) -> None:
    """Refuses other slides, labels, patients or bags than those of the run, of which its performance is.

    Raises:
        InputError: with the first slide that differs.
    """
    now = {m.slide_id: (cohort.classes[m.label], m.patient_id, bags[m.slide_id]) for m in cohort.members}
    then = {slide.slide_id: (slide.label, slide.patient_id, slide.bag_sha256) for slide in record.data.slides}
    for slide in sorted(now.keys() | then.keys()):
        if now.get(slide) != then.get(slide):
            both = zip(("label", "patient", "bag"), now.get(slide, ()), then.get(slide, ()), strict=False)
            what = next((f"has another {name}" for name, one, other in both if one != other), None)
            what = what or ("is new" if slide in now else "is gone")
            raise InputError(
                f"slide {slide!r} {what}: the labels and bags of {project.labels} and {project.bags} are not those "
                "that the folds were trained on",
                remedy=_AGAIN,
            )
