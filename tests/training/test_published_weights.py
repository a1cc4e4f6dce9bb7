"""Published weights: recognised by their names and shapes, or refused with what they look like."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import published_files
import pytest
import torch
from published_files import BY_TITLE
from safetensors.torch import save_file
from torch import Tensor

from sammil_cli.errors import InputError, MissingError
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import Architecture
from sammil_cli.testing.models import make_bag
from sammil_cli.training.loop import trained_state
from sammil_cli.training.published_weights import architectures, read_published, to_published
from sammil_cli.training.trained_model import build_model

DIM, CLASSES = 7, 3
ARCHITECTURES = architectures()
SAM_MIL = BY_TITLE["SAM-MIL"]
FIRST = {one.model: one for one in reversed(ARCHITECTURES)}  # of each model

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=[one.title for one in ARCHITECTURES])


def classes_of(architecture: Architecture) -> int:
    """So many does a file of it have here."""
    return architecture.classes or CLASSES


def drawn(architecture: Architecture, dim: int = DIM, classes: int | None = None) -> dict[str, Tensor]:
    """Random weights under published names."""
    return published_files.drawn(architecture, dim, classes or classes_of(architecture))


def saved(folder: Path, content: Any, name: str = "published.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def test_sam_mil_has_the_names_and_the_size_that_its_authors_gave_it() -> None:
    assert set(SAM_MIL.names(2)) == {
        "patch_to_emb.0.weight",
        "patch_to_emb.0.bias",
        "online_encoder.attn_model.attention.attention.0.weight",
        "online_encoder.attn_model.attention.attention.2.weight",
        "predictor.weight",
        "predictor.bias",
    }
    assert sum(tensor.numel() for tensor in drawn(SAM_MIL, 1024, 2).values()) == 591_490  # docs/methods.md §16


@every_architecture
def test_every_parameter_of_our_model_has_a_published_name(architecture: Architecture) -> None:
    classes = classes_of(architecture)
    spec = ModelSpec(dim=DIM, classes=classes, group_features=True)
    model = build_model(architecture.model, spec, architecture.options)
    published = drawn(architecture)
    ours = {name: tuple(tensor.shape) for name, tensor in trained_state(model).items()}
    assert {architecture.names(classes)[name]: tuple(tensor.shape) for name, tensor in published.items()} == ours
    assert len(set(architecture.names(classes).values())) == len(architecture.names(classes))


@every_architecture
def test_files_in_every_form_are_read(architecture: Architecture, tmp_path: Path) -> None:
    state = drawn(architecture)
    save_file(state, tmp_path / "plain.safetensors")
    other = {name: tensor + 1 for name, tensor in state.items()}
    files = [
        tmp_path / "plain.safetensors",
        saved(tmp_path, state),
        saved(tmp_path, {"model": state, "teacher": other}, "both.pt"),
        saved(tmp_path, {"model": state, "teacher": None}, "none.pth"),
        saved(tmp_path, {f"module.{name}": tensor for name, tensor in state.items()}, "parallel.pt"),
    ]
    for path in files:
        found = read_published(path, architecture.model)
        assert found.architecture == architecture
        names = architecture.names(classes_of(architecture))
        assert (found.dim, found.classes) == (DIM, classes_of(architecture))
        assert set(found.state) == set(names.values())
        assert all(torch.equal(found.state[ours], state[name]) for name, ours in names.items()), path


@pytest.mark.parametrize("architecture", FIRST.values(), ids=list(FIRST))
def test_out_and_in_again_is_exact(architecture: Architecture, tmp_path: Path) -> None:
    torch.manual_seed(1)
    spec = ModelSpec(dim=DIM, classes=CLASSES, group_features=True)
    model = build_model(architecture.model, spec, architecture.options)
    as_what, state = to_published(architecture.model, model.options, trained_state(model), CLASSES)
    assert as_what == architecture
    save_file(state, tmp_path / "out.safetensors")
    back = read_published(tmp_path / "out.safetensors", architecture.model).state
    assert set(back) == set(trained_state(model))
    assert all(torch.equal(back[name], tensor) for name, tensor in trained_state(model).items())


@pytest.mark.parametrize(
    ("model", "options", "title"),
    [
        ("dtfd", {}, "DTFD-MIL"),
        ("dtfd", {"distillation": "MaxS", "groups": 8, "coupling": "joint"}, "DTFD-MIL"),
        ("ibmil", {"confounders": 3}, "IBMIL (harness)"),
        ("srmil", {"mask_share": 0.3, "attention_dropout": 0.0}, "SRMIL"),
        ("transmil", {"embedding_dropout": 0.25}, "TransMIL"),
    ],
    ids=str,
)
def test_options_that_weights_say_nothing_of_hinder_no_export(
    model: str, options: dict[str, Any], title: str, tmp_path: Path
) -> None:
    built = build_model(model, ModelSpec(dim=DIM, classes=CLASSES, group_features=True), options)
    ours = trained_state(built)
    as_what, state = to_published(model, built.options, ours, CLASSES)
    assert as_what == BY_TITLE[title]
    save_file(state, tmp_path / "out.safetensors")
    back = read_published(tmp_path / "out.safetensors")
    again = build_model(model, built.spec, back.architecture.options)
    again.load_state_dict({**again.state_dict(), **back.state})
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in built.state_dict().items()}
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in ours.items())


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in drawn(SAM_MIL).items()}
    found = read_published(saved(tmp_path, state))
    assert {tensor.dtype for tensor in found.state.values()} == {torch.float32}
    assert torch.equal(found.state["predictor.bias"], state["predictor.bias"].float())


def test_mean_and_max_look_alike_and_are_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, drawn(BY_TITLE["max pooling"]))
    with pytest.raises(InputError, match="fits max pooling and mean pooling") as caught:
        read_published(path)
    assert caught.value.remedy == "add --model max or --model mean"
    assert read_published(path, "mean").architecture.model == "mean"
    assert read_published(path, "max").architecture.model == "max"


def test_another_model_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds SAM-MIL, no abmil") as caught:
        read_published(saved(tmp_path, drawn(SAM_MIL)), "abmil")
    assert caught.value.remedy == "use --model sam-mil"


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("predictor.weight", "online_encoder.layer1.attn.to_qkv.weight"), "TransMIL of another form inside MHIM-MIL"),
        (("attention_net.0.weight", "instance_classifiers.0.bias", "text_to_vision.0.bias"), "CHIEF"),
        (("attention_net.3.attention_a.0.weight", "classifier.bias", "site_classifier.bias"), "TOAD"),
        (("attention.attention_V.0.bias", "attention.attention_U.0.bias", "Slide_classifier.fc.bias"), "ACMIL"),
        (("dim_reduction.fc1.weight", "attention.attention_V.0.bias", "attention.attention_U.0.bias"), "DTFD-MIL's"),
        (
            ("net.attention_a.0.weight", "net.attention_a.0.bias", "net.attention_c.weight", "risk.weight"),
            "a model with CLAM's gated attention",
        ),
        (("attention_V.0.weight", "attention_U.0.weight", "attention_w.weight"), "gated AB-MIL of Ilse et al."),
        (("layer1.attn.to_qkv.weight", "cls_token"), "TransMIL of another form"),
        (("confounder_feat", "attention.0.weight"), "IBMIL of another form"),
        (("att_classifier.classifier.fc.weight", "attention.attention_V.0.bias"), "DTFD-MIL of another form"),
    ],
)
def test_other_architectures_are_refused_by_name(tmp_path: Path, names: tuple[str, ...], title: str) -> None:
    with pytest.raises(InputError) as caught:
        read_published(saved(tmp_path, {name: torch.zeros(2, 2) for name in names}))
    assert f"looks like {title}" in caught.value.message
    assert all(name in caught.value.message for name in names)
    assert all(one.title in caught.value.remedy for one in ARCHITECTURES)


@pytest.mark.parametrize(
    "names",
    [
        ("transformer.layers.0.0.fn.to_qkv.weight", "cls_token"),  # a vision transformer, STAMP's
        ("attention.0.weight", "attention.0.bias", "attention.2.weight", "attention.2.bias", "classifier.weight"),
        ("head.0.weight", "head.0.bias", *(f"blocks.{n}.weight" for n in range(20))),
        ("attention_net.0.weight", "attention_net.0.bias", "coattn.weight"),
    ],
    ids=lambda names: names[0],
)
def test_names_that_many_models_share_name_none(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="looks like no published model that sammil knows"):
        read_published(saved(tmp_path, {name: torch.zeros(2, 2) for name in names}))


def test_tables_in_a_table_are_looked_into(tmp_path: Path) -> None:
    """As DTFD-MIL keeps its four networks."""
    parts = {"classifier": "fc.weight", "att_classifier": "classifier.fc.bias", "dim_reduction": "fc1.weight"}
    with pytest.raises(InputError, match="looks like DTFD-MIL of another form, which") as caught:
        read_published(saved(tmp_path, {outer: {inner: torch.zeros(2, 2)} for outer, inner in parts.items()}))
    assert "dim_reduction.fc1.weight" in caught.value.message


def test_lacking_and_surplus_names_are_named(tmp_path: Path) -> None:
    state = drawn(SAM_MIL)
    del state["predictor.bias"]
    with pytest.raises(InputError, match=r"looks like SAM-MIL, but lacks predictor\.bias; its keys"):
        read_published(saved(tmp_path, state))
    state = {**drawn(SAM_MIL), "extra.weight": torch.zeros(1)}
    with pytest.raises(InputError, match=r"looks like SAM-MIL, but has extra\.weight besides"):
        read_published(saved(tmp_path, state))


def test_files_of_the_same_names_are_told_apart_by_their_sizes(tmp_path: Path) -> None:
    """One output or one for each class; CLAM in its two sizes."""
    for title in ("DSMIL", "DSMIL (one output)", "CLAM-SB", "CLAM-SB (big)", "CLAM-MB", "CLAM-MB (big)"):
        found = read_published(saved(tmp_path, drawn(BY_TITLE[title], classes=2)))
        assert (found.architecture.title, found.dim, found.classes) == (title, DIM, 2)
    odd = {**drawn(BY_TITLE["CLAM-SB"]), "attention_net.3.attention_c.weight": torch.zeros(1, 300)}
    with pytest.raises(InputError, match=r"attention_c\.weight is 1 x 300, in CLAM-SB it is 1 x 256"):
        read_published(saved(tmp_path, odd))


def test_a_file_that_is_nearly_dsmil_or_clam_is_told_what_it_lacks(tmp_path: Path) -> None:
    for title, lost in (("DSMIL", "b_classifier.fcc.bias"), ("CLAM-MB", "instance_classifiers.2.bias")):
        state = {name: tensor for name, tensor in drawn(BY_TITLE[title]).items() if name != lost}
        with pytest.raises(InputError, match=rf"looks like {title}, but lacks {lost}; its keys"):
            read_published(saved(tmp_path, state))


def test_clams_older_files_are_read(tmp_path: Path) -> None:
    """Without dropout the attention stood one place before; parts were trained in parallel; the loss has a buffer."""
    state = drawn(BY_TITLE["CLAM-SB"])
    for before, after in (("attention_net.3.", "attention_net.2."), ("attention_net.", "attention_net.module.")):
        older = {name.replace(before, after): tensor for name, tensor in state.items()}
        older["instance_loss_fn.labels"] = torch.tensor([0, 1])
        found = read_published(saved(tmp_path, older))
        assert found.architecture.title == "CLAM-SB"
        assert torch.equal(found.state["attention_c.weight"], state["attention_net.3.attention_c.weight"])


def test_weights_like_nothing_are_refused_with_their_names(tmp_path: Path) -> None:
    state = {f"block.{index}.weight": torch.zeros(1) for index in range(9)}
    with pytest.raises(InputError, match="no published model that sammil knows") as caught:
        read_published(saved(tmp_path, state))
    assert "block.0.weight" in caught.value.message
    assert caught.value.message.endswith("and 3 more")


def test_weights_without_their_classifier_say_so(tmp_path: Path) -> None:
    """FEATHER is published for training on: it has no classes."""
    state = drawn(BY_TITLE["AB-MIL of MIL-Lab (FEATHER)"])
    bare = {f"model.{name}": tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    path = saved(tmp_path, bare)
    with pytest.raises(
        InputError, match=r"MIL-Lab \(FEATHER\), but lacks classifier\.bias, classifier\.weight; its"
    ) as caught:
        read_published(path)
    way = f'sammil train -S model=abmil -S "model_options={{gated: true, attention: 384}}" -S start_from={path}'
    assert caught.value.remedy == f"it judges nothing before it is trained on: {way}"
    whole = saved(tmp_path, {f"model.{name}": tensor for name, tensor in state.items()}, "whole.pt")
    found = read_published(whole)
    assert found.architecture.options == {"gated": True, "attention": 384}
    assert torch.equal(found.state["attention_u.0.bias"], state["global_attn.attention_b.0.bias"])


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"model": [torch.zeros(2, 2)]}], ids=str)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="holds no tensors by name"):
        read_published(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("predictor.weight", torch.zeros(3, 256), "predictor.weight is 3 x 256, in SAM-MIL it is 3 x 512"),
        ("predictor.bias", torch.zeros(2), "predictor.bias is 2, in SAM-MIL it is 3"),
        ("patch_to_emb.0.weight", torch.zeros(512), "patch_to_emb.0.weight is 512, in SAM-MIL it is 512 x d"),
        ("patch_to_emb.0.bias", torch.full((512,), torch.nan), "no finite numbers"),
        ("patch_to_emb.0.bias", torch.zeros(512, dtype=torch.int64), "no finite numbers"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, name: str, tensor: Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_published(saved(tmp_path, {**drawn(SAM_MIL), name: tensor}))
    assert message in caught.value.message


def test_a_single_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one output"):
        read_published(saved(tmp_path, drawn(SAM_MIL, classes=1)))


def test_our_own_weight_file_needs_no_import(tmp_path: Path) -> None:
    model = build_model("sam-mil", ModelSpec(dim=DIM, classes=2, group_features=True), {})
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="sammil trained itself") as caught:
        read_published(tmp_path / "model.safetensors")
    assert "sammil predict" in caught.value.remedy


def test_another_form_of_ibmil_is_not_exported() -> None:
    official = build_model("ibmil", ModelSpec(dim=DIM, classes=2, group_features=True), {"form": "official"})
    with pytest.raises(InputError, match="no published names for this ibmil"):
        to_published("ibmil", official.options, official.state_dict(), CLASSES)


def test_a_model_that_was_never_published_is_not_exported() -> None:
    gated = build_model("abmil", ModelSpec(dim=DIM, classes=2, group_features=True), {"gated": True})
    with pytest.raises(InputError, match=r"no published names for this abmil .*attention_u"):
        to_published("abmil", gated.options, gated.state_dict(), CLASSES)


def test_how_a_model_was_trained_does_not_keep_it_from_being_exported() -> None:
    spec = ModelSpec(dim=DIM, classes=CLASSES, group_features=False)
    for options, title in (
        ({"subtyping": True}, "CLAM-MB"),
        ({"instance_loss": "cross-entropy", "size": "big"}, "CLAM-MB (big)"),
    ):
        model = build_model("clam-mb", spec, options)
        found, state = to_published("clam-mb", model.options, model.state_dict(), CLASSES)
        assert (found.title, len(state)) == (title, len(model.state_dict()))


class WritesAFile:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "code was run")


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": WritesAFile(tmp_path / "run")})
    with pytest.raises(MissingError, match="more than tensors"):
        read_published(path)
    assert not (tmp_path / "run").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "run").exists()  # so the file does hold code


# ------------------------------------------------------------------------------------------- the files of the authors


@pytest.mark.parametrize(
    ("name", "title", "weight", "published"),
    [
        ("c16_3fold_init_abmil_seed2021_fold_0_model_best_auc.pt", "attention", "score", "attention.attention.2"),
        ("c16_3fold_init_dsmil_seed2021_fold_0_model_best_auc.pt", "DSMIL", "head.bag", "b_classifier.fcc"),
        ("tcga_4fold_init_abmil_seed2021_fold_0.pt", "gated attention", "gate", "attention.attention_b.0"),
    ],
)
def test_the_released_files_of_mhim_mil_are_read(
    real_data: Path, name: str, title: str, weight: str, published: str
) -> None:
    path = real_data / "legacy/sam-mil" / name
    found = read_published(path)
    assert (found.architecture.title, found.dim, found.classes) == (f"MHIM-MIL ({title})", 1024, 2)
    raw = torch.load(path, map_location="cpu", weights_only=True)
    raw = raw.get("model", raw)
    assert torch.equal(found.state[f"core.{weight}.weight"], raw[f"online_encoder.{published}.weight"])
    assert len(found.state) == len(raw)


def test_the_published_two_tiers_are_read_from_their_four_tables(real_data: Path) -> None:
    path = real_data / "legacy/dtfd/model.pth"
    found = read_published(path)
    assert (found.architecture.title, found.dim, found.classes) == ("DTFD-MIL", 1024, 2)
    tables = torch.load(path, map_location="cpu", weights_only=True)
    assert sum(map(len, tables.values())) == len(found.state) == 17
    assert torch.equal(found.state["dim_reduction.weight"], tables["dim_reduction"]["fc1.weight"])
    assert torch.equal(found.state["attention.u.bias"], tables["attention"]["attention_U.0.bias"])
    assert torch.equal(found.state["att_classifier.classifier.bias"], tables["att_classifier"]["classifier.fc.bias"])


def test_weights_that_pytorch_lightning_left_are_read(tmp_path: Path) -> None:
    transmil = BY_TITLE["TransMIL"]
    state = {f"model.{name}": tensor for name, tensor in drawn(transmil).items()}
    found = read_published(saved(tmp_path, {"epoch": 3, "state_dict": state}))
    assert found.architecture == transmil
    assert torch.equal(found.state["transformer.cls_token"], state["model.cls_token"])


def test_the_published_gated_weights_of_tcga_say_what_their_tensors_say(real_data: Path) -> None:
    path = real_data / "legacy/sam-mil/tcga_4fold_init_abmil_seed2021_fold_0.pt"
    found = read_published(path)
    assert (found.architecture.title, found.dim, found.classes) == ("MHIM-MIL (gated attention)", 1024, 2)
    spec = ModelSpec(dim=1024, classes=2, group_features=False)
    model = build_model("mhim", spec, found.architecture.options)
    model.load_state_dict({**model.state_dict(), **found.state})
    bag = make_bag()
    features = torch.randn(50, 1024, generator=torch.Generator().manual_seed(1)).abs()
    output = model.eval()(replace(bag, features=features, region=torch.full((50,), -1)))
    raw = torch.load(path, map_location="cpu", weights_only=True)
    embedded = torch.relu(features @ raw["patch_to_emb.0.weight"].T + raw["patch_to_emb.0.bias"])
    inner = [embedded @ raw[f"online_encoder.attention.attention_{which}.0.weight"].T for which in "ab"]
    scores = (torch.relu(inner[0]) * torch.sigmoid(inner[1])) @ raw["online_encoder.attention.attention_c.weight"][0]
    attention = torch.softmax(scores, 0)
    logits = raw["predictor.weight"] @ (attention @ embedded) + raw["predictor.bias"]
    assert torch.allclose(output.attention, attention, atol=1e-7)
    assert torch.allclose(output.logits, logits, atol=1e-5)
    assert attention.std() > 1e-3 * attention.mean()


@pytest.mark.parametrize(
    ("name", "title", "dim"),
    [
        ("dsmil/c16_aggregator.pth", "DSMIL (one output)", 512),
        ("dsmil/tcga_aggregator.pth", "DSMIL", 512),
        ("clam/demo_luad_lusc_clam_sb.pt", "CLAM-SB", 1024),
        ("clam_run/results/s_0_checkpoint.pt", "CLAM-SB", 1024),
    ],
)
def test_the_released_files_of_dsmil_and_clam_are_read(real_data: Path, name: str, title: str, dim: int) -> None:
    found = read_published(real_data / "legacy" / name)
    assert (found.architecture.title, found.dim, found.classes) == (title, dim, 2)
    spec = ModelSpec(dim=dim, classes=2, group_features=False)
    build_model(found.architecture.model, spec, found.architecture.options).load_state_dict(found.state)
