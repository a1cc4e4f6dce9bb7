"""sammil predict: bags and one trained fold, or an ensemble of folds -> a verdict on every slide."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.project.project import RunOptions, check_only
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.paths import BundlePath
from sammil_cli.training import calibration
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.bundle import FACTS_FILE, BundleFacts, read_bundle
from sammil_cli.training.encoder_check import check_encoder
from sammil_cli.training.fold import read_folds
from sammil_cli.training.loop import predict
from sammil_cli.training.thresholds import Probabilities, decide, mean_threshold

_SHOWN = 20  # slides in the table on the screen


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """A model, what goes with it, and the slides that it was trained or chosen on."""

    model: MILModel
    facts: BundleFacts
    seen: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the models say of one slide, by class.

    `probability`, `low`, `high`: mean, least and largest calibrated probability over the models.
    `raw`: mean of the uncalibrated ones, which the `threshold` (mean of the models') is for.
    """

    slide_id: str
    predicted: str
    probability: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    raw: dict[str, float]
    threshold: float | None
    models: int
    in_sample: bool


def run(models: Path, bags_folder: Path, out: Path, options: RunOptions) -> list[Verdict]:
    """Judges slides and writes the table.

    A slide of the models' own cohort is judged by the models that did not see it in training or validation. If all
    of them saw it, all judge it, and `in_sample` says so.

    Args:
        models: a bundle, or a folder of bundles.

    Raises:
        InputError: no models or no bags, models of different classes, or bags of another encoder.
    """
    folds = read_trained(models, options.device)
    bags = BagFolder(bags_folder, options.device)
    check_only(options.only, set(bags.paths), str(bags_folder))
    slides = [slide for slide in bags.paths if options.only is None or slide in options.only]
    encoder = bags.encoder(slides)
    for fold in folds:
        check_encoder(encoder, fold.facts.encoder, remedy="give bags of the model's encoder: sammil extract, --bags")
    verdicts = []
    with console.progress(len(slides), "predict") as bar:
        for slide in slides:
            verdicts.append(judge(slide, bags.load(slide), folds))
            bar.advance(slide)
    classes = folds[0].facts.classes
    _write(out, verdicts, classes)
    _print(out, verdicts, folds)
    return verdicts


def read_trained(folder: Path, device: str) -> list[TrainedFold]:
    """The models of a folder: itself a bundle, or the bundles in it, in the order of their names.

    What each has seen stands in the `splits.csv` beside the folder that the bundle lies in, under the bundle's name.
    """
    folders = [folder] if (folder / FACTS_FILE).is_file() else sorted(p.parent for p in folder.glob(f"*/{FACTS_FILE}"))
    if not folders:
        raise InputError(
            f"there is no trained model in {folder}", remedy="run: sammil train; or: sammil convert-legacy FILE.pt"
        )
    splits = folders[0].resolve().parents[1] / "splits.csv"
    known = {fold.name: frozenset(fold.train + fold.val) for fold in read_folds(splits)} if splits.is_file() else {}
    folds = []
    for path in folders:
        model, facts = read_bundle(BundlePath(path), device)
        folds.append(TrainedFold(model=model, facts=facts, seen=known.get(path.resolve().name, frozenset())))
        if facts.classes != folds[0].facts.classes:
            raise InputError(
                f"{path.name} knows the classes {', '.join(facts.classes)}, "
                f"{folders[0].name} {', '.join(folds[0].facts.classes)}",
                remedy="give one of them, or folds of one training",
            )
    return folds


def judge(slide: str, bag: Bag, folds: Sequence[TrainedFold]) -> Verdict:
    """One slide by the models that did not see it, or by all where none is left."""
    blind = [fold for fold in folds if slide not in fold.seen]
    used = blind or folds
    each = np.concatenate([predict(fold.model, lambda _: bag, [slide]) for fold in used])  # (k, C)
    if not np.isfinite(each).all():
        raise InputError(f"the models give no number for slide {slide}", remedy="look at its features: sammil extract")
    even = np.concatenate(
        [calibration.apply(row[None], fold.facts.temperature) for row, fold in zip(each, used, strict=True)]
    )
    raw, threshold = each.mean(axis=0), mean_threshold([fold.facts.threshold for fold in used])
    classes = folds[0].facts.classes

    def by_class(values: Probabilities) -> dict[str, float]:
        return dict(zip(classes, values.tolist(), strict=True))

    return Verdict(
        slide_id=slide,
        predicted=classes[int(decide(raw[None], threshold)[0])],
        probability=by_class(even.mean(axis=0)),
        low=by_class(even.min(axis=0)),
        high=by_class(even.max(axis=0)),
        raw=by_class(raw),
        threshold=threshold,
        models=len(used),
        in_sample=not blind,
    )


def _write(path: Path, verdicts: list[Verdict], classes: tuple[str, ...]) -> None:
    kinds = ("probability", "low", "high", "raw")
    header = ["slide_id", "predicted", *(f"{kind}_{name}" for kind in kinds for name in classes)]
    rows = [
        (
            verdict.slide_id,
            verdict.predicted,
            *(f"{getattr(verdict, kind)[name]:.6f}" for kind in kinds for name in classes),
            "" if verdict.threshold is None else f"{verdict.threshold:.6f}",
            verdict.models,
            str(verdict.in_sample).lower(),
        )
        for verdict in verdicts
    ]
    write_csv(path, (*header, "threshold", "models", "in_sample"), rows)


def _print(out: Path, verdicts: list[Verdict], folds: list[TrainedFold]) -> None:
    positive = folds[0].facts.classes[-1]
    rows = [
        (
            verdict.slide_id,
            verdict.predicted,
            f"{verdict.probability[positive]:.3f}",
            f"{verdict.low[positive]:.3f}–{verdict.high[positive]:.3f}",
            verdict.models,
            "yes" if verdict.in_sample else "no",
        )
        for verdict in verdicts[:_SHOWN]
    ]
    more = f", the first {_SHOWN}" if len(verdicts) > _SHOWN else ""
    console.print_table(
        f"{len(verdicts)} slide(s) by {len(folds)} model(s){more}",
        ("slide", "predicted", f"P({positive})", "over models", "models", "in sample"),
        rows,
    )
    if known := sum(verdict.in_sample for verdict in verdicts):
        console.say(
            f"{known} slide(s) were seen in training or validation by every model: no fair predictions of these"
        )
    if any(fold.facts.protocol == "paper" for fold in folds):
        console.say("protocol paper: these models were chosen on the slides that they were tested on")
    console.say(f"predictions: {out}")
