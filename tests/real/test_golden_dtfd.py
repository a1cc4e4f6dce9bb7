"""Both tiers of DTFD-MIL against numbers of the published code, and its released weights at work."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_golden import ENTRIES, TOLERANCE, golden_features, published_state
from torch import Tensor

from sammil_cli.exchange.published_weights import architectures, read_published
from sammil_cli.mil.contract import Bag, ModelSpec
from sammil_cli.mil.models.dtfd import Model, consecutive_parts
from sammil_cli.training.bundle import build_model

(DTFD,) = (one for one in architectures() if one.title == "DTFD-MIL")
DIM, GROUPS = 1024, 4

precise = pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, TOLERANCE), (torch.float32, 1e-5)])


@pytest.fixture(scope="module")
def entry(real_data: Path) -> dict[str, Any]:
    path = real_data / "golden" / "mil.json"
    if not path.is_file():
        pytest.skip(f"no golden numbers: {path} is missing")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[ENTRIES[DTFD.title]]
    return found


def build(state: dict[str, Tensor], kind: torch.dtype, **options: object) -> Model:
    model = build_model("dtfd", ModelSpec(dim=DIM, classes=2, group_features=False), options).double()
    assert isinstance(model, Model)
    model.load_state_dict(state)
    return model.to(kind).eval()


def golden_model(entry: dict[str, Any], kind: torch.dtype, **options: object) -> Model:
    published = published_state(DTFD, entry["keys_sorted"])
    return build({ours: published[name] for name, ours in DTFD.names(2).items()}, kind, **options)


def golden_bag(entry: dict[str, Any], kind: torch.dtype) -> Bag:
    features = torch.from_numpy(golden_features(entry["N"])).to(kind)
    return Bag(
        features=features,
        group_features=features[:0],
        region=torch.full((len(features),), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


@precise
def test_tier_1_says_of_each_pseudo_bag_what_the_published_code_did(
    entry: dict[str, Any], kind: torch.dtype, tolerance: float
) -> None:
    model, bag = golden_model(entry, kind), golden_bag(entry, kind)
    part, parts = consecutive_parts(entry["N"], GROUPS, bag.features.device)
    with torch.inference_mode():
        logits = model.first_tier(bag.features, part, parts).logits
    assert logits.flatten().tolist() == pytest.approx(entry["tier1"], abs=tolerance)
    losses = [model.classification_loss(one, torch.tensor(1)) for one in logits]
    assert torch.stack(losses).mean().item() == pytest.approx(entry["loss0_y1"], abs=tolerance)


@precise
@pytest.mark.parametrize("distillation", ["AFS", "MaxS", "MaxMinS"])
def test_tier_2_says_of_the_bag_what_the_published_code_did(
    entry: dict[str, Any], distillation: str, kind: torch.dtype, tolerance: float
) -> None:
    with torch.inference_mode():
        logits = golden_model(entry, kind, distillation=distillation)(golden_bag(entry, kind)).logits
    assert logits.tolist() == pytest.approx(entry[f"tier2 {distillation}"], abs=tolerance)


def test_the_released_weights_separate_what_their_own_classifier_separates(
    real_data: Path, entry: dict[str, Any]
) -> None:
    """A bag that points along the positive class of the released embedding is positive, and its opposite negative."""
    model = build(read_published(real_data / "legacy/dtfd/model.pth").state, torch.float32)
    embed, classifier = model.get_parameter("dim_reduction.0.weight"), model.get_parameter("classifier.weight")
    with torch.inference_mode():
        direction = (classifier[1] - classifier[0]) @ embed
        noise, base = golden_bag(entry, torch.float32), 10 * direction / direction.norm()
        said = [
            torch.softmax(model(replace(noise, features=sign * base + 0.1 * noise.features)).logits, 0)[1].item()
            for sign in (1, -1)
        ]
    assert said[0] > 0.9
    assert said[1] < 0.1
