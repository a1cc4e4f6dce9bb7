"""Trained weights out under published names, published weights in as a model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sammil_cli.exchange import convert_weights, export
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.storage.files import sha256_file
from sammil_cli.training.encoder_check import UNKNOWN_ENCODER
from sammil_cli.training.model_facts import WEIGHTS_FILE, ModelFacts
from sammil_cli.training.published_weights import architectures
from sammil_cli.training.trained_model import build_model, read_model, write_model

SAM_MIL = next(one for one in architectures() if one.title == "SAM-MIL")
SPEC = ModelSpec(dim=5, classes=2, group_features=True)
FACTS = ModelFacts(
    model="sam-mil",
    model_options={},
    spec=SPEC,
    classes=("normal", "tumour"),
    threshold=0.31,
    temperature=1.7,
    protocol="honest",
    encoder=EncoderFacts(name="texture", weights_sha256=None, dim=5, patch_px=64, patch_mpp=0.5, patch_px_level0=128),
    repeat=0,
    fold=1,
    seed=4,
    epoch=9,
    val_auc=0.9,
    provenance={},
)

Sammil = Callable[..., Any]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of random weights; its folder's parent is the working directory."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    write_model(Path("fold"), build_model("sam-mil", SPEC, {}).state_dict(), FACTS)
    return Path("fold")


def test_the_export_has_the_published_names_and_says_what_it_is(trained: Path, sammil: Sammil) -> None:
    answer = sammil("export", trained, "--out", "out/sam-mil.safetensors")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("out/sam-mil.safetensors: SAM-MIL, 6 tensors, sha256 ")
    with safe_open("out/sam-mil.safetensors", framework="pt") as file:
        assert sorted(file.keys()) == sorted(SAM_MIL.names(2))
        said = json.loads(file.metadata()["sammil"])
    assert (said["architecture"], said["classes"], said["threshold"]) == ("SAM-MIL", ["normal", "tumour"], 0.31)
    assert said["encoder"]["name"] == "texture"


def test_out_and_in_again_gives_the_same_weight_file(trained: Path) -> None:
    export.run(trained, Path("out.safetensors"))
    convert_weights.run(Path("out.safetensors"), Path("back"))
    assert (Path("back") / WEIGHTS_FILE).read_bytes() == (trained / WEIGHTS_FILE).read_bytes()
    assert read_model(Path("back"), "cpu")[1].spec == SPEC


def test_the_same_weights_give_the_same_bytes(trained: Path) -> None:
    digests = set()
    for _ in range(5):
        export.run(trained, Path("out.safetensors"))
        digests.add(sha256_file(Path("out.safetensors")))
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights"])
def test_no_pickle_is_written(trained: Path, sammil: Sammil, name: str) -> None:
    answer = sammil("export", trained, "--out", name)
    assert answer.code == 2
    assert "no pickle is ever written" in answer.err
    assert not Path(name).exists()


def test_models_that_were_never_published_are_refused(trained: Path, sammil: Sammil) -> None:
    spec = ModelSpec(dim=5, classes=2, group_features=True)
    state = build_model("abmil", spec, {"gated": True}).state_dict()
    write_model(trained, state, replace(FACTS, model="abmil", model_options={"gated": True}))
    answer = sammil("export", trained, "--out", "gated.safetensors")
    assert answer.code == 2
    assert "no published names" in answer.err


def test_a_student_leaves_without_its_teacher_and_its_masks_are_no_other_model(trained: Path) -> None:
    options = {"mask_random": 0.7, "mask_low": 0.2, "momentum_rise": True}
    student = build_model("mhim", SPEC, options)
    write_model(trained, student.state_dict(), replace(FACTS, model="mhim", model_options=options))
    export.run(trained, Path("mhim.safetensors"))
    back = load_file("mhim.safetensors")
    assert len(back) == 6
    assert torch.equal(back["online_encoder.attention.attention.2.weight"], student.state_dict()["core.score.weight"])


def test_a_folder_without_a_model_is_refused(trained: Path, sammil: Sammil) -> None:
    answer = sammil("export", "nowhere", "--out", "a.safetensors")
    assert answer.code == 2
    assert "no trained model in nowhere" in answer.err


# ---------------------------------------------------------------------------------------------- import


@pytest.fixture
def published(trained: Path) -> Path:
    """A weight file as the authors of MHIM-MIL write it."""
    mhim = next(one for one in architectures() if one.title.startswith("MHIM"))
    ours = build_model("mhim", SPEC, {}).state_dict()
    state = {name: ours[own].clone() for name, own in mhim.names(2).items()}
    torch.save({"model": state, "teacher": None}, "best.pt")
    return Path("best.pt")


def test_an_imported_model_claims_nothing_that_the_file_does_not_say(published: Path, sammil: Sammil) -> None:
    answer = sammil("convert-legacy", published, "--out", "in")
    assert answer.code == 0, answer.err
    assert "MHIM-MIL (attention), 5-d features, classes class_0, class_1, without group features" in answer.out
    model, facts = read_model(Path("in"), "cpu")
    assert not model.training
    assert (facts.classes, facts.threshold, facts.temperature) == (("class_0", "class_1"), 0.5, 1.0)
    assert (facts.protocol, facts.val_auc, facts.epoch) == ("paper", None, -1)
    assert (facts.encoder.name, facts.encoder.dim, facts.encoder.weights_sha256) == (UNKNOWN_ENCODER, 5, None)
    recipe = facts.provenance["key"]
    assert (recipe["file"], recipe["sha256"]) == ("best.pt", sha256_file(published))


def test_what_the_user_knows_is_taken(published: Path, sammil: Sammil) -> None:
    words = ("--classes", "normal, tumour", "--encoder-name", "resnet50", "--group-features", "--model", "mhim")
    answer = sammil("convert-legacy", published, *words, "--json")
    assert json.loads(answer.out) == {"stage": "convert-legacy", "model": "mhim", "classes": ["normal", "tumour"]}
    facts = read_model(Path("runs/published/best"), "cpu")[1]
    assert (facts.classes, facts.encoder.name) == (("normal", "tumour"), "resnet50")
    assert facts.spec.group_features


def test_sam_mil_weights_expect_group_features(trained: Path) -> None:
    export.run(trained, Path("out.safetensors"))
    assert convert_weights.run(Path("out.safetensors"), Path("in")).spec.group_features


def test_more_than_two_classes_have_no_threshold(trained: Path) -> None:
    state = load_file(trained / WEIGHTS_FILE)
    wide = {"predictor.weight": torch.zeros(3, 512), "predictor.bias": torch.zeros(3)}
    save_file({**{name: state[own] for name, own in SAM_MIL.names(3).items()}, **wide}, "three.safetensors")
    facts = convert_weights.run(Path("three.safetensors"), Path("in"))
    assert (facts.threshold, facts.classes) == (None, ("class_0", "class_1", "class_2"))


@pytest.mark.parametrize("text", ["normal", "a,b,c", "a,a", "a,", ""])
def test_class_names_that_do_not_fit_are_refused(published: Path, sammil: Sammil, text: str) -> None:
    answer = sammil("convert-legacy", published, "--classes", text, "--out", "in")
    assert answer.code == 2
    assert "2 different names" in answer.err
    assert not Path("in").exists()


@pytest.mark.parametrize("name", ["nowhere.pt", "nowhere.safetensors"])
def test_a_missing_file_is_refused(trained: Path, sammil: Sammil, name: str) -> None:
    answer = sammil("convert-legacy", name)
    assert answer.code == 2
    assert f"{name} does not exist" in answer.err


def test_an_unknown_model_is_refused_whatever_is_converted(trained: Path, sammil: Sammil) -> None:
    answer = sammil("convert-legacy", ".", "--model", "maxx")
    assert (answer.code, answer.err.splitlines()[0]) == (2, "error: --model 'maxx' is unknown")
    assert "mean" in answer.err


def test_a_folder_is_still_a_run(trained: Path) -> None:
    Path("run.pt").mkdir()
    assert not convert_weights.is_weight_file(Path("run.pt"))
    assert not convert_weights.is_weight_file(Path("old"))
    assert convert_weights.is_weight_file(Path("gone.pth"))
