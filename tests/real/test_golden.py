"""Our models against numbers computed once by the published code, in float64 (../shared/data/golden/README.md)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sammil_cli.mil.contract import Bag, MILModel, ModelSpec, Output
from sammil_cli.training.bundle import build_model

TOLERANCE = 1e-9

# Entry of mil.json, our model, and what published key names start with -> what ours start with.
PUBLISHED = [
    ("mean", "mean", {}),
    ("max", "max", {}),
    (
        "abmil_tanh (attmil.DAttention)",
        "abmil",
        {"attention.0.": "attention_v.0.", "attention.2.": "attention_w.", "classifier.0.": "classifier."},
    ),
    ("sam_mil attn", "sam-mil", {"online_encoder.attn_model.attention.attention.": "attention."}),
    ("mhim attn", "sam-mil", {"online_encoder.attention.attention.": "attention."}),
]


@pytest.fixture(scope="module")
def golden(real_data: Path) -> dict[str, Any]:
    path = real_data / "golden" / "mil.json"
    if not path.is_file():
        pytest.skip(f"no golden numbers: {path} is missing")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def fill(model: MILModel, keys: list[str], renamed: dict[str, str]) -> None:
    """The README's rule: tensor j of the published keys in order is drawn from seed 1000 + j."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {}
    for number, key in enumerate(keys):
        ours = next((key.replace(old, new, 1) for old, new in renamed.items() if key.startswith(old)), key)
        drawn = np.random.RandomState(1000 + number).standard_normal(int(np.prod(shapes[ours]))).reshape(shapes[ours])
        scale = drawn[0].size ** -0.5 if drawn.ndim > 1 else 0.1
        state[ours] = torch.from_numpy(drawn * scale)
    model.load_state_dict(state)


def output_of(entry: dict[str, Any], name: str, renamed: dict[str, str]) -> Output:
    model = build_model(name, ModelSpec(dim=1024, classes=2, group_features=False), {}).double().eval()
    fill(model, entry["keys_sorted"], renamed)
    features = torch.from_numpy(np.random.RandomState(7).standard_normal((entry["N"], 1024)))
    bag = Bag(
        features=features,
        group_features=torch.empty(0, 1024, dtype=torch.float64),
        region=torch.full((len(features),), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )
    with torch.inference_mode():
        return model(bag)


@pytest.mark.parametrize(("title", "name", "renamed"), PUBLISHED, ids=[title for title, _, _ in PUBLISHED])
def test_logits_and_attention_are_those_of_the_published_code(
    golden: dict[str, Any], title: str, name: str, renamed: dict[str, str]
) -> None:
    entry = golden[title]
    found = output_of(entry, name, renamed)
    assert found.logits.tolist() == pytest.approx(entry["logits"], abs=TOLERANCE)
    attention = entry.get("attn_first5", entry.get("attn"))
    if attention is None:
        assert name in ("mean", "max")
    else:
        assert found.attention[:5].tolist() == pytest.approx(attention, abs=TOLERANCE)
