"""SRMIL against numbers computed once by its published code, in float64 (../shared/data/golden/README.md)."""

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_bag import write_golden_bag
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sammil_cli.exchange import convert_weights
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.graph_attention import Dropout
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.srmil import PUBLISHED, Model, SrmilOptions
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import predict

DIM, NODES = 1024, 40
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}
(ARCHITECTURE,) = PUBLISHED
# Of the decoder, which prediction does without: published name -> ours, as beginnings.
TRAINED = {
    "encoder_to_decoder.": "encoder_to_decoder.",
    "enc_mask_token": "enc_mask_token",
    "dec_mask_token": "dec_mask_token",
    "decoder.gat_layers.0.": "first_decoder.",
    "decoder.gat_layers.1.": "second_decoder.",
}
DEAD = ("attender.", "encoder.mask_tokens.", "decoder.mask_tokens.")

either_precision = pytest.mark.parametrize("precision", list(TOLERANCE), ids=str)


@pytest.fixture(scope="module")
def golden(golden_file: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    loaded: dict[str, Any] = golden_file("srmil_wsisam.json")["srmil"]
    return loaded


def our_name(published: str) -> str | None:
    """Our name of a published tensor; None of one that no pass uses."""
    if published in (names := ARCHITECTURE.names(2)):
        return names[published]
    begin = next((begin for begin in TRAINED if published.startswith(begin)), None)
    return None if begin is None else TRAINED[begin] + published.removeprefix(begin)


def make_model(keys: list[str]) -> Model:
    """The README's rule: tensor j of the published keys in order is drawn from seed 1000 + j.

    The published layers hold their attention vectors and biases in float32, whatever the rest is of.
    """
    model = Model(ModelSpec(dim=DIM, classes=2, group_features=False), SrmilOptions()).double().eval()
    shapes, state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, {}
    for number, key in enumerate(keys):
        if (ours := our_name(key)) is None:
            assert key.startswith(DEAD)
            continue
        shape = shapes[ours]
        drawn = np.random.RandomState(1000 + number).standard_normal(math.prod(shape)).reshape(shape)
        if len(shape) > 1:
            drawn = drawn / drawn[0].size ** 0.5
        elif key.endswith("norm.weight"):
            drawn = 1 + 0.1 * drawn
        else:
            drawn = 0.25 + 0.01 * drawn if key.endswith("activation.weight") else 0.1 * drawn
        state[ours] = torch.from_numpy(drawn)
        if re.search(r"gat_layers\.\d\.(attn_[lr]|bias)$", key):
            state[ours] = state[ours].float().double()
    model.load_state_dict(state)
    return model


def golden_places() -> list[tuple[int, int]]:
    """A grid with a hole, cut off in its last row, and one patch far away."""
    inside = [(i, j) for i in range(7) for j in range(6) if (i, j) != (3, 3)]
    return [*inside[: NODES - 1], (30, 30)]


def golden_features() -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.random.RandomState(7).standard_normal((300, DIM))[:NODES]


def make_bag(precision: torch.dtype) -> Bag:
    return Bag(
        features=torch.from_numpy(golden_features()).to(precision),
        group_features=torch.empty(0, DIM, dtype=precision),
        region=torch.full((NODES,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
        places=torch.tensor(golden_places(), dtype=torch.float32),
    )


def test_the_graph_has_the_published_number_of_edges(golden: dict[str, Any]) -> None:
    assert len(make_bag(torch.float32).neighbours(False).source) == golden["edges_with_selfloops"]


@either_precision
def test_logits_and_attention_are_those_of_the_published_code(golden: dict[str, Any], precision: torch.dtype) -> None:
    model = make_model(golden["keys_sorted"]).to(precision)
    with torch.inference_mode():
        found = model(make_bag(precision))
    limit = TOLERANCE[precision]
    assert found.logits.tolist() == pytest.approx(golden["logits_complete"], abs=limit)
    attention = golden["supernode_attention_first5 (layer 2, mean of 4 heads)"]
    assert found.attention[:5].tolist() == pytest.approx(attention, abs=limit)


@either_precision
def test_the_reconstruction_is_that_of_the_published_code(
    golden: dict[str, Any], precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, bag, limit = make_model(golden["keys_sorted"]).to(precision), make_bag(precision), TOLERANCE[precision]
    hidden = torch.arange(0, NODES, 3)
    shown = torch.tensor([node for node in range(NODES) if node % 3])
    monkeypatch.setattr(model, "_draw", lambda count, generator: (hidden, shown))
    terms = model.losses(bag, torch.tensor(1), torch.Generator())
    assert terms["reconstruction"].item() / 1.8 == pytest.approx(golden["sce"], abs=limit)
    layer, graph = model.first_encoder, bag.neighbours(False)
    masked = bag.features.index_copy(0, hidden, model.enc_mask_token.expand(len(hidden), -1))
    nodes = layer(model.reformer(masked), graph, Dropout())
    found: Tensor = model._reconstruct(nodes, hidden, shown, graph, Dropout())
    assert found[0, :3].tolist() == pytest.approx(golden["recon_row0_first3"], abs=limit)
    cosine = cosine_similarity(found, bag.features[hidden], dim=1)
    assert (1 - cosine).mean().item() == pytest.approx(golden["sce"], abs=limit)


def test_every_published_name_is_ours_or_known_to_be_unused(golden: dict[str, Any]) -> None:
    keys = golden["keys_sorted"]
    found = [ours for key in keys if (ours := our_name(key)) is not None]
    model = Model(ModelSpec(dim=DIM, classes=2, group_features=False), SrmilOptions())
    assert sorted(found) == sorted(model.state_dict())
    left = {key for key in keys if key not in ARCHITECTURE.names(2)}
    assert all(key.startswith(ARCHITECTURE.unused) for key in left)
    assert not any(name.startswith(ARCHITECTURE.unused) for name in ARCHITECTURE.names(2))


def test_a_published_file_predicts_what_the_published_code_did(
    golden: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the process list is written there
    model = make_model(golden["keys_sorted"])
    ours = model.state_dict()
    state = {key: ours[name] if (name := our_name(key)) else torch.zeros(3) for key in golden["keys_sorted"]}
    torch.save(state, tmp_path / "published.pt")
    places = np.array(golden_places(), np.int32) * 224  # the grid of the authors' patches
    write_golden_bag(tmp_path / "bags/golden.h5", golden_features(), places, patch_px=224)
    convert_weights.run(tmp_path / "published.pt", tmp_path / "model", classes=["normal", "tumour"])
    table = tmp_path / "predictions.csv"
    predict.run(tmp_path / "model", tmp_path / "bags", table, RunOptions())
    with table.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    wanted = torch.softmax(torch.tensor(golden["logits_complete"], dtype=torch.float64), 0)
    assert float(row["probability_tumour"]) == pytest.approx(float(wanted[1]), abs=1e-5)
