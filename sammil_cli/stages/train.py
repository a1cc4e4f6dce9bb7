"""sammil train: bags and labels -> one trained model per fold."""

import logging
import shutil
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.cohort.cohort import Cohort, counts
from sammil_cli.cohort.examine import cohort_of, examine, warn
from sammil_cli.config import Settings, TrainSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.bag import EncoderFacts, read_bag
from sammil_cli.features.making import Making
from sammil_cli.jobs.drawn_folds import drawn_folds
from sammil_cli.jobs.train import FIRST_STAGE_FILE, TrainJob, fold_seed, work
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.leftovers import UNFINISHED, tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.run_record import StartEntry, hash_bags, start_run
from sammil_cli.runner.earlier_files import check_done, slide_suffixes, slides_met
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.runner.isolation import process_pool
from sammil_cli.runner.machine import devices
from sammil_cli.stages.models_folder import new_models
from sammil_cli.stages.settled import settled
from sammil_cli.storage.code import code_of
from sammil_cli.storage.files import digest, provenance, sha256_file, write_text
from sammil_cli.storage.paths import BagFolderPath, CheckpointPath, CurvePath, ModelPath
from sammil_cli.storage.store import ResultStore, open_store
from sammil_cli.training import loss_balance
from sammil_cli.training.bag_needs import check_bags_of
from sammil_cli.training.bag_survey import survey
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.decision import trouble_with_classes
from sammil_cli.training.fold import write_folds
from sammil_cli.training.foresight import fold_findings
from sammil_cli.training.learning_curves import epochs_done, read_curve
from sammil_cli.training.making_check import check_alike, trained_on
from sammil_cli.training.manifest import write_manifest
from sammil_cli.training.model_facts import ModelFacts, decide_anew
from sammil_cli.training.operating_point import doubt
from sammil_cli.training.published_weights import Start, read_start
from sammil_cli.training.region_use import acting_on_regions, check_regions
from sammil_cli.training.trained_model import build_model, model_class

# What the settings and every model know.
_SHARED = tuple(sorted((set(ModelSpec.__dataclass_fields__) - {"classes"}) & set(TrainSettings.model_fields)))
# Settings that a fold knows already by its parts: another number of folds does not make the same fold a new one.
_OF_FOLDS = (
    *("folds", "folds_by", "repeats", "val_fraction", "published_folds"),
    *("classes", "positive_class", "strict_versions"),
)
_OF_DECISION = ("decision", "decision_target")  # the threshold is chosen anew without training
_OF_RECIPE = "recipe"  # known by what it comes to
_OF_START = "start_from"  # known by what is in the file
_SAID_OF_BAGS = ("no-slide", "no-label")  # findings that `labelled_bags` counts
_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a training starts from: settings without `auto`, bags, labels, what the bags are, the model to be built.

    `patches`: how many each bag has; `regions`: how many all of them have. `start`: the published weights to start
    from; None = random ones.
    """

    settings: TrainSettings
    bags: BagFolder
    cohort: Cohort
    encoder: EncoderFacts
    spec: ModelSpec
    makings: Mapping[str, Making]
    patches: Sequence[int]
    regions: int
    start: Start | None


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """One fold to train, and the name of its result in the store: the digest of its key."""

    name: str
    job: TrainJob


def run(
    project: Project, settings: TrainSettings, options: RunOptions, *, whole: Settings | None = None, reseed: int = 0
) -> list[ModelFacts]:
    """Trains every fold; in the honest protocol the test part is not read.

    A fold that was trained before with the same bags, labels, settings and code is taken from the store; one that was
    interrupted goes on after its last epoch. Both end with the same weights as an undisturbed run. The results of the
    training before stay until all folds are there (`stages.models_folder`).

    Args:
        whole: all settings, for the run record; None = no record is written.
        reseed: see `plan_folds`.
    """
    tidy(project, store=options.store)
    weights = [Path(settings.start_from)] if settings.start_from else []
    watched = Unchanged(lambda: [project.labels, *weights, *sorted(project.bags.glob("*.h5"))])
    ready = preflight(project, settings)
    settings, bags, cohort = ready.settings, ready.bags, ready.cohort
    start = None if whole is None else start_run(project, whole, options.device)
    bag_sha256 = hash_bags(bags.paths, [member.slide_id for member in cohort.members])
    known: dict[Path, str] = {bags.paths[slide]: sha256 for slide, sha256 in bag_sha256.items()}
    known[project.labels] = sha256_file(project.labels)
    known |= {path: ready.start.sha256 for path in weights if ready.start}
    watched.check("train")  # what was looked at is what was hashed
    store = open_store("train", options.store)
    tasks = plan_folds(project, options, ready, bag_sha256, store, reseed=reseed)
    groups = "without" if not settings.group_features else "with flagged" if settings.group_feature_flag else "with"
    name, count = f"{settings.model} {groups} group features", f"{len(tasks)} folds"
    if not any(task.job.fold.val for task in tasks):
        count = "one model on all" if len(tasks) == 1 else f"{len(tasks)} models on all"
    positive = f", positive class: {cohort.positive_class}" if cohort.positive_class else ""
    console.say(f"train: {name} on {counts(cohort)}, {count}{positive}, {options.device}")
    console.say(f"train: {_said_of_recipe(settings, chosen=any(task.job.fold.val for task in tasks))}")
    if ready.start:
        console.say(f"train: {_said_of_start(settings, ready.start)}")
        log.warning(
            "published weights need features of the encoder that they were trained on; if some of your slides belong "
            "to a public cohort that they were trained on, they have seen test slides, and the figures are too good"
        )
    if settings.protocol == "paper":
        log.warning("protocol: paper chooses epoch and threshold on the test fold; its numbers estimate nothing")
    with new_models(project) as new:
        models, splits = new.place.models, new.place.splits
        open_tasks = [task for task in tasks if not store.fetch(task.name, models / task.job.fold.name)]
        if len(open_tasks) < len(tasks):
            console.say(
                f"train: {len(tasks) - len(open_tasks)} of {len(tasks)} folds trained before with the same input"
            )
        if open_tasks:
            forget_unsure(open_tasks, watched)
            new.set_curves_aside()
            stages = 1 if build_model(settings.model, ready.spec, settings.model_options).first_stage() is None else 2
            train_all(open_tasks, options, stages * int(settings.epochs), store, models, watched)
        watched.check("train", known=known)
        names = [task.job.fold.name for task in tasks]
        facts = {name: decide_anew(ModelPath(models / name), settings.decided_by) for name in names}
        write_folds(splits, [task.job.fold for task in tasks], cohort)
        write_manifest(models, splits, facts, bag_sha256)
        if start is not None:
            began = StartEntry(**_facts_of(ready.start)) if ready.start else None
            replace(start, project=new.place).write(cohort, bag_sha256, ready.encoder, facts, began)
        for line in new.take_over():
            console.say(f"train: {line}")
    _print(list(facts.values()), positive)
    _say_decision(settings, list(facts.values()))
    _say_balance(project, settings, facts, ready.patches)
    return list(facts.values())


def _said_of_recipe(settings: TrainSettings, *, chosen: bool) -> str:
    """What `auto` came to, in a line; `chosen`: whether a validation part chooses the epoch."""
    epochs = f"at most {settings.epochs} epochs, patience {settings.patience}, the best by {settings.chosen_by}"
    return (
        f"{settings.optimiser}, learning rate {settings.learning_rate:g} ({settings.schedule}), weight decay "
        f"{settings.weight_decay:g}, dropout {settings.dropout:g}, {settings.loss}; "
        f"{epochs if chosen else f'{settings.epochs} epochs, of which the last one is kept'}"
    )


def _said_of_start(settings: TrainSettings, start: Start) -> str:
    """What is taken from a file, and what is not."""
    return (
        f"starts from {len(start.state)} tensors of {settings.start_from} ({start.architecture.title}, "
        f"sha256 {start.sha256[:12]}…); anew: {', '.join(start.anew)}"
    )


def _facts_of(start: Start) -> dict[str, str]:
    """What keys and records hold of published weights: no path."""
    return {"architecture": start.architecture.title, "sha256": start.sha256}


def preflight(project: Project, settings: TrainSettings) -> Ready:
    """Looks at settings, bags and labels; the settings first, whatever else is wrong. Nothing is written.

    Raises:
        InputError: a wrong model or option, no bags or labels, bags that are damaged, not finite or not made alike, or
            without the regions that the settings act on; weights that this model cannot start from.
        MissingError: there are no such weights.
    """
    settings, model = settled(settings), model_class(settings.model)
    check_done(project, project.bags, "extract", {path.stem for path in project.bags.glob("*.h5")}, None)
    bags = BagFolder(project.bags, "cpu")
    cohort = labelled_bags(read_cohort(project, settings, bags.paths), bags)
    if wrong := trouble_with_classes(settings.decided_by, len(cohort.classes)):
        raise InputError(wrong[0], remedy=wrong[1])
    with console.counted(read_bag, len(cohort.members), "look at bags") as read:
        seen = survey(bags.paths, (member.slide_id for member in cohort.members), read)
    encoder = bags.encoder(list(seen))
    shared = {name: getattr(settings, name) for name in _SHARED}
    spec = ModelSpec(dim=encoder.dim + settings.group_feature_flag, classes=len(cohort.classes), **shared)
    start = None
    if settings.start_from:
        built = build_model(settings.model, spec, settings.model_options)
        start = read_start(Path(settings.start_from), settings.model, built)
    acting = acting_on_regions(settings.model, spec)
    check_bags_of(model, settings.model, seen)
    makings = {slide: one.making for slide, one in seen.items()}
    for remark in check_alike(makings, regions=bool(acting)):
        log.warning("%s", remark)
    regions = {slide: one.regions for slide, one in seen.items()}
    check_regions(settings.model, acting, regions)
    return Ready(
        settings=settings,
        bags=bags,
        cohort=cohort,
        encoder=encoder,
        spec=spec,
        makings=makings,
        patches=tuple(one.patches for one in seen.values()),
        regions=sum(regions.values()),
        start=start,
    )


def _say_balance(
    project: Project, settings: TrainSettings, facts: dict[str, ModelFacts], patches: Sequence[int]
) -> None:
    """Prints what each loss term amounts to beside the bag's, and warns of one that does nothing or rules."""
    found = {
        fold: loss_balance.shares_of_bag(read_curve(project.learning_curves / f"{fold}.csv"), one.epoch)
        for fold, one in facts.items()
    }
    size = f"{statistics.median_low(patches):,} patches a slide"
    about = {"consistency": f"{settings.consistency_form}, β = {settings.consistency_weight:g}, {size}"}
    if line := loss_balance.describe(found, about):
        console.say(line)
    for remark in loss_balance.warnings(found, about):
        log.warning(remark)


def _print(facts: list[ModelFacts], positive: str) -> None:
    mark = facts[0].stamp
    title = f"Chosen on the test part{positive} - {mark}" if mark else f"Chosen on validation{positive}"
    console.print_table(
        f"Trained on all slides, nothing chosen{positive}" if facts[0].chosen_on == "nothing" else title,
        ("repeat", "fold", "epoch", "AUC", "threshold"),
        [
            (f.repeat, f.fold, f.epoch + 1, *map(console.three_digits, (f.val_auc, f.calibrated_threshold)))
            for f in facts
        ],
    )


def _say_decision(settings: TrainSettings, facts: Sequence[ModelFacts]) -> None:
    """Prints what thresholds were chosen for, and warns where validation parts are too small for the target."""
    if facts[0].threshold is None:
        return
    if facts[0].chosen_on == "nothing" and settings.decision != "fixed":
        console.say("threshold: 0.5, which nothing has chosen: there is no validation part")
        return
    console.say(f"threshold: {settings.decided_by.said}")
    points = [point for one in facts if (point := one.operating_point)]
    if remark := doubt(settings.decided_by, points):
        log.warning("%s", remark)


def plan_folds(
    project: Project,
    options: RunOptions,
    ready: Ready,
    bag_sha256: dict[str, str],
    store: ResultStore,
    *,
    reseed: int = 0,
    stop_after: int | None = None,
) -> list[FoldTask]:
    """The folds, drawn, and what each is made with.

    Args:
        reseed: added to the seed of weights, order, masks and dropout; the folds stay those of the settings' seed.
        stop_after: see `TrainJob`.

    Raises:
        InputError: folds that cannot be drawn.
    """
    settings, cohort, spec = ready.settings, ready.cohort, ready.spec
    build_model(settings.model, spec, settings.model_options)
    folds = drawn_folds(cohort, settings)
    if stop_after is None and settings.decision not in ("youden", "fixed") and not any(fold.val for fold in folds):
        raise InputError(
            f"decision: {settings.decision} is chosen on a validation part, and all slides are to be trained on",
            remedy="set decision: fixed with its decision_target, or decision: youden (then the threshold is 0.5)",
        )
    settings = settings.model_copy(update={"seed": settings.seed + reseed})
    warn(fold_findings(cohort, folds, str(project.labels)))
    labels = {member.slide_id: member.label for member in cohort.members}
    places = devices(options.device)
    code = code_of_slide("train", word=settings.model)
    facts = settings.model_dump(exclude={*_OF_FOLDS, *_OF_DECISION, _OF_RECIPE, _OF_START})
    made_with = {"settings": facts, **code.as_key(strict=settings.strict_versions)}
    start = {name: tensor.numpy() for name, tensor in ready.start.state.items()} if ready.start else {}
    if ready.start:
        reader = code_of("sammil_cli.training.published_weights").version
        made_with["start"] = {**_facts_of(ready.start), "code": reader}
    record = provenance("train", made_with, code.libraries)
    tasks = []
    for number, fold in enumerate(folds):
        key = made_with | {
            "parts": {role: [(s, labels[s], bag_sha256[s]) for s in getattr(fold, role)] for role in ("train", "val")},
            "classes": cohort.classes,
            "seed": fold_seed(settings.seed, fold),
            "place": (fold.repeat, fold.fold),
            "device": places[0].split(":")[0],
            **({} if stop_after is None else {"stop_after": stop_after}),
        }
        name = digest(key)
        job = TrainJob(
            fold=fold,
            labels=labels,
            classes=cohort.classes,
            spec=spec,
            encoder=ready.encoder,
            trained_on=trained_on(ready.makings, [*fold.train, *fold.val]),
            settings=settings,
            bags=BagFolderPath(project.bags),
            out=ModelPath(project.models / fold.name),  # a store's workspace while it is trained
            curve=CurvePath(project.learning_curves / f"{fold.name}.csv"),
            checkpoint=CheckpointPath(store.root / UNFINISHED / f"{name}.safetensors"),
            device=places[number % len(places)],
            record=record,
            start=start,
            stop_after=stop_after,
        )
        tasks.append(FoldTask(name=name, job=job))
    return tasks


def read_cohort(project: Project, settings: TrainSettings, files: Mapping[str, Path]) -> Cohort:
    """The cohort of the label file, looked at as `sammil check` does.

    Args:
        files: what is learned from, by slide id.

    Raises:
        InputError: the first error that check would list.
    """
    found = examine(
        project.labels,
        classes=settings.classes,
        positive_class=settings.positive_class,
        folds=settings.folds,
        validated=settings.protocol == "honest",
        slides={**slides_met(project), **{slide: str(path) for slide, path in files.items()}},
        suffixes=slide_suffixes,
    )
    return cohort_of(found, project.labels, passed_over=_SAID_OF_BAGS)


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


def bags_of(task: FoldTask) -> list[Path]:
    """The bags that a fold learns from, and is chosen on."""
    return [task.job.bags / f"{slide}.h5" for slide in (*task.job.fold.train, *task.job.fold.val)]


def _epochs_done(task: FoldTask, folder: Path) -> int:
    """The epochs that an unfinished fold has trained, those of its first stage among them."""
    return epochs_done(task.job.curve) + epochs_done(folder / FIRST_STAGE_FILE)


def forget_unsure(tasks: Sequence[FoldTask], watched: Unchanged) -> None:
    """Removes checkpoints of runs that began with bags which were touched since: they may have learned from others."""
    for task in tasks:
        seen, now = task.job.checkpoint.with_suffix(".seen"), digest(watched.states(bags_of(task)))
        if not seen.is_file() or seen.read_text(encoding="utf-8") != now:
            task.job.checkpoint.unlink(missing_ok=True)
            write_text(seen, now)


def train_all(
    tasks: list[FoldTask], options: RunOptions, epochs: int, store: ResultStore, models: Path, watched: Unchanged
) -> None:
    """Folds in parallel processes; progress is read from their learning curves. What is finished is kept at once.

    Args:
        epochs: of a fold, at most, in all of its stages.

    Raises:
        InputError: `E_CHANGED`, a bag of a finished fold was touched: nothing of it is kept.
    """
    folders = {task.name: ModelPath(store.workspace()) for task in tasks}
    workers = max(options.workers, len({task.job.device for task in tasks}))  # at least one process for each device
    try:
        gpu = any(task.job.device != "cpu" for task in tasks)
        with process_pool(min(workers, len(tasks)), gpu=gpu) as pool, ExitStack() as stack:
            task_of: dict[Future[None], FoldTask] = {
                pool.schedule(work, args=[replace(task.job, out=folders[task.name])]): task for task in tasks
            }
            progress = console.progress(len(tasks) * epochs, "train", "epochs")
            bar = stack.enter_context(progress)  # a thread: after the processes
            pending = set(task_of)
            while pending:
                finished, pending = wait(pending, timeout=_POLL_SECONDS)
                for future in finished:
                    future.result()  # a fold's error ends the run
                    task = task_of[future]
                    watched.check("train", bags_of(task))
                    store.put(task.name, folders[task.name])
                    for left in (task.job.checkpoint, task.job.checkpoint.with_suffix(".seen")):
                        left.unlink(missing_ok=True)
                    if not store.fetch(task.name, models / task.job.fold.name):
                        raise MissingError(
                            f"{task.job.fold.name} does not read back from {store.root} as it was written",
                            remedy="check that disk, and run the same command again",
                            code="E_STORE",
                        )
                done = sum(epochs if f.done() else _epochs_done(t, folders[t.name]) for f, t in task_of.items())
                bar.at(done, f"{sum(f.done() for f in task_of)} of {len(tasks)} folds done")
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
