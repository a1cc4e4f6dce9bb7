"""What may be expected of trained models: what `sammil evaluate` found, where it judged just these."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sammil_cli.bundles.ensemble import TrainedFold
from sammil_cli.bundles.facts import Estimate, Performance
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.project.result_sums import check_results
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.guarded_json import Parsed, read_json

_METRICS = ("auc", "sensitivity", "specificity", "f1")
_UNSEEN = "each on slides that it had not seen"
OF_ALL = f"its models one by one, {_UNSEEN}"
OF_ONE = f"all folds of its training, {_UNSEEN}"
OF_FOLDS = f"the folds, {_UNSEEN}; this model, of all slides, was judged on none"


def expected(run: Path, report: Path, folds: Sequence[TrainedFold]) -> Performance | str:
    """What `sammil evaluate` found of the models, or why that is not known.

    Args:
        run: what `sammil train` wrote. report: the folder with metrics.json.
        folds: all models of the run.
    """
    project = Project(predictions=run / "predictions.csv", metrics=report / "metrics.json", curves=report / "curves")
    if all(fold.facts.chosen_on == "nothing" for fold in folds):
        return "the models were trained on all slides, and none is left to judge them by"
    for path in (project.metrics, project.predictions):
        if not path.is_file():
            return f"there is no {path.name} of these models: run sammil evaluate first"
    try:
        check_results(project)
        rows = read_csv(project.predictions, ("slide_id", "repeat", "fold", "protocol"))
        found = read_json(project.metrics, with_nan=True)
        if not are_of(rows, folds):
            return "what was evaluated last is other models: run sammil evaluate first"
        return _performance(found, folds)
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        return f"the evaluation cannot be read ({error}): run sammil evaluate first"


def are_of(rows: Sequence[Mapping[str, str]], folds: Sequence[TrainedFold]) -> bool:
    """Whether predictions are those of the models: every fold's, by its threshold, on slides that it had not seen."""
    places = {(str(fold.facts.repeat), str(fold.facts.fold)): fold for fold in folds}
    if {(row["repeat"], row["fold"]) for row in rows} != places.keys() or len(places) < len(folds):
        return False
    for row in rows:
        fold = places[row["repeat"], row["fold"]]
        honest = fold.facts.protocol == "honest"
        threshold = "" if fold.facts.threshold is None else f"{fold.facts.threshold:.6f}"
        if row.get("uncalibrated_threshold", threshold) != threshold or row["protocol"].startswith("honest") != honest:
            return False
        if honest and fold.seen is not None and row["slide_id"] in fold.seen:
            return False
    return True


def _performance(found: Parsed, folds: Sequence[TrainedFold]) -> Performance:
    metrics = {
        name: Estimate(**{key: value for key, value in found[name].items() if key in Estimate.model_fields})
        for name in _METRICS
        if found.get(name)
    }
    return Performance(
        of=OF_ALL,
        folds=found["folds"],
        slides=found["slides"],
        patients=found["patients"],
        interval=found["interval"],
        stamp=next((fold.facts.stamp for fold in folds if fold.facts.stamp), None),
        notice=found.get("notice") or None,
        **{name: metrics.get(name) for name in _METRICS},
    )
