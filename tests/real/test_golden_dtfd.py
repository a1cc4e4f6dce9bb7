"""Both tiers of DTFD-MIL against numbers of the published code, and its released weights at work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_golden import COMPARED, ENTRIES, golden_bag, golden_model, tolerance

from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.dtfd import Model, consecutive_parts
from sammil_cli.training.published_weights import read_published
from sammil_cli.training.trained_model import build_model

(DTFD,) = (one for one in COMPARED if one.title == "DTFD-MIL")
GROUPS = 4

precise = pytest.mark.parametrize(
    ("kind", "near"), [(torch.float64, tolerance(ENTRIES[DTFD.title])), (torch.float32, 1e-5)], ids=["double", "single"]
)


@pytest.fixture
def entry(golden: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = golden[ENTRIES[DTFD.title]]
    return found


def build(entry: dict[str, Any], kind: torch.dtype, **options: object) -> tuple[Model, Bag]:
    model = golden_model(entry, replace(DTFD, options={**DTFD.options, **options}))
    assert isinstance(model, Model)
    bag = golden_bag(entry["N"])
    return model.to(kind), replace(bag, features=bag.features.to(kind), group_features=bag.group_features.to(kind))


@precise
def test_tier_1_says_of_each_pseudo_bag_what_the_published_code_did(
    entry: dict[str, Any], kind: torch.dtype, near: float
) -> None:
    model, bag = build(entry, kind)
    with torch.inference_mode():
        embedded, scores = model.embed(bag)
        logits = model.first_tier(embedded, scores, *consecutive_parts(entry["N"], GROUPS, scores.device)).logits
    assert logits.flatten().tolist() == pytest.approx(entry["tier1"], abs=near)
    losses = [model.classification_loss(one, torch.tensor(1)) for one in logits]
    assert torch.stack(losses).mean().item() == pytest.approx(entry["loss0_y1"], abs=near)


@precise
@pytest.mark.parametrize("distillation", ["AFS", "MaxS", "MaxMinS"])
def test_tier_2_says_of_the_bag_what_the_published_code_did(
    entry: dict[str, Any], distillation: str, kind: torch.dtype, near: float
) -> None:
    model, bag = build(entry, kind, distillation=distillation)
    with torch.inference_mode():
        logits = model(bag).logits
    assert logits.tolist() == pytest.approx(entry[f"tier2 {distillation}"], abs=near)


@pytest.mark.parametrize("prediction", ["dealt", "consecutive"])
def test_the_released_weights_separate_what_their_own_classifier_separates(real_data: Path, prediction: str) -> None:
    """A bag that points along the positive class of the released embedding is positive, and its opposite negative."""
    spec = ModelSpec(dim=1024, classes=2, group_features=False)
    model = build_model("dtfd", spec, {"prediction": prediction}).eval()
    model.load_state_dict(read_published(real_data / "legacy/dtfd/model.pth").state)
    embed, classifier = model.get_parameter("dim_reduction.weight"), model.get_parameter("classifier.weight")
    bag = golden_bag(300)
    with torch.inference_mode():
        direction = (classifier[1] - classifier[0]) @ embed
        noise, base = 0.1 * bag.features.float(), 10 * direction / direction.norm()
        said = [
            torch.softmax(model(replace(bag, features=sign * base + noise)).logits, 0)[1].item() for sign in (1, -1)
        ]
    assert said[0] > 0.9
    assert said[1] < 0.1
