"""What a training takes of published weights: all but the classes, or nothing, with a reason and a way out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from published_files import BY_TITLE, FEATHER, drawn, without_classifier
from safetensors.torch import save_file
from torch import Tensor

from sammil_cli.errors import InputError, MissingError
from sammil_cli.mil.contract import MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import Architecture
from sammil_cli.storage.files import sha256_file
from sammil_cli.training.published_weights import architectures, read_published, read_start
from sammil_cli.training.trained_model import build_model

DIM, CLASSES = 7, 2
GATED = {"gated": True, "attention": 384}
STARTING = [one for one in architectures() if one.model not in ("ibmil", "mhim")]

every_start = pytest.mark.parametrize("architecture", STARTING, ids=[one.title for one in STARTING])


def built(model: str, options: Any = None, dim: int = DIM, classes: int = CLASSES) -> MILModel:
    return build_model(model, ModelSpec(dim=dim, classes=classes, group_features=False), options or {})


def saved(state: dict[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def test_a_model_whose_group_features_are_flagged_has_an_input_that_no_file_has(tmp_path: Path) -> None:
    path = saved(drawn(BY_TITLE["SAM-MIL"], DIM, CLASSES), tmp_path / "sam_mil.safetensors")
    spec = ModelSpec(dim=DIM, classes=CLASSES, group_features=True, group_feature_flag=True)
    with pytest.raises(InputError, match="have no input for group_feature_flag") as caught:
        read_start(path, "sam-mil", build_model("sam-mil", spec, {}))
    assert caught.value.remedy == "set group_feature_flag: false, or start_from: null"


@every_start
def test_all_that_does_not_depend_on_the_classes_is_taken_with_and_without_a_classifier(
    architecture: Architecture, tmp_path: Path
) -> None:
    """The file is of three classes, the cohort of two; our layers whose shape changes with the classes stay out."""
    whole = drawn(architecture, DIM, architecture.classes or 3)
    model = built(architecture.model, architecture.options)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if architecture.classes is None:
        other = built(architecture.model, architecture.options, classes=5).state_dict()
        fixed = {name for name in shapes if name in other and tuple(other[name].shape) == shapes[name]}
    else:  # of two classes always
        fixed = {name for name in shapes if name.startswith("head.query.")}
    ours = architecture.names(architecture.classes or 3)
    wanted = {ours[name]: tensor for name, tensor in whole.items() if ours[name] in fixed}
    # A branch for each class has the same shape for any number of them.
    wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(("instance_", "classifiers."))}
    bare = {name: tensor for name, tensor in whole.items() if ours[name] in wanted}
    assert 0 < len(bare) < len(whole)
    for name, state in {
        "whole.safetensors": whole,
        "whole.pt": whole,
        "bare.safetensors": bare,
        "bare.pth": bare,
    }.items():
        path = saved(state, tmp_path / name)
        found = read_start(path, architecture.model, model)
        assert (found.architecture, found.sha256) == (architecture, sha256_file(path))
        assert {name: tuple(tensor.shape) for name, tensor in found.state.items()} == {
            name: shapes[name] for name in wanted
        }
        assert all(torch.equal(found.state[name], tensor) for name, tensor in wanted.items())
        layers = {name.rpartition(".")[0] or name for name in shapes.keys() - wanted.keys()}
        assert set(found.anew) == layers


@pytest.mark.parametrize("title", ["CLAM-SB (big)", "CLAM-MB", "DSMIL", "SRMIL"])
def test_an_import_without_a_classifier_names_the_way_out(title: str, tmp_path: Path) -> None:
    path = saved(without_classifier(BY_TITLE[title], DIM), tmp_path / "bare.pt")
    with pytest.raises(InputError, match="but lacks ") as caught:
        read_published(path)
    model, options = {
        "CLAM-SB (big)": ("clam-sb", "{size: big}"),
        "CLAM-MB": ("clam-mb", "{}"),
        "DSMIL": ("dsmil", "{}"),
        "SRMIL": ("srmil", "{}"),
    }[title]
    assert f'sammil train -S model={model} -S "model_options={options}" -S start_from={path}' in caught.value.remedy


def test_feather_is_taken_whole_under_the_names_of_its_publisher(tmp_path: Path) -> None:
    """Each name after `model.`, half precision."""
    bare = without_classifier(FEATHER, DIM)
    path = saved({f"model.{name}": tensor.half() for name, tensor in bare.items()}, tmp_path / "feather.safetensors")
    found = read_start(path, "abmil", built("abmil", GATED))
    assert found.anew == ("classifier",)
    assert len(found.state) == len(bare) == 8
    assert {tensor.dtype for tensor in found.state.values()} == {torch.float32}
    assert torch.equal(found.state["attention_u.0.bias"], bare["global_attn.attention_b.0.bias"].half().float())


def test_a_file_of_one_output_has_something_to_take(tmp_path: Path) -> None:
    path = saved(drawn(BY_TITLE["AB-MIL (plain)"], DIM, 1), tmp_path / "one.pt")
    assert read_start(path, "abmil", built("abmil")).anew == ("classifier",)


@pytest.mark.parametrize(
    ("model", "options", "given"),
    [("abmil", {}, "{}"), ("abmil", {"gated": True}, "{gated: true}"), ("transformer", {"layers": 1}, "{layers: 1}")],
)
def test_another_model_or_form_is_refused_with_the_settings_to_make(
    tmp_path: Path, model: str, options: dict[str, Any], given: str
) -> None:
    path = saved(without_classifier(FEATHER, DIM), tmp_path / "feather.pt")
    with pytest.raises(InputError) as caught:
        read_start(path, model, built(model, options))
    assert caught.value.message == (
        f"{path} holds AB-MIL of MIL-Lab (FEATHER); the settings train {model}, model_options: {given}"
    )
    assert caught.value.remedy == (
        "set model: abmil and model_options: {gated: true, attention: 384}; or start_from: null"
    )


def test_of_forms_with_the_same_names_the_settings_choose_and_the_sizes_are_held_to(tmp_path: Path) -> None:
    pooled = saved(drawn(BY_TITLE["max pooling"], DIM, 2), tmp_path / "pooled.pt")
    assert read_start(pooled, "mean", built("mean")).architecture.title == "mean pooling"
    assert read_start(pooled, "max", built("max")).architecture.title == "max pooling"
    with pytest.raises(InputError, match="holds max pooling or mean pooling; the settings train abmil") as caught:
        read_start(pooled, "abmil", built("abmil"))
    assert "model: max and model_options: {} or model: mean and model_options: {}" in caught.value.remedy
    big = saved(without_classifier(BY_TITLE["CLAM-SB (big)"], DIM), tmp_path / "big.pt")
    assert read_start(big, "clam-sb", built("clam-sb", {"size": "big"})).architecture.title == "CLAM-SB (big)"
    with pytest.raises(InputError) as caught:
        read_start(big, "clam-sb", built("clam-sb"))
    assert caught.value.remedy == "set model: clam-sb and model_options: {size: big}; or start_from: null"


def test_options_that_weights_say_nothing_of_are_free(tmp_path: Path) -> None:
    path = saved(without_classifier(BY_TITLE["SRMIL"], DIM), tmp_path / "srmil.pt")
    assert "classifier" in read_start(path, "srmil", built("srmil", {"mask_share": 0.3})).anew


def test_another_feature_dimension_is_refused_with_both(tmp_path: Path) -> None:
    path = saved(without_classifier(FEATHER, 512), tmp_path / "feather.pt")
    with pytest.raises(InputError, match="is for 512 features a patch, and the bags have 1024") as caught:
        read_start(path, "abmil", built("abmil", GATED, dim=1024))
    assert "sammil extract" in caught.value.remedy


@pytest.mark.parametrize("model", ["ibmil", "mhim"])
def test_a_model_with_a_first_stage_of_its_own_is_refused(model: str, tmp_path: Path) -> None:
    title = {"ibmil": "IBMIL (harness)", "mhim": "MHIM-MIL (attention)"}[model]
    path = saved(drawn(BY_TITLE[title], DIM, 2), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=f"{model} starts from a first stage of its own") as caught:
        read_start(path, model, built(model))
    assert caught.value.remedy == "set start_from: null"


def test_weights_that_sammil_trained_are_refused_by_their_names_and_by_their_folder(tmp_path: Path) -> None:
    copied = saved(built("sam-mil").state_dict(), tmp_path / "copied.safetensors")
    pooled = saved(built("mean").state_dict(), tmp_path / "model.safetensors")  # has the published names
    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    for path, model in ((copied, "sam-mil"), (pooled, "mean"), (tmp_path, "mean")):
        with pytest.raises(InputError, match="sammil trained itself, and may have seen patients of the test") as caught:
            read_start(path, model, built(model))
        assert "sammil export" in caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gone\.pt does not exist") as caught:
        read_start(tmp_path / "gone.pt", "abmil", built("abmil"))
    assert caught.value.remedy == "correct start_from"
    with pytest.raises(MissingError, match="is a folder") as caught:
        read_start(tmp_path, "abmil", built("abmil"))
    assert caught.value.remedy == "set start_from to the weight file in it"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("patch_embed.0.bias", torch.full((512,), torch.nan), "no finite numbers"),
        ("patch_embed.0.bias", torch.zeros(2), "patch_embed.0.bias is 2, in AB-MIL of MIL-Lab (FEATHER) it is 512"),
        ("extra.weight", torch.zeros(1), "has extra.weight besides"),
        ("patch_embed.0.bias", None, "looks like AB-MIL of MIL-Lab (FEATHER), but lacks"),
    ],
)
def test_damaged_weights_are_refused(tmp_path: Path, name: str, tensor: Tensor | None, message: str) -> None:
    state = without_classifier(FEATHER, DIM)
    state.pop(name, None)
    state |= {} if tensor is None else {name: tensor}
    with pytest.raises(InputError) as caught:
        read_start(saved(state, tmp_path / "feather.pt"), "abmil", built("abmil", GATED))
    assert message in caught.value.message
