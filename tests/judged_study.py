"""A trained project that is made up: real bags and splits, and trained models that say what the test wants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows_of

from sammil_cli.config import EvaluateSettings
from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.membership import Membership
from sammil_cli.stages import evaluate
from sammil_cli.storage.files import write_csv
from sammil_cli.training import loop
from sammil_cli.training.decision import Rule
from sammil_cli.training.fold import Fold
from sammil_cli.training.model_facts import ModelFacts, ValidationPart
from sammil_cli.training.trained_model import build_model, write_model

ENCODER = EncoderFacts(name="texture", weights_sha256=None, dim=3, patch_px=64, patch_mpp=0.5, patch_px_level0=64)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A trained project: labels and probabilities by slide."""

    project: Project
    folds: list[Fold]
    label: dict[str, int]
    said: dict[str, np.ndarray]
    classes: tuple[str, ...]
    threshold: float

    def run(self, **settings: object) -> dict[str, Any]:
        return evaluate.run(self.project, EvaluateSettings(bootstrap_draws=200, **settings), RunOptions())

    def predictions(self) -> list[dict[str, str]]:
        return rows_of(self.project.predictions)


def make_folds(slides: Sequence[str], folds: int, repeats: int, protocol: str) -> list[Fold]:
    result = []
    for repeat in range(repeats):
        order = [*slides[repeat * 2 :], *slides[: repeat * 2]]
        for number in range(folds):
            size = len(order) // folds
            test = order[number * size : (number + 1) * size]
            rest = [slide for slide in order if slide not in test]
            val = test if protocol == "paper" else rest[:4]
            train = [slide for slide in rest if slide not in val]
            parts = {"train": tuple(train), "val": tuple(val), "test": tuple(test)}
            result.append(Fold(repeat=repeat, fold=number, **parts))
    return result


def make_study(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    classes: tuple[str, ...] = ("normal", "tumour"),
    folds: int = 3,
    repeats: int = 1,
    protocol: str = "honest",
    labels: Sequence[int] | None = None,
    temperature: float = 2.0,
    val_auc: Sequence[float | None] = (0.75,),
    threshold: float = 0.4,
    decision: Rule = "youden",
    decision_target: float | None = None,
    keeps_validation: bool = False,
) -> Study:
    rng = np.random.default_rng(0)
    count, slides = len(classes), [f"s{i:02d}" for i in range(12)]
    label = dict(zip(slides, labels or [i % count for i in range(12)], strict=True))
    said = {}
    for slide in slides:
        logits = rng.normal(size=count) + 1.2 * np.eye(count)[label[slide]]
        said[slide] = np.exp(logits) / np.exp(logits).sum()
        features = rng.normal(size=(6, 3)).astype(np.float32)
        features[:, 0] += 3 * label[slide]
        write_bag(folder / "bags" / f"{slide}.h5", make_bag(slide, features), {})
    patient = {slide: f"P{int(slide[1:]) // 2 if repeats == 1 else slide}" for slide in slides}
    labelled = [(slide, classes[label[slide]], patient[slide]) for slide in slides]
    write_csv(folder / "labels.csv", ("slide_id", "label", "patient_id"), labelled)
    drawn = make_folds(slides, folds, repeats, protocol)
    rows = [
        (fold.repeat, fold.fold, slide, patient[slide], role, classes[label[slide]])
        for fold in drawn
        for role in ("train", "val", "test")
        for slide in getattr(fold, role)
    ]
    write_csv(folder / "splits.csv", ("repeat", "fold", "slide_id", "patient_id", "role", "label"), rows)
    spec = ModelSpec(dim=3, classes=count, group_features=False)
    torch.manual_seed(0)
    state = build_model("mean", spec, {}).state_dict()
    for place, fold in enumerate(drawn):
        facts = ModelFacts(
            model="mean",
            model_options={},
            spec=spec,
            classes=classes,
            threshold=threshold if count == 2 else None,
            temperature=temperature,
            decision=decision,
            decision_target=decision_target,
            protocol=protocol,
            encoder=ENCODER,
            repeat=fold.repeat,
            fold=fold.fold,
            seed=1,
            epoch=3,
            val_auc=val_auc[place % len(val_auc)],
            provenance={},
            validation=_validation(fold, label, said) if keeps_validation else None,
        )
        write_model(folder / "models" / fold.name, state, facts)
    monkeypatch.setattr(loop, "predict", lambda model, load, wanted: np.stack([said[slide] for slide in wanted]))
    project = Project(
        bags=folder / "bags",
        labels=folder / "labels.csv",
        models=folder / "models",
        splits=folder / "splits.csv",
        predictions=folder / "predictions.csv",
        metrics=folder / "metrics.json",
        curves=folder / "curves",
        page=folder / "index.html",
    )
    return Study(project=project, folds=drawn, label=label, said=said, classes=classes, threshold=threshold)


def _validation(fold: Fold, label: Mapping[str, int], said: Mapping[str, np.ndarray]) -> ValidationPart:
    labels = np.array([label[slide] for slide in fold.val], np.int64)
    return ValidationPart.of(labels, np.stack([said[slide] for slide in fold.val]))


def make_bag(slide: str, features: np.ndarray) -> FeatureBag:
    count = len(features)
    return FeatureBag(
        slide_id=slide,
        features=features,
        xy=np.zeros((count, 2), np.int32),
        region=np.full(count, -1, np.int32),
        region_area=np.zeros(0, np.int64),
        region_area_um2=np.zeros(0),
        group_features=np.zeros((0, 3), np.float32),
        group_region=np.zeros(0, np.int32),
        members=Membership(start=np.zeros(1, np.int64), patch=np.zeros(0, np.int32)),
        encoder=ENCODER,
    )


def keys(value: Any) -> Any:
    """The keys of nested mappings."""
    return {key: keys(inner) for key, inner in value.items()} if isinstance(value, dict) else None


def each(names: Sequence[str], inner: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(names, inner)
