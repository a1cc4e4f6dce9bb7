"""sammil evaluate: trained folds and their test parts -> predictions, metrics, curves, report page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from sammil_cli import console
from sammil_cli.cohort.cohort import Member, read_labels
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report import figures, metrics
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.optimism import FoldEpochs, chance_level, nothing_chosen
from sammil_cli.report.page import write_page
from sammil_cli.report.summary import at_test_threshold, beside, remarks, summarise
from sammil_cli.report.tables import report_tables, stamp
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.storage.files import write_csv, write_json
from sammil_cli.storage.paths import BundlePath
from sammil_cli.training import baselines, calibration
from sammil_cli.training.bag_survey import Seen, survey
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.bundle import EPOCHS_FILE, BundleFacts, read_bundle, read_facts
from sammil_cli.training.fold import Fold, read_folds
from sammil_cli.training.loop import predict
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.thresholds import decide, validation_threshold

Known = Mapping[str, Member]


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What one model says of a fold's test slides: probabilities (s, C), decisions predicted (s,)."""

    fold: Fold
    members: list[Member]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(s,) true classes."""
        return np.array([member.label for member in self.members], np.int64)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All folds judged, and what they were judged from."""

    bags: BagFolder
    known: Known
    facts: list[BundleFacts]
    results: list[FoldResult]


def run(project: Project, settings: EvaluateSettings, options: RunOptions) -> dict[str, Any]:
    """Predicts each fold's test slides with its own model, writes everything and returns the metrics."""
    judged = _judge(project, options.device)
    facts, results, classes = judged.facts, judged.results, judged.facts[0].classes
    rows = _pool(results)
    calibrated = np.concatenate(
        [calibration.apply(r.probabilities, f.temperature) for r, f in zip(results, facts, strict=True)]
    )
    summary = _summary(project, settings, judged, rows, calibrated)
    summary["baselines"] = {
        name: beside(_pool(found), level=settings.interval, draws=settings.bootstrap_draws)
        for name, found in _baselines(judged).items()
    }
    _write_predictions(project.predictions, judged, rows, calibrated, summary["protocol"])
    write_json(project.metrics, summary)
    curves = _write_curves(project.curves, results, rows, classes)
    curves["Reliability"] = figures.reliability(
        {
            "as the model says": metrics.reliability(rows.labels, rows.probabilities),
            "calibrated": metrics.reliability(rows.labels, calibrated),
        }
    )
    write_page(project.page, summary, _fold_rows(facts, results), curves)
    _print(summary)
    console.say(f"report: {project.page}")
    return summary


def out_of_fold(project: Project, device: str) -> Predictions:
    """Each fold's test slides by its own model; writes nothing."""
    return _pool(_judge(project, device).results)


def _judge(project: Project, device: str) -> Judged:
    folds = read_folds(project.splits)
    check_done(project, project.bags, "extract", {path.stem for path in project.bags.glob("*.h5")}, None)
    bags = BagFolder(project.bags, device)
    classes = read_facts(BundlePath(project.models / folds[0].name)).classes
    known = {m.slide_id: m for m in read_labels(project.labels, classes, slides=set(bags.paths)).members}
    _check_there(folds, bags, known)
    seen = survey(bags.paths, (slide for fold in folds for slide in (*fold.test, *fold.val, *fold.train)))
    facts, results = [], []
    with console.progress(len(folds), "evaluate") as bar:
        for fold in folds:
            model, fact = read_bundle(BundlePath(project.models / fold.name), device)
            _check_made(fold, fact, seen)
            facts.append(fact)
            results.append(_result(fold, known, predict(model, bags.load, fold.test), fact.threshold))
            bar.advance(fold.name)
    return Judged(bags=bags, known=known, facts=facts, results=results)


def _check_there(folds: Sequence[Fold], bags: BagFolder, known: Known) -> None:
    for role in ("test", "val", "train"):
        for slide in (slide for fold in folds for slide in getattr(fold, role)):
            if slide not in bags.paths or slide not in known:
                what = "bag" if slide not in bags.paths else "label"
                raise InputError(
                    f"slide {slide!r} of the {role} part has no {what} any more", remedy="run: sammil train"
                )


def _check_made(fold: Fold, facts: BundleFacts, seen: Mapping[str, Seen]) -> None:
    """Refuses test bags that are made otherwise than those that the fold learned from."""
    for slide in fold.test:
        try:
            check_bag(seen[slide].making, facts, remedy="run: sammil train")
        except InputError as error:
            raise InputError(f"slide {slide!r}, {fold.name}: {error.message}", remedy=error.remedy) from None


def _result(fold: Fold, known: Known, probabilities: NDArray[np.float64], threshold: float | None) -> FoldResult:
    return FoldResult(
        fold=fold,
        members=[known[slide] for slide in fold.test],
        probabilities=probabilities,
        predicted=decide(probabilities, threshold),
    )


def _baselines(judged: Judged) -> dict[str, list[FoldResult]]:
    """The baselines on the very same folds; `mean-pool` chooses on validation, as the model does."""
    folds, bags, known = [result.fold for result in judged.results], judged.bags, judged.known
    classes = judged.facts[0].classes
    count = len(classes)
    slides = {slide for fold in folds for role in (fold.train, fold.val, fold.test) for slide in role}
    means = baselines.mean_features(bags.read, sorted(slides))
    found: dict[str, list[FoldResult]] = {baselines.MEAN_POOL: [], baselines.MAJORITY: []}
    for fold in folds:
        train, val = (np.array([known[slide].label for slide in part], np.int64) for part in (fold.train, fold.val))
        features = {
            role: np.stack([means[slide] for slide in getattr(fold, role)]) for role in ("train", "val", "test")
        }
        judge = baselines.fit_mean_pool(features["train"], train, features["val"], val, count)
        threshold = validation_threshold(val, judge(features["val"])[:, 1]) if count == 2 else None
        found[baselines.MEAN_POOL].append(_result(fold, known, judge(features["test"]), threshold))
        commonest = int(baselines.class_shares(train, count).argmax())
        # Shares differ a little between folds: as scores they would rank slides by their fold. Nothing is ranked here.
        level = np.full((len(fold.test), count), 1 / count)
        found[baselines.MAJORITY].append(
            FoldResult(
                fold=fold,
                members=[known[slide] for slide in fold.test],
                probabilities=level,
                predicted=np.full(len(fold.test), commonest, np.int64),
            )
        )
    return found


def _pool(results: Sequence[FoldResult]) -> Predictions:
    """The test parts of all folds together, in their order."""
    return Predictions(
        slides=tuple(m.slide_id for r in results for m in r.members),
        patients=tuple(m.patient_id for r in results for m in r.members),
        repeat=np.concatenate([np.full(len(r.members), r.fold.repeat, np.int64) for r in results]),
        fold=np.concatenate([np.full(len(r.members), r.fold.fold, np.int64) for r in results]),
        labels=np.concatenate([r.labels for r in results]),
        predicted=np.concatenate([r.predicted for r in results]),
        probabilities=np.concatenate([r.probabilities for r in results]),
    )


def _summary(
    project: Project, settings: EvaluateSettings, judged: Judged, rows: Predictions, calibrated: NDArray[np.float64]
) -> dict[str, Any]:
    """What metrics.json holds, but for the baselines."""
    facts, results, classes = judged.facts, judged.results, judged.facts[0].classes
    published = facts[0].protocol == "paper"
    areas = [score["auc"] for score in _per_fold(results)]
    summary: dict[str, Any] = {
        "model": facts[0].model,
        "protocol": f"paper: {metrics.SELECTED_ON_TEST}" if published else facts[0].protocol,
        "folds": len(results),
        "repeats": len({fact.repeat for fact in facts}),
        "folds_with_auc": sum(not math.isnan(area) for area in areas),
        "slides": len(set(rows.slides)),
        "patients": len(set(rows.patients)),
        "interval": settings.interval,
        "bootstrap_draws": settings.bootstrap_draws,
        **summarise(rows, calibrated, classes, level=settings.interval, draws=settings.bootstrap_draws),
    }
    if published:
        summary["optimism"] = _optimism(project, facts, results, summary)
    elif len(classes) == 2:
        summary["test_threshold"] = at_test_threshold(rows)
    summary["notice"] = remarks(summary)
    return summary


def _optimism(
    project: Project, facts: Sequence[BundleFacts], results: Sequence[FoldResult], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """The published numbers beside those without choice and those of shuffled labels, or why those cannot be had."""
    epochs = []
    for fact, result in zip(facts, results, strict=True):
        path = project.models / result.fold.name / EPOCHS_FILE
        if not path.is_file():
            return {"missing": f"what choosing on the test fold is worth cannot be shown: {path} is missing"}
        probabilities = load_file(path)["probabilities"].astype(np.float64)
        if probabilities.ndim != 3 or probabilities.shape[1:] != (len(result.members), len(fact.classes)):
            raise InputError(f"{path} is not of the slides of this fold", remedy="run: sammil train")
        epochs.append(FoldEpochs(labels=result.labels, probabilities=probabilities))
    published = {name: {key: summary[name][key] for key in ("mean", "sd")} for name in ("auc", "accuracy", "f1")}
    return {"published": published, "nothing_chosen": nothing_chosen(epochs), "chance": chance_level(epochs)}


def _print(summary: Mapping[str, Any]) -> None:
    mark = stamp(summary)
    console.say(f"{summary['model']} on {summary['slides']} slides of {summary['patients']} patients")
    for table in report_tables(summary):
        console.print_table(f"{table.title} - {mark}" if mark else table.title, table.header, table.rows)
    for text in (summary["notice"], summary.get("optimism", {}).get("missing")):
        if text:
            console.say(f"note: {text}")


def _write_predictions(
    path: Path, judged: Judged, rows: Predictions, calibrated: NDArray[np.float64], protocol: str
) -> None:
    classes = judged.facts[0].classes
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "threshold")
    columns = [f"{kind}_{name}" for kind in ("probability", "calibrated") for name in classes]
    thresholds = {(fact.repeat, fact.fold): fact.threshold for fact in judged.facts}
    cells = []
    for at, place in enumerate(zip(rows.repeat, rows.fold, strict=True)):
        threshold = thresholds[place]
        said = (*rows.probabilities[at], *calibrated[at])
        known = (rows.slides[at], rows.patients[at], *place, "test", classes[rows.labels[at]])
        shown = (classes[rows.predicted[at]], "" if threshold is None else f"{threshold:.6f}")
        cells.append((*known, *shown, *(f"{p:.6f}" for p in said), protocol))
    write_csv(path, (*header, *columns, "protocol"), cells)


def _write_curves(
    folder: Path, results: Sequence[FoldResult], rows: Predictions, classes: tuple[str, ...]
) -> dict[str, bytes]:
    """Curves as CSV for `dvc plots` and as PNG for the page: of class 1, or each class against the rest."""
    positive = [1] if len(classes) == 2 else list(range(len(classes)))
    roc, pr = [], []
    for result in results:
        for index in positive:
            name = f"fold {result.fold.repeat}.{result.fold.fold}"
            name += "" if len(classes) == 2 else f", {classes[index]}"
            labels, scores = (result.labels == index).astype(np.int64), result.probabilities[:, index]
            roc += [(name, x, y) for x, y in metrics.roc_points(labels, scores)]
            pr += [(name, x, y) for x, y in metrics.pr_points(labels, scores)]
    pairs = [(classes[label], classes[choice]) for label, choice in zip(rows.labels, rows.predicted, strict=True)]
    # DVC draws one line per file: the mean of the folds; the page shows each fold.
    write_csv(folder / "roc.csv", ("false_positive_rate", "true_positive_rate"), metrics.mean_curve(roc))
    write_csv(folder / "pr.csv", ("recall", "precision"), metrics.mean_curve(pr))
    write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    counts = metrics.confusion(rows.labels, rows.predicted, len(classes))
    return {
        "ROC": figures.curves(roc, "false positive rate", "true positive rate", diagonal=True),
        "Precision and recall": figures.curves(pr, "recall", "precision", diagonal=False),
        "Confusion": figures.confusion(counts, classes),
    }


def _per_fold(results: Sequence[FoldResult]) -> list[dict[str, float]]:
    return [metrics.fold_metrics(r.labels, r.probabilities, r.predicted) for r in results]


def _fold_rows(facts: Sequence[BundleFacts], results: Sequence[FoldResult]) -> list[dict[str, Any]]:
    return [
        {
            "repeat": fact.repeat,
            "fold": fact.fold,
            "test slides": len(result.members),
            "epoch": fact.epoch + 1,
            "val AUC": fact.val_auc,
            "threshold": fact.threshold,
            "temperature": fact.temperature,
            **{name: scores[name] for name in ("accuracy", "auc", "f1")},
        }
        for fact, result, scores in zip(facts, results, _per_fold(results), strict=True)
    ]
