"""sammil reproduce: a result is computed again from its run record, and compared with the files at hand."""

import contextlib
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sammil_cli import choices, console
from sammil_cli.config import EvaluateSettings, ExtractSettings, SamSettings, Settings, TrainSettings, check
from sammil_cli.errors import InputError, SammilError
from sammil_cli.project.leftovers import REPRODUCE, tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.result_sums import check_results
from sammil_cli.project.run_record import RunRecord, read_record
from sammil_cli.runner.how_to_run import where_it_can
from sammil_cli.runner.machine import choose_device, choose_workers
from sammil_cli.stages import evaluate, train
from sammil_cli.stages.by_name import run_stage
from sammil_cli.storage.files import read_csv, sha256_file
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.store import ResultStore
from sammil_cli.studies.agreement import (
    OTHER_TOLERANCE,
    SAME_TOLERANCE,
    Agreement,
    compare_metrics,
    compare_predictions,
    equal_folds,
    feature_difference,
    judge,
)
from sammil_cli.studies.record_check import Change, Source, changes_since, check_data

_PER_SLIDE = ("segment", "patch", "sam", "extract")
_MOST_SHOWN = 10


class InterruptedRunError(SammilError):
    """The user ended it: nothing is kept, unlike with the stages."""

    exit_code = 130


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `sammil reproduce` found. `kept`: where the run is that was made."""

    changes: tuple[Change, ...]
    agreement: Agreement
    kept: Path | None


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What evaluate wrote: metrics.json and predictions.csv."""

    metrics: dict[str, Any]
    predictions: list[dict[str, str]]


def run(
    project: Project,
    *,
    source: Source = "bags",
    device: str | None = None,
    workers: int | None = None,
    tolerance: float | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Runs the stages again in a folder of its own, with nothing from the result store, and compares.

    Args:
        project: its record, metrics and predictions are compared with; none of its files is changed.
        source: `bags`: train and evaluate; `slides`: every stage from segment on.
        device: None = what the record names.
        tolerance: the largest difference of a metric or a probability; None = see docs/formats.md.
        keep: the folder that the new run is moved to; None = it is removed.

    Raises:
        InputError: no record, no metrics, or other data than those of the run. MissingError: a GPU or weights.
        InterruptedRunError: Ctrl-C.
    """
    try:
        outcome = _run(project, source, device, workers, tolerance, keep)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; the new run was removed, and the project is as it was") from None
    _report(outcome)
    return outcome


def _run(
    project: Project,
    source: Source,
    device: str | None,
    workers: int | None,
    tolerance: float | None,
    keep: Path | None,
) -> Outcome:
    if keep is not None and keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        raise InputError(f"{keep} exists", remedy="give a new folder to --keep")
    record = read_record(project.record)
    settings = _settings(project, record)
    then = _read_judged(project)
    to_evaluate = _evaluate_settings(project, record, then.metrics)
    _check_models(record, then, project)
    check_data(project, record, settings, source)
    chosen = choose_device(device or record.environment.device.get("device", "cpu"))
    options = RunOptions(device=chosen, workers=choose_workers(workers, chosen))
    stages = (*(_PER_SLIDE if source == "slides" else ()), "train", "evaluate")
    changes = changes_since(project, settings, record, chosen, stages)
    _say_changes(changes)
    if tolerance is None:
        wide = chosen.startswith("cuda") or any(change.counts for change in changes)
        tolerance = OTHER_TOLERANCE if wide else SAME_TOLERANCE
    with _folder_to_keep(keep), _own_folder() as folder:
        made = folder / "run"
        place = _place(project, made, source)
        console.say(f"running again on {chosen}: {', '.join(stages)}")
        options = replace(options, store=folder / "store")
        with console.hushed():
            if source == "slides":
                _run_slides(place, settings, options, record)
            train.run(place, settings.stage(TrainSettings), options, whole=settings)
            evaluate.run(place, to_evaluate, options)
        agreement = _compare(project, place, record, then, tolerance, source)
        if keep is not None:
            shutil.copytree(made, keep, dirs_exist_ok=True)
    return Outcome(changes=changes, agreement=agreement, kept=keep)


@contextlib.contextmanager
def _folder_to_keep(keep: Path | None) -> Iterator[None]:
    """Makes the folder at once, since it may not be allowed; it goes if the block fails."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if keep is not None:
            shutil.rmtree(keep, ignore_errors=True)
        raise


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A fresh folder in the project that goes with the block; those of killed runs go, too."""
    tidy(Project())
    folder = ResultStore(REPRODUCE).workspace()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # of another run, or the result store's
            REPRODUCE.rmdir()
            REPRODUCE.parent.rmdir()


def _place(project: Project, folder: Path, source: Source) -> Project:
    """The project with all that is written inside of `folder`; what is only read stays where it is."""
    given = ["slides", "slides_table", "labels", "lesions", "edits", "rois", "annotations"]
    given += ["tissue", "regions", "bags"] if source == "bags" else []
    paths = {name: path for name, path in vars(Project()).items() if path and name not in given}
    return replace(project, **{name: folder / path for name, path in paths.items()})


def _run_slides(place: Project, settings: Settings, options: RunOptions, record: RunRecord) -> None:
    """segment, patch, sam and extract on the slides of the run.

    Raises:
        InputError: a slide cannot be done now. MissingError: weights.
    """
    only = frozenset(slide.slide_id for slide in record.data.slides)
    picked = {
        "sam": (choices.load(choices.PROPOSERS, settings.proposer), settings.stage(SamSettings)),
        "extract": (choices.load(choices.ENCODERS, settings.encoder), settings.stage(ExtractSettings)),
    }
    for stage in _PER_SLIDE:
        device = where_it_can(*picked[stage], options.device) if stage in picked else options.device
        for row in run_stage(stage, place, settings, replace(options, device=device, only=only)):
            if not row.done:
                raise InputError(f"{stage} cannot do {row.slide_id} now: {row.message}", remedy=row.remedy)


def _settings(project: Project, record: RunRecord) -> Settings:
    """The settings of the run.

    Raises:
        InputError: this sammil does not know one of them.
    """
    try:
        return check(record.params, str(project.record))
    except InputError as error:
        raise InputError(
            error.message, remedy=f"install the sammil that wrote it, {record.tool}; this one has other settings"
        ) from None


def _evaluate_settings(project: Project, record: RunRecord, metrics: Mapping[str, Any]) -> EvaluateSettings:
    """The settings of evaluate: metrics.json's own, since it may have been computed after the record was written."""
    names = ("interval", "bootstrap_draws", "patient_rule")
    own = {name: metrics[name] for name in names if name in metrics}
    return check({**record.params, **own}, str(project.metrics)).stage(EvaluateSettings)


def _read_judged(project: Project) -> _Judged:
    try:
        metrics = read_json(project.metrics, remedy="run: sammil evaluate")
    except FileNotFoundError:
        raise InputError(
            f"there is no {project.metrics} to compare with", remedy="run: sammil evaluate, or dvc checkout"
        ) from None
    if not isinstance(metrics, dict):
        raise InputError(f"{project.metrics} holds no metrics", remedy="run: sammil evaluate")
    if not project.predictions.is_file():
        raise InputError(
            f"there is no {project.predictions} to compare with", remedy="run: sammil evaluate, or dvc checkout"
        )
    check_results(project)
    rows = read_csv(project.predictions, ("repeat", "fold", "slide_id", "predicted", "threshold"))
    return _Judged(metrics=metrics, predictions=rows)


def _check_models(record: RunRecord, then: _Judged, project: Project) -> None:
    """Refuses predictions of other models than the record's: those of a run before, say.

    Raises:
        InputError: the folds, or a fold's threshold, are not those of the record.
    """
    known = {
        (str(fold.repeat), str(fold.fold)): "" if fold.threshold is None else f"{fold.threshold:.6f}"
        for fold in record.folds
    }
    # Before there was this column, the threshold was the uncalibrated one.
    judged = {
        (row["repeat"], row["fold"]): row.get("uncalibrated_threshold", row["threshold"]) for row in then.predictions
    }
    if judged != known:
        raise InputError(
            f"{project.predictions} was not made with the models that {project.record} describes",
            remedy="run: sammil evaluate",
        )


def _compare(
    project: Project, place: Project, record: RunRecord, then: _Judged, tolerance: float, source: Source
) -> Agreement:
    now, again = _read_judged(place), read_record(place.record)
    metrics, of_metrics = compare_metrics(then.metrics, now.metrics)
    predictions, of_predictions, decisions = compare_predictions(then.predictions, now.predictions)
    same = equal_folds(record.folds, again.folds)
    bags = equal = largest = None
    if source == "slides":
        bags, equal, largest = _compare_bags(project, place, record, again)
    all_equal = same == len(record.folds) == len(again.folds) and bags == equal
    return Agreement(
        verdict=judge([*of_metrics, *of_predictions], tolerance, all_equal=all_equal),
        tolerance=tolerance,
        metrics=metrics,
        metric_differences=of_metrics,
        predictions=predictions,
        prediction_differences=of_predictions,
        decisions=decisions,
        folds=len(record.folds),
        equal_folds=same,
        bags=bags,
        equal_bags=equal,
        largest_feature_difference=largest,
    )


def _compare_bags(
    project: Project, place: Project, record: RunRecord, again: RunRecord
) -> tuple[int, int, float | None]:
    """How many bags there are, how many hold the same, and the largest difference of a feature.

    Files that differ are compared by what they hold, where the project still has the run's own.
    """
    made = {slide.slide_id: slide.bag_sha256 for slide in again.data.slides}
    equal, gaps = 0, []
    with console.progress(len(record.data.slides), "compare bags") as bar:
        for slide in record.data.slides:
            bar.advance(slide.slide_id)
            then, now = (folder / f"{slide.slide_id}.h5" for folder in (project.bags, place.bags))
            if made.get(slide.slide_id) == slide.bag_sha256:
                gaps.append(0.0)
            elif slide.slide_id in made and then.is_file() and sha256_file(then) == slide.bag_sha256:
                gaps.append(feature_difference(then, now))
            else:
                continue
            equal += gaps[-1] == 0.0
    known = [gap for gap in gaps if math.isfinite(gap)]
    return len(record.data.slides), equal, max(known) if len(known) == len(record.data.slides) else None


def as_json(outcome: Outcome) -> dict[str, object]:
    """The outcome for programs."""
    changes = [asdict(change) for change in outcome.changes]
    return {**asdict(outcome.agreement), "changes": changes, "kept": str(outcome.kept) if outcome.kept else None}


def _say_changes(changes: Sequence[Change]) -> None:
    if changes:
        rows = [(change.what, change.then, change.now) for change in changes]
        console.print_table("Not as it was", ("", "then", "now"), rows)
    else:
        console.say("data, code, libraries and device are those of the run")


def _report(outcome: Outcome) -> None:
    found = outcome.agreement
    rows: list[tuple[str, int, int, str]] = []
    for name, count, differences in (
        ("metrics.json, numbers", found.metrics, found.metric_differences),
        ("predictions.csv, slides", found.predictions, found.prediction_differences),
    ):
        rows.append((name, count, len(differences), _size(differences[0].size) if differences else "0"))
    rows.append(("decisions", found.predictions, found.decisions, ""))
    rows.append(("folds: weights, threshold", found.folds, found.folds - found.equal_folds, ""))
    if found.bags is not None and found.equal_bags is not None:
        rows.append(("bags", found.bags, found.bags - found.equal_bags, _size(found.largest_feature_difference)))
    console.print_table("Then against now", ("", "compared", "differ", "largest difference"), rows)
    shown = [*found.metric_differences[:_MOST_SHOWN], *found.prediction_differences[:_MOST_SHOWN]]
    if shown:
        cells = [(one.name, _cell(one.then), _cell(one.now), _size(one.size)) for one in shown]
        console.print_table("What differs most", ("", "then", "now", "difference"), cells)
    if outcome.kept:
        console.say(f"the new run: {outcome.kept}")
    console.say(_SAID[found.verdict].format(tolerance=f"{found.tolerance:g}"))


_SAID = {
    "identical": "identical: every number, every prediction and all weights are the same",
    "within tolerance": "within tolerance: no metric and no probability differs by more than {tolerance}",
    "different": "different: a metric or a probability differs by more than {tolerance}",
}


def _size(size: float | None) -> str:
    return "no number" if size is None else f"{size:.2g}"


def _cell(value: str | float | None) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
