"""A finished training as figures need it: which fold did not learn from a slide, and what that fold says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.making import read_making
from sammil_cli.figures.sources import Source
from sammil_cli.jobs.patch_scores import PatchScores, score_patches
from sammil_cli.project.run_record import read_record
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.fold import Fold
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import Manifest, check_bags, check_fold, read_trained_folds
from sammil_cli.training.model_facts import ModelFacts, read_facts
from sammil_cli.training.thresholds import in_digits


@dataclass(frozen=True, kw_only=True)
class Training:
    """A folder that `sammil train` wrote. `fold_of`: of each test slide the fold of the first repeat."""

    folder: Path
    fold_of: Mapping[str, Fold]
    manifest: Manifest | None

    @property
    def models(self) -> Path:
        """The folder of its trained folds."""
        return self.folder / "models"

    def facts_of(self, slide_id: str) -> ModelFacts:
        """The facts of the fold that did not learn from a slide, checked against the training's manifest.

        Raises:
            SlideError: `E_UPSTREAM`, no fold tests the slide. InputError: `E_DAMAGED`.
        """
        if slide_id not in self.fold_of:
            raise SlideError(
                "E_UPSTREAM",
                f"no fold of {self.folder} tests it: every model there may have learned from it",
                remedy=f"give it a label, then run: sammil train --out {self.folder}",
            )
        name = self.fold_of[slide_id].name
        check_fold(self.models, name, self.manifest)
        return read_facts(ModelPath(self.models / name))


def open_training(folder: Path, how: str) -> Training:
    """The training in a folder.

    Args:
        how: the settings that make such a training, for the remedy, such as `-S model=abmil`; may be empty.

    Raises:
        InputError: the folder holds no training, or `E_DAMAGED`.
    """
    splits = folder / "splits.csv"
    if not splits.is_file():
        words = " ".join(word for word in ("sammil train", how, f"--out {folder}") if word)
        raise InputError(f"{folder} holds no training: {splits} is missing", remedy=f"run: {words}")
    folds, manifest = read_trained_folds(folder / "models", splits)
    fold_of = {slide: fold for fold in reversed(folds) for slide in fold.test}
    return Training(folder=folder, fold_of=fold_of, manifest=manifest)


def params_of(folder: Path) -> Mapping[str, object]:
    """The settings of the training in a folder, from its run record.

    Raises:
        InputError: it has none, or `E_DAMAGED`.
    """
    return read_record(folder / "record.json").params


def out_of_fold(training: Training, source: Source) -> tuple[FeatureBag, PatchScores]:
    """A slide's bag and what the fold says of it that did not learn from it.

    Raises:
        SammilError: the fold, the bag or what they were made with does not fit.
    """
    facts = training.facts_of(source.slide_id)
    check_bag(read_making(source.bag), facts, remedy=f"run: sammil train --out {training.folder}")
    check_bags(training.manifest, {source.slide_id: sha256_file(source.bag)}, source.bag.parent)
    trained = ModelPath(training.models / training.fold_of[source.slide_id].name)
    bag = read_checked(source.bag)
    return bag, score_patches(bag, trained)


def verdict(scores: PatchScores) -> str:
    """What the fold says of the slide, in words: P(tumour) = 0.91, threshold 0.42: called tumour."""
    facts = scores.facts
    texts, limit = in_digits(scores.probabilities, facts.calibrated_threshold, scores.predicted, 2)
    said = f"P({facts.classes[scores.shown]}) = {texts[scores.shown]}"
    said += f", threshold {limit}" if limit else ""
    warning = f" ({facts.stamp})" if facts.stamp else ""
    return f"{said}: called {facts.classes[scores.predicted]}{warning}"


def same_fold(first: Training, second: Training, slide_id: str) -> bool:
    """Whether the two folds that judge a slide learned from the same slides and chose on the same ones."""
    one, other = first.fold_of[slide_id], second.fold_of[slide_id]
    return (set(one.train), set(one.val)) == (set(other.train), set(other.val))
