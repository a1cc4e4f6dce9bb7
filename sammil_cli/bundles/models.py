"""Models that judge together, wherever they lie: one fold, the folds of a run, a project, a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.bundles.archive import AGAIN, SUFFIX
from sammil_cli.bundles.bundle_file import read_bundle
from sammil_cli.bundles.ensemble import TrainedFold, folders_in, read_trained
from sammil_cli.bundles.facts import BundleFacts, CohortEntry, Performance
from sammil_cli.bundles.gather import cohort_of
from sammil_cli.bundles.left_open import scores_beside
from sammil_cli.bundles.performance import expected
from sammil_cli.config import Settings, check
from sammil_cli.project.run_record import RunRecord, read_record
from sammil_cli.report.conformal import ConformalScores
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.summed import damaged

_PLACES = (Path(), Path("models"), Path("runs/models"))  # of the models in a folder of them, a run, a project


@dataclass(frozen=True, kw_only=True)
class Models:
    """Trained models, and what is known of how the bags that they learned from were made.

    `folders`: of each of `folds`, in their order; a bundle's are unpacked. `settings`: all of the run's; None where
    nothing says them (imported weights, one fold without its run). `cohort`: what was learned from, in numbers; None
    as with the settings. `performance`: what `sammil evaluate` found of these models; a string says why that is not
    known. `bundle`: all facts of a bundle; `record`: of a run; None of the other.
    `conformal`: when to abstain; None where `sammil evaluate` was not asked for it.
    """

    source: Path
    folders: Sequence[ModelPath]
    folds: Sequence[TrainedFold]
    settings: Settings | None
    cohort: CohortEntry | None
    performance: Performance | str
    bundle: BundleFacts | None
    record: RunRecord | None
    conformal: ConformalScores | None = None


def open_models(source: Path, device: str, *, report: Path | None = None) -> Models:
    """The models of a trained model's folder, of a folder of these, of what `sammil train` wrote, of a project, or of
    a bundle.

    Args:
        report: what `sammil evaluate` wrote of them; None = the folder `report` of their project.

    Raises:
        InputError: no model is found; `E_DAMAGED`, they are not as they were written; or of different classes.
    """
    if not source.is_dir() and (source.exists() or source.suffix == SUFFIX):
        return _of_bundle(source, device)
    found = next((source / place for place in _PLACES if folders_in(source / place)), source)
    folds, folders = read_trained(found, device), folders_in(found)
    run = folders[0].resolve().parents[1]
    record = _record_of(run, folders)
    return Models(
        source=source,
        folders=folders,
        folds=folds,
        settings=check(record.params, str(run / "record.json")) if record else None,
        cohort=cohort_of(record, folds[0].facts.classes) if record else None,
        performance=expected(run, report or run.parent / "report", folds),
        bundle=None,
        record=record,
        conformal=scores_beside(run / "predictions.csv", folds),
    )


def _record_of(run: Path, folders: Sequence[ModelPath]) -> RunRecord | None:
    """The record of the run that trained these models; None where it is not here, or of others."""
    path = run / "record.json"
    record = read_record(path) if path.is_file() else None
    named = {fold.name for fold in record.folds} if record else set()
    return record if {folder.resolve().name for folder in folders} <= named else None


def _of_bundle(path: Path, device: str) -> Models:
    facts, models = read_bundle(path)
    entries = sorted(facts.members, key=lambda entry: entry.name)  # the order of the folders
    folds = [
        replace(fold, patient_thresholds=entry.patient_thresholds or fold.patient_thresholds)
        for fold, entry in zip(read_trained(models, device), entries, strict=True)
    ]
    return Models(
        source=path,
        folders=folders_in(models),
        folds=folds,
        settings=None if facts.settings is None else check(facts.settings, str(path)),
        cohort=facts.cohort,
        performance=facts.performance or facts.no_performance or "not known",
        bundle=facts,
        record=None,
        conformal=_conformal(path, facts),
    )


def _conformal(path: Path, facts: BundleFacts) -> ConformalScores | None:
    if facts.conformal is None:
        return None
    try:
        found = ConformalScores.of_json(facts.conformal.model_dump())
        if list(found.classes) != facts.classes:
            raise ValueError("the conformal scores are of other classes")
        return found
    except ValueError as error:
        raise damaged(path, str(error), AGAIN) from None
