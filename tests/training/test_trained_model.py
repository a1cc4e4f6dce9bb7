"""Trained models: weights and facts that belong together, or a clear refusal. Round trips: contracts/test_models.py."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.summed import write_summed
from sammil_cli.training.model_facts import FACTS_FILE, WEIGHTS_FILE, ModelFacts
from sammil_cli.training.trained_model import build_model, read_model, write_model

SPEC = ModelSpec(dim=3, classes=2, group_features=False, dropout=0.1)
FACTS = ModelFacts(
    model="abmil",
    model_options={"gated": True},
    spec=SPEC,
    classes=("normal", "tumour"),
    threshold=0.25,
    temperature=1.0,
    protocol="honest",
    encoder=EncoderFacts(name="texture", weights_sha256=None, dim=3, patch_px=64, patch_mpp=0.5, patch_px_level0=128),
    repeat=1,
    fold=2,
    seed=1023,
    epoch=7,
    val_auc=0.875,
    provenance={"tool": "sammil"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_model(tmp_path / "fold", build_model("abmil", SPEC, {"gated": True}).state_dict(), FACTS)
    return tmp_path / "fold"


def test_a_model_is_two_files_and_the_facts_are_readable_by_people(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [FACTS_FILE, WEIGHTS_FILE]
    facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    assert facts["classes"] == ["normal", "tumour"]
    assert facts["threshold"] == 0.25
    assert (facts["positive_class"], facts["calibrated_threshold"]) == ("tumour", 0.25)
    assert facts["spec"]["dropout"] == 0.1
    assert facts["weights_sha256"] == sha256_file(folder / WEIGHTS_FILE)


def test_a_read_model_is_ready_to_predict(folder: Path) -> None:
    model, facts = read_model(folder, "cpu")
    assert facts == FACTS
    assert not model.training
    assert model.attention_u is not None


def test_the_same_weights_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    model, facts = read_model(folder, "cpu")
    write_model(tmp_path / "again", model.state_dict(), facts)
    for name in (WEIGHTS_FILE, FACTS_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_weights_that_are_not_contiguous_are_written(tmp_path: Path) -> None:
    state = build_model("abmil", SPEC, {}).state_dict()
    state = {name: value.T.contiguous().T if value.ndim == 2 else value for name, value in state.items()}
    assert not state["feature.0.weight"].is_contiguous()
    write_model(tmp_path / "fold", state, ModelFacts(**{**FACTS.__dict__, "model_options": {}}))
    loaded = read_model(tmp_path / "fold", "cpu")[0].state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_model_of_before_the_flag_of_group_features_is_read_as_one_without(folder: Path) -> None:
    record = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    assert record["spec"].pop("group_feature_flag") is False
    write_summed(folder / FACTS_FILE, {key: value for key, value in record.items() if key not in ("sum", "sha256")})
    assert read_model(folder, "cpu")[1].spec == SPEC


@pytest.mark.parametrize("center", [5000.0, "median"])
def test_the_centre_of_a_mask_is_kept_as_a_number_or_a_word(tmp_path: Path, center: float | str) -> None:
    facts = dataclasses.replace(FACTS, spec=dataclasses.replace(SPEC, sigmoid_center=center))
    write_model(tmp_path, build_model("abmil", SPEC, {"gated": True}).state_dict(), facts)
    assert read_model(tmp_path, "cpu")[1].spec.sigmoid_center == center


def test_a_missing_model_is_refused_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model") as caught:
        read_model(tmp_path / "nowhere", "cpu")
    assert caught.value.remedy == "run: sammil train"


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    damaged = bytearray((folder / WEIGHTS_FILE).read_bytes())
    damaged[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(bytes(damaged))
    with pytest.raises(InputError, match=r"not the file that .*model\.json names"):
        read_model(folder, "cpu")


def test_facts_without_weights_are_refused(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(InputError, match=WEIGHTS_FILE):
        read_model(folder, "cpu")


@pytest.mark.parametrize("text", ["", '{"model": "abm', "{}", "[]"])
def test_damaged_facts_are_refused(folder: Path, text: str) -> None:
    (folder / FACTS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=FACTS_FILE):
        read_model(folder, "cpu")


def test_a_model_of_converted_bags_of_unknown_scale_is_written_and_read(tmp_path: Path) -> None:
    unknown = dataclasses.replace(FACTS, encoder=dataclasses.replace(FACTS.encoder, patch_mpp=float("nan")))
    write_model(tmp_path, build_model("abmil", SPEC, {"gated": True}).state_dict(), unknown)
    assert math.isnan(read_model(tmp_path, "cpu")[1].encoder.patch_mpp)
