"""sammil evaluate: trained folds and their test parts -> predictions, metrics, curves, report page."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli import console
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.report import figures, metrics
from sammil_cli.report.page import write_page
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.storage.files import write_csv, write_json
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.bundle import BundleFacts, read_bundle
from sammil_cli.training.cohort import Member, read_labels
from sammil_cli.training.loop import predict
from sammil_cli.training.splits import read_folds

CODE = ("storage", "regions", "features", "mil", "training", "report", "stages/evaluate.py")


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What one fold says of its test slides. labels, predicted (s,); probabilities (s, C)."""

    facts: BundleFacts
    members: list[Member]
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(s,) true classes."""
        return np.array([member.label for member in self.members], np.int64)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(s,) classes at the threshold that validation chose."""
        return metrics.decide(self.probabilities, self.facts.threshold)


def run(project: Project, settings: EvaluateSettings, options: RunOptions) -> dict[str, Any]:
    """Predicts each fold's test slides with its own model, writes everything and returns the metrics."""
    del settings
    results = [_predict(project, fold, options.device) for fold in _fold_names(project)]
    classes = results[0].facts.classes
    per_fold = [metrics.fold_metrics(r.labels, r.probabilities, r.predicted) for r in results]
    summary: dict[str, Any] = {
        "model": results[0].facts.model,
        "protocol": "honest",
        "folds": len(results),
        "folds_with_auc": sum(not math.isnan(scores["auc"]) for scores in per_fold),
        "slides": len({m.slide_id for r in results for m in r.members}),
        "patients": len({m.patient_id for r in results for m in r.members}),
        **metrics.over_folds(per_fold),
    }
    _write_predictions(project.predictions, results, classes)
    write_json(project.metrics, summary)
    curves = _write_curves(project.curves, results, classes)
    rows = _fold_rows(results, per_fold)
    write_page(project.page, summary, rows, curves)
    console.print_table(
        f"Out of fold: {summary['model']}, {summary['slides']} slides of {summary['patients']} patients",
        ("metric", f"mean ± sd over {len(results)} folds"),
        [(name, spread(summary[name])) for name in ("auc", "accuracy", "f1")],
    )
    console.say(f"report: {project.page}")
    return summary


def spread(value: dict[str, Any]) -> str:
    """`0.912 ± 0.034`, or a dash where no fold defines it."""
    return "–" if value["mean"] is None else f"{value['mean']:.3f} ± {value['sd']:.3f}"


def _fold_names(project: Project) -> list[str]:
    return [fold.name for fold in read_folds(project.splits)]


def _predict(project: Project, name: str, device: str) -> FoldResult:
    model, facts = read_bundle(project.models / name, device)
    fold = next(fold for fold in read_folds(project.splits) if fold.name == name)
    bags = BagFolder(project.bags, device)
    known = {m.slide_id: m for m in read_labels(project.labels, facts.classes).members}
    for slide in fold.test:
        if slide not in bags.paths or slide not in known:
            what = "bag" if slide not in bags.paths else "label"
            raise InputError(f"slide {slide!r} of the test part has no {what} any more", remedy="run: sammil train")
    _check_encoder(bags, list(fold.test), facts)
    return FoldResult(
        facts=facts,
        members=[known[slide] for slide in fold.test],
        probabilities=predict(model, bags.load, fold.test),
    )


def _check_encoder(bags: BagFolder, slides: list[str], facts: BundleFacts) -> None:
    now, then = bags.encoder(slides), facts.encoder
    if (now.name, now.weights_sha256, now.dim) != (then.name, then.weights_sha256, then.dim):
        raise InputError(
            f"the model learned from features of {then.name} ({then.dim}-d), the bags are of {now.name} ({now.dim}-d)",
            remedy="run: sammil train",
        )


def _write_predictions(path: Path, results: list[FoldResult], classes: tuple[str, ...]) -> None:
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "threshold")
    rows = [
        (
            member.slide_id,
            member.patient_id,
            result.facts.repeat,
            result.facts.fold,
            "test",
            classes[member.label],
            classes[choice],
            "" if result.facts.threshold is None else f"{result.facts.threshold:.6f}",
            *(f"{p:.6f}" for p in probabilities),
        )
        for result in results
        for member, choice, probabilities in zip(result.members, result.predicted, result.probabilities, strict=True)
    ]
    write_csv(path, (*header, *(f"probability_{name}" for name in classes)), rows)


def _write_curves(folder: Path, results: list[FoldResult], classes: tuple[str, ...]) -> dict[str, bytes]:
    """Curves as CSV for `dvc plots` and as PNG for the page: of class 1, or each class against the rest."""
    positive = [1] if len(classes) == 2 else list(range(len(classes)))
    roc, pr = [], []
    for result in results:
        for index in positive:
            name = f"fold {result.facts.repeat}.{result.facts.fold}"
            name += "" if len(classes) == 2 else f", {classes[index]}"
            labels, scores = (result.labels == index).astype(np.int64), result.probabilities[:, index]
            roc += [(name, x, y) for x, y in metrics.roc_points(labels, scores)]
            pr += [(name, x, y) for x, y in metrics.pr_points(labels, scores)]
    pairs = [(classes[m.label], classes[p]) for r in results for m, p in zip(r.members, r.predicted, strict=True)]
    # DVC draws one line per file: the mean of the folds; the page shows each fold.
    write_csv(folder / "roc.csv", ("false_positive_rate", "true_positive_rate"), metrics.mean_curve(roc))
    write_csv(folder / "pr.csv", ("recall", "precision"), metrics.mean_curve(pr))
    write_csv(folder / "confusion.csv", ("actual", "predicted"), pairs)
    labels = np.concatenate([r.labels for r in results])
    counts = metrics.confusion(labels, np.concatenate([r.predicted for r in results]), len(classes))
    return {
        "ROC": figures.curves(roc, "false positive rate", "true positive rate", diagonal=True),
        "Precision and recall": figures.curves(pr, "recall", "precision", diagonal=False),
        "Confusion": figures.confusion(counts, classes),
    }


def _fold_rows(results: list[FoldResult], per_fold: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [
        {
            "repeat": r.facts.repeat,
            "fold": r.facts.fold,
            "test slides": len(r.members),
            "epoch": r.facts.epoch + 1,
            "val AUC": r.facts.val_auc,
            "threshold": r.facts.threshold,
            **scores,
        }
        for r, scores in zip(results, per_fold, strict=True)
    ]
