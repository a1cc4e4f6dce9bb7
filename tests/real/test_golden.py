"""Our models against numbers computed once by the published code, in float64 (../shared/data/golden/README.md)."""

import csv
import json
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sammil_cli.exchange import convert_weights
from sammil_cli.exchange.published_weights import architectures
from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.mil.contract import Bag, ModelSpec, Output
from sammil_cli.mil.published import Architecture
from sammil_cli.project.project import RunOptions
from sammil_cli.regions.membership import Membership
from sammil_cli.stages import predict
from sammil_cli.training.bundle import build_model

DIM = 1024
TOLERANCE = 1e-9
TOLERANCES = {"IBMIL (harness)": 1e-8}  # its code takes a root in single precision

# Entry of mil.json for each published architecture.
ENTRIES = {
    "SAM-MIL": "sam_mil attn",
    "MHIM-MIL (attention)": "mhim attn",
    "AB-MIL (plain)": "abmil_tanh (attmil.DAttention)",
    "mean pooling": "mean",
    "max pooling": "max",
    "DTFD-MIL": "dtfd 4 groups of contiguous np.array_split, 1 instance per end",
    "IBMIL (harness)": "ibmil repo k=8",
}

every_architecture = pytest.mark.parametrize(
    "architecture", architectures(), ids=[one.title for one in architectures()]
)


@pytest.fixture(scope="module")
def golden(real_data: Path) -> dict[str, Any]:
    path = real_data / "golden" / "mil.json"
    if not path.is_file():
        pytest.skip(f"no golden numbers: {path} is missing")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def published_state(architecture: Architecture, keys: list[str]) -> dict[str, Tensor]:
    """The README's rule: tensor j of the published keys in order is drawn from seed 1000 + j."""
    sizes = {"d": DIM, "C": 2, "K": 8}
    shapes = {
        name: tuple(size if isinstance(size, int) else sizes[size] for size in shape)
        for name, _, shape in map(astuple, architecture.parameters(2))
    }
    state = {}
    for number, key in enumerate(keys):
        drawn = np.random.RandomState(1000 + number).standard_normal(int(np.prod(shapes[key]))).reshape(shapes[key])
        scale = drawn[0].size ** -0.5 if drawn.ndim > 1 else 0.1
        scale = 1 if key.endswith("confounder_feat") else scale
        state[key] = torch.from_numpy(drawn * scale)
    return state


def golden_features(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.RandomState(7).standard_normal((count, DIM))


def logits_of(entry: dict[str, Any]) -> list[float]:
    """What the published code said; of DTFD-MIL, by the distillation that is its default."""
    found: list[float] = entry["logits"] if "logits" in entry else entry["tier2 AFS"]
    return found


def output_of(entry: dict[str, Any], architecture: Architecture) -> Output:
    model = (
        build_model(architecture.model, ModelSpec(dim=DIM, classes=2, group_features=False), architecture.options)
        .double()
        .eval()
    )
    published = published_state(architecture, entry["keys_sorted"])
    model.load_state_dict({ours: published[name] for name, ours in architecture.names(2).items()})
    features = torch.from_numpy(golden_features(entry["N"]))
    bag = Bag(
        features=features,
        group_features=torch.empty(0, DIM, dtype=torch.float64),
        region=torch.full((len(features),), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )
    with torch.inference_mode():
        return model(bag)


@every_architecture
def test_logits_and_attention_are_those_of_the_published_code(
    golden: dict[str, Any], architecture: Architecture
) -> None:
    entry = golden[ENTRIES[architecture.title]]
    found = output_of(entry, architecture)
    tolerance = TOLERANCES.get(architecture.title, TOLERANCE)
    assert found.logits.tolist() == pytest.approx(logits_of(entry), abs=tolerance)
    attention = entry.get("attn_first5", entry.get("attn"))
    if attention is None:
        assert architecture.model in ("mean", "max", "dtfd", "ibmil")
    else:
        assert found.attention[:5].tolist() == pytest.approx(attention, abs=TOLERANCE)


@every_architecture
def test_the_table_of_names_is_the_published_one(golden: dict[str, Any], architecture: Architecture) -> None:
    assert sorted(architecture.names(2)) == golden[ENTRIES[architecture.title]]["keys_sorted"]


@every_architecture
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "teacher": None}])
def test_a_published_file_predicts_what_the_published_code_did(
    golden: dict[str, Any],
    architecture: Architecture,
    wrap: Callable[[dict[str, Tensor]], dict[str, Any]],
    tmp_path: Path,
) -> None:
    entry = golden[ENTRIES[architecture.title]]
    torch.save(wrap(published_state(architecture, entry["keys_sorted"])), tmp_path / "published.pt")
    write_golden_bag(tmp_path / "bags" / "golden.h5", entry["N"])
    convert_weights.run(
        tmp_path / "published.pt", tmp_path / "bundle", classes="normal,tumour", model=architecture.model
    )
    table = tmp_path / "predictions.csv"
    predict.run(tmp_path / "bundle", tmp_path / "bags", table, RunOptions())
    with table.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    wanted = torch.softmax(torch.tensor(logits_of(entry), dtype=torch.float64), 0)
    assert float(row["probability_tumour"]) == pytest.approx(float(wanted[1]), abs=1e-5)
    assert row["predicted"] == ("tumour" if wanted[1] >= 0.5 else "normal")


def write_golden_bag(path: Path, count: int) -> None:
    """The golden input as a bag without regions, of an encoder that the weights know nothing of."""
    features = golden_features(count).astype(np.float32)
    bag = FeatureBag(
        slide_id=path.stem,
        features=features,
        xy=np.zeros((count, 2), np.int32),
        region=np.full(count, -1, np.int32),
        region_area=np.empty(0, np.int64),
        region_area_um2=np.empty(0),
        group_features=np.empty((0, DIM), np.float32),
        group_region=np.empty(0, np.int32),
        members=Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32)),
        encoder=EncoderFacts(
            name="resnet50", weights_sha256="0" * 64, dim=DIM, patch_px=512, patch_mpp=0.25, patch_px_level0=512
        ),
    )
    write_bag(path, bag, {})
