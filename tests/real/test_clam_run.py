"""A run that CLAM itself has left: its demo weights on one slide's features, and the attention that it stored."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from sammil_cli.exchange import convert_weights
from sammil_cli.features.bag import write_bag
from sammil_cli.legacy.bags import convert_slide
from sammil_cli.legacy.layout import find_layout
from sammil_cli.mil.contract import Bag
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import predict
from sammil_cli.training.published_weights import read_published
from sammil_cli.training.trained_model import read_model

SLIDE = "C3L-01663-21"  # of a squamous cell carcinoma


@pytest.fixture
def run(real_data: Path) -> Path:
    folder = real_data / "legacy" / "clam_run"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder


@pytest.fixture
def demo(real_data: Path) -> Path:
    return real_data / "legacy" / "clam" / "demo_luad_lusc_clam_sb.pt"


def bag_of(run: Path) -> Bag:
    with h5py.File(run / SLIDE / f"{SLIDE}.h5") as file:
        features = torch.from_numpy(file["features"][:])
    return Bag(
        features=features,
        group_features=torch.empty(0, features.shape[1]),
        region=torch.full((len(features),), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def test_the_demo_weights_give_the_attention_that_clam_stored_and_its_answer(
    run: Path, demo: Path, tmp_path: Path
) -> None:
    convert_weights.run(demo, tmp_path / "model", classes=["LUAD", "LSCC"])
    model, facts = read_model(tmp_path / "model", "cpu")
    assert (facts.model, facts.model_options, facts.classes) == ("clam-sb", {}, ("LUAD", "LSCC"))
    bag = bag_of(run)
    with torch.inference_mode():
        scores, said = model.attend(bag)[1], model(bag)
    with h5py.File(run / SLIDE / f"{SLIDE}_blockmap.h5") as file:
        stored, placed = file["attention_scores"][:, 0], file["coords"][:]
    with h5py.File(run / SLIDE / f"{SLIDE}.h5") as file:
        assert (file["coords"][:] == placed).all()
    assert np.abs(scores[0].numpy() - stored).max() <= 4e-6
    wanted = torch.softmax(torch.from_numpy(stored).double(), 0)
    assert torch.allclose(said.attention.double(), wanted, rtol=1e-5, atol=0)
    assert facts.classes[int(said.logits.argmax())] == "LSCC"


def test_predict_says_of_clams_slide_what_clam_says(
    run: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the process list is written there
    convert_weights.run(demo, tmp_path / "model", classes=["LUAD", "LSCC"])
    layout = find_layout(run, run / SLIDE, None, run / SLIDE, None, require_segments=False)
    converted = convert_slide(layout.source(SLIDE), slide_mpp=0.5, patch_px_level0=256, min_share=0.0)
    write_bag(tmp_path / "bags" / f"{SLIDE}.h5", converted.bag, {})
    predict.run(tmp_path / "model", tmp_path / "bags", tmp_path / "predictions.csv", RunOptions())
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["slide_id"], row["predicted"]) == (SLIDE, "LSCC")
    assert float(row["probability_LSCC"]) == pytest.approx(0.711, abs=1e-3)


def test_a_checkpoint_that_clams_training_left_is_read(run: Path) -> None:
    path = run / "results" / "s_0_checkpoint.pt"
    found, raw = read_published(path), torch.load(path, map_location="cpu", weights_only=True)
    assert (found.architecture.title, found.dim, found.classes) == ("CLAM-SB", 1024, 2)
    assert len(found.state) == len(raw) - 1  # without instance_loss_fn.labels
    assert torch.equal(found.state["attention_c.weight"], raw["attention_net.3.attention_c.weight"])
