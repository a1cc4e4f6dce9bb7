"""Our models against numbers computed once by the published code, in float64 (../shared/data/golden/README.md)."""

import csv
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_bag import write_golden_bag
from torch import Tensor

from sammil_cli.exchange import convert_weights
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import Architecture
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import predict
from sammil_cli.training.published_weights import architectures
from sammil_cli.training.trained_model import build_model

DIM = 1024

# Entry of mil.json for each published architecture.
ENTRIES = {
    "SAM-MIL": "sam_mil attn",
    "MHIM-MIL (attention)": "mhim attn",
    "MHIM-MIL (DSMIL)": "mhim dsmil",
    "TransMIL": "transmil",
    "AB-MIL (plain)": "abmil_tanh (attmil.DAttention)",
    "AB-MIL (gated, as released)": "abmil_gated_repo (ReLU gate,no bias)",
    "mean pooling": "mean",
    "max pooling": "max",
    "DTFD-MIL": "dtfd 4 groups of contiguous np.array_split, 1 instance per end",
    "IBMIL (harness)": "ibmil repo k=8",
    "DSMIL": "dsmil official C=2",
    "DSMIL (one output)": "dsmil official C=1",
    "DSMIL (SAM-MIL's)": "dsmil SAM-MIL repo",
    "CLAM-SB": "clam_sb",
    "CLAM-MB": "clam_mb",
}
WITHOUT_ATTENTION = {
    *("mean", "max", "transmil", "abmil", "ibmil"),
    *("dsmil", "clam-sb", "clam-mb", "mhim"),  # test_golden_streams.py
    "dtfd",  # test_golden_dtfd.py
}
NO_NUMBERS = {
    *("DSMIL (passing values)", "CLAM-SB (big)", "CLAM-MB (big)"),
    *("MHIM-MIL (gated attention)", "MHIM-MIL (TransMIL)"),
    "AB-MIL of MIL-Lab (FEATHER)",
    "SRMIL",  # test_golden_srmil.py
}  # were computed of these

COMPARED = [one for one in architectures() if one.title in ENTRIES]
every_architecture = pytest.mark.parametrize("architecture", COMPARED, ids=[one.title for one in COMPARED])


def tolerance(entry: str) -> float:
    """The README's: the published DSMIL and IBMIL take the root of 128 in single precision."""
    return 1e-8 if entry.startswith(("dsmil", "ibmil")) else 1e-9


def wanted_logits(entry: dict[str, Any]) -> list[float]:
    """Of a single output l they are 0 and l."""
    (name,) = {"bag", "logits", "tier2 AFS"} & set(entry)
    found: list[float] = entry[name]
    return [0.0, *found] if len(found) == 1 else found


def test_each_published_architecture_has_its_numbers_or_has_none() -> None:
    titles = {one.title for one in architectures()}
    assert ENTRIES.keys() | NO_NUMBERS == titles
    assert not ENTRIES.keys() & NO_NUMBERS


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
        layer, _, kind = key.rpartition(".")
        around_one = drawn.ndim == 1 and kind == "weight" and "norm" in layer.rpartition(".")[2]
        scale = 1 if key.endswith("confounder_feat") else scale
        state[key] = torch.from_numpy(drawn * scale + around_one)
    return state


def golden_features(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.RandomState(7).standard_normal((count, DIM))


def golden_bag(count: int) -> Bag:
    features = torch.from_numpy(golden_features(count))
    return Bag(
        features=features,
        group_features=torch.empty(0, DIM, dtype=torch.float64),
        region=torch.full((count,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def golden_model(entry: dict[str, Any], architecture: Architecture) -> MILModel:
    spec = ModelSpec(dim=DIM, classes=2, group_features=False)
    model = build_model(architecture.model, spec, architecture.options).double().eval()
    published = published_state(architecture, entry["keys_sorted"])
    state = {ours: published[name] for name, ours in architecture.names(2).items()}
    model.load_state_dict({**model.state_dict(), **state})  # what only training needs is not published
    return model


@every_architecture
def test_logits_and_attention_are_those_of_the_published_code(
    golden: dict[str, Any], architecture: Architecture
) -> None:
    name = ENTRIES[architecture.title]
    entry = golden[name]
    with torch.inference_mode():
        found = golden_model(entry, architecture)(golden_bag(entry["N"]))
    assert found.logits.tolist() == pytest.approx(wanted_logits(entry), abs=tolerance(name))
    attention = entry.get("attn_first5", entry.get("attn"))
    if attention is None:
        assert architecture.model in WITHOUT_ATTENTION
    else:
        assert found.attention[:5].tolist() == pytest.approx(attention, abs=tolerance(name))


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the process list is written there
    entry = golden[ENTRIES[architecture.title]]
    torch.save(wrap(published_state(architecture, entry["keys_sorted"])), tmp_path / "published.pt")
    write_golden_bag(
        tmp_path / "bags/golden.h5", golden_features(entry["N"]), np.zeros((entry["N"], 2), np.int32), patch_px=512
    )
    convert_weights.run(
        tmp_path / "published.pt", tmp_path / "model", classes=["normal", "tumour"], model=architecture.model
    )
    table = tmp_path / "predictions.csv"
    predict.run(tmp_path / "model", tmp_path / "bags", table, RunOptions())
    with table.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    wanted = torch.softmax(torch.tensor(wanted_logits(entry), dtype=torch.float64), 0)
    assert float(row["probability_tumour"]) == pytest.approx(float(wanted[1]), abs=1e-5)
    assert row["predicted"] == ("tumour" if wanted[1] >= 0.5 else "normal")
