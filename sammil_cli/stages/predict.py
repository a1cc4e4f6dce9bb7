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
from sammil_cli.training.thresholds import Probabilities, decide, in_digits, mean_threshold

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
    `threshold`: mean of the models' calibrated ones; from it on the probability of `positive_class` is positive.
    `uncalibrated`: mean of what the models say before calibration; nothing is decided by it.
    """

    slide_id: str
    predicted: str
    positive_class: str | None
    probability: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    uncalibrated: dict[str, float]
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
    _write(out, verdicts, folds)
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
    # Decided where it is shown: of one model this is its own decision, of several that of the numbers in the table.
    mean, threshold = even.mean(axis=0), mean_threshold([fold.facts.calibrated_threshold for fold in used])
    classes = folds[0].facts.classes

    def by_class(values: Probabilities) -> dict[str, float]:
        return dict(zip(classes, values.tolist(), strict=True))

    return Verdict(
        slide_id=slide,
        predicted=classes[int(decide(mean[None], threshold)[0])],
        positive_class=folds[0].facts.positive_class,
        probability=by_class(mean),
        low=by_class(even.min(axis=0)),
        high=by_class(even.max(axis=0)),
        uncalibrated=by_class(each.mean(axis=0)),
        threshold=threshold,
        models=len(used),
        in_sample=not blind,
    )


def _stamp(folds: Sequence[TrainedFold]) -> str | None:
    """What the numbers carry where one of the models was chosen on the test fold."""
    return next((fold.facts.stamp for fold in folds if fold.facts.stamp), None)


def _in_digits(verdict: Verdict, digits: int) -> tuple[dict[str, str], str]:
    """Probabilities by class, and the threshold, as text that shows the decision."""
    classes, values = list(verdict.probability), np.array(list(verdict.probability.values()))
    texts, threshold = in_digits(values, verdict.threshold, classes.index(verdict.predicted), digits)
    return dict(zip(classes, texts, strict=True)), threshold


def _write(path: Path, verdicts: list[Verdict], folds: Sequence[TrainedFold]) -> None:
    classes = folds[0].facts.classes
    kinds = ("low", "high", "uncalibrated")
    columns = [f"{kind}_{name}" for kind in ("probability", *kinds) for name in classes]
    header = ("slide_id", "predicted", "positive_class", "threshold", *columns, "models", "in_sample", "protocol")
    protocol = f"paper: {mark}" if (mark := _stamp(folds)) else "honest"
    rows = []
    for verdict in verdicts:
        probability, threshold = _in_digits(verdict, 6)
        others = (f"{getattr(verdict, kind)[name]:.6f}" for kind in kinds for name in classes)
        decided = (verdict.slide_id, verdict.predicted, verdict.positive_class or "", threshold)
        seen = (verdict.models, str(verdict.in_sample).lower(), protocol)
        rows.append((*decided, *(probability[name] for name in classes), *others, *seen))
    write_csv(path, header, rows)


def _print(out: Path, verdicts: list[Verdict], folds: list[TrainedFold]) -> None:
    positive, mark = folds[0].facts.positive_class, _stamp(folds)
    rows = []
    for verdict in verdicts[:_SHOWN]:
        shown = positive or verdict.predicted  # of more than two classes the one that is called
        probability, threshold = _in_digits(verdict, 3)
        rows.append(
            (
                verdict.slide_id,
                verdict.predicted,
                probability[shown],
                threshold or "–",
                f"{verdict.low[shown]:.3f}–{verdict.high[shown]:.3f}",
                verdict.models,
                "yes" if verdict.in_sample else "no",
            )
        )
    title = f"{len(verdicts)} slide(s) by {len(folds)} model(s)"
    title += f", the first {_SHOWN}" if len(verdicts) > _SHOWN else ""
    title += f", positive class: {positive}" if positive else ""
    console.print_table(
        f"{title} - {mark}" if mark else title,
        ("slide", "predicted", f"P({positive or 'predicted'})", "threshold", "over models", "models", "in sample"),
        rows,
    )
    if known := sum(verdict.in_sample for verdict in verdicts):
        console.say(
            f"{known} slide(s) were seen in training or validation by every model: no fair predictions of these"
        )
    if mark:
        console.say("protocol paper: these models were chosen on the slides that they were tested on")
    console.say(f"predictions: {out}")
