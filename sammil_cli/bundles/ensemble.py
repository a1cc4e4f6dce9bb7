"""The trained models of a run or of one fold, used together: what they are, and their verdict on a slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.bundles.patient_thresholds import PatientThresholds, of_model, read_drawn_folds, together
from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training import calibration
from sammil_cli.training.fold import read_folds
from sammil_cli.training.loop import predict
from sammil_cli.training.manifest import check_fold, read_manifest
from sammil_cli.training.model_facts import FACTS_FILE, ModelFacts
from sammil_cli.training.thresholds import Probabilities, decide, mean_threshold
from sammil_cli.training.trained_model import read_model


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """A model and what goes with it.

    `seen`: the slides that it was trained or chosen on. `patient_thresholds`: see `bundles.patient_thresholds`. None of
    both = nobody knows.
    """

    model: MILModel
    facts: ModelFacts
    seen: frozenset[str] | None
    patient_thresholds: PatientThresholds | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the models say of one slide, by class.

    `probability`, `low`, `high`: mean, least and largest calibrated probability over the models.
    `threshold`: mean of the models' calibrated ones; from it on the probability of `positive_class` is positive.
    `patient_thresholds`: the same of those for patients, by patient_rule; None where a model does not know its own.
    `uncalibrated`: mean of what the models say before calibration; nothing is decided by it.
    `in_sample`: whether every model has seen the slide; None where a model does not know what it has seen.
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
    in_sample: bool | None
    patient_thresholds: PatientThresholds | None = None


def folders_in(folder: Path) -> list[ModelPath]:
    """The folders of the trained models in a folder, by name; the folder itself where it is one."""
    found = [folder] if (folder / FACTS_FILE).is_file() else sorted(p.parent for p in folder.glob(f"*/{FACTS_FILE}"))
    return [ModelPath(path) for path in found]


def read_trained(folder: Path, device: str) -> list[TrainedFold]:
    """The models of a folder: itself a trained model, or those in it, in the order of their names.

    Each says which slides it has seen. Those of earlier versions do not: then the `splits.csv` beside the folder
    that it lies in does, under the model's name; without one that stays unknown.
    """
    folders = folders_in(folder)
    if not folders:
        raise InputError(
            f"there is no trained model in {folder}", remedy="run: sammil train; or: sammil convert-legacy FILE.pt"
        )
    known: dict[str, frozenset[str]] = {}
    splits = folders[0].resolve().parents[1] / "splits.csv"
    manifest = None if folder == folders[0] else read_manifest(folder)
    for name in manifest.folds if manifest else ():
        check_fold(folder, name, manifest)
    if manifest is None and splits.is_file():  # models of this version say themselves what they have seen
        known = {fold.name: frozenset(fold.train + fold.val) for fold in read_folds(splits)}
    folds, drawn = [], read_drawn_folds(folders[0].resolve().parent)
    with console.progress(len(folders), "read models") as bar:
        read = []
        for path in folders:
            read.append(read_model(path, device))
            bar.advance(path.name)
    for path, (model, facts) in zip(folders, read, strict=True):
        name = path.resolve().name
        seen = frozenset(facts.trained_on.slides) if facts.trained_on else known.get(name)
        of_patients = of_model(name, facts, drawn)
        folds.append(TrainedFold(model=model, facts=facts, seen=seen, patient_thresholds=of_patients))
        if facts.classes != folds[0].facts.classes:
            raise InputError(
                f"{path.name} knows the classes {', '.join(facts.classes)}, "
                f"{folders[0].name} {', '.join(folds[0].facts.classes)}",
                remedy="give one of them, or folds of one training",
            )
    return folds


def judge(slide: str, bags: Mapping[bool, Bag], folds: Sequence[TrainedFold]) -> Verdict:
    """One slide by the models that did not see it, as far as that is known, or by all where none is left.

    Args:
        bags: the slide's bag, by whether its instances are flagged; each model takes its own.
    """
    blind = [fold for fold in folds if fold.seen is None or slide not in fold.seen]
    used = blind or folds
    each = np.concatenate([_said(fold, bags[fold.facts.spec.group_feature_flag], slide) for fold in used])  # (k, C)
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
        in_sample=None if any(fold.seen is None for fold in used) else not blind,
        patient_thresholds=together([fold.patient_thresholds for fold in used]),
    )


def _said(fold: TrainedFold, bag: Bag, slide: str) -> Probabilities:
    return predict(fold.model, lambda _: bag, [slide])
