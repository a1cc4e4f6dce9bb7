"""SAM checkpoints as people have them: each form loads what it holds, or is refused by its name."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sam_of_64_px
import torch
from published_mobile_sam import HEAD, published_state
from safetensors.torch import save_file
from sam_of_64_px import weights
from segment_anything import sam_model_registry
from torch import Tensor

from sammil_cli.errors import MissingError
from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_models.build import build_sam, load_sam
from sammil_cli.regions.sam_models.tiny_vit import of_published

State = dict[str, Tensor]
Wrap = Callable[[State], Any]

OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
DECODER = {"decoder.blocks.0.weight": torch.ones(2, 2), "out_conv.bias": torch.ones(3)}


@pytest.fixture(autouse=True)
def _small_vit_b(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sam_model_registry, "vit_b", sam_of_64_px.build)


def before(prefix: str) -> Wrap:
    return lambda state: {prefix + name: value for name, value in state.items()}


# `segment_anything`'s names in those of transformers' SamModel.
NAMES = (
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    *(
        (f"image_encoder.neck.{n}.", f"vision_encoder.neck.{other}.")
        for n, other in enumerate(("conv1", "layer_norm1"))
    ),
    *((f"image_encoder.neck.{n}.", f"vision_encoder.neck.{other}.") for n, other in ((2, "conv2"), (3, "layer_norm2"))),
    ("image_encoder.blocks.", "vision_encoder.layers."),
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.", "vision_encoder."),
    *((f"mask_downscaling.{n}.", f"mask_embed.{other}.") for n, other in ((0, "conv1"), (3, "conv2"), (6, "conv3"))),
    *((f"mask_downscaling.{n}.", f"mask_embed.{other}.") for n, other in ((1, "layer_norm1"), (4, "layer_norm2"))),
    ("point_embeddings.", "point_embed."),
    *((f"output_upscaling.{n}.", f"{other}.") for n, other in ((0, "upscale_conv1"), (3, "upscale_conv2"))),
    ("output_upscaling.1.", "upscale_layer_norm."),
    *((f".norm{n}.", f".layer_norm{n}.") for n in (1, 2, 3, 4)),
    (".norm_final_attn.", ".layer_norm_final_attn."),
)


def of_transformers(state: Mapping[str, Tensor]) -> State:
    renamed = {}
    for name, value in state.items():
        for ours, theirs in NAMES:
            name = name.replace(ours, theirs)
        if "hypernetworks" in name or "iou_prediction_head" in name:
            for number, theirs in (("0", "proj_in"), ("1", "layers.0"), ("2", "proj_out")):
                if f".layers.{number}." in name:
                    name = name.replace(f".layers.{number}.", f".{theirs}.")
                    break
        renamed[name] = value
    shared = renamed["shared_image_embedding.positional_embedding"]
    return renamed | {"prompt_encoder.shared_embedding.positional_embedding": shared}


def without(name: str) -> Wrap:
    return lambda state: {key: value for key, value in of_transformers(state).items() if not key.startswith(name)}


FORMS: dict[str, Wrap] = {
    "SAM's, MedSAM's release, micro-sam's export": lambda s: s,
    "training of MedSAM": lambda s: {"model": s, "optimizer": OPTIMIZER, "epoch": 12},
    "training of MedSAM on several GPUs": lambda s: {"model": before("module.")(s), "optimizer": OPTIMIZER, "epoch": 1},
    "micro-sam's export with its decoder": lambda s: {"model_state": s, "decoder_state": DECODER},
    "training of micro-sam and PathoSAM": lambda s: {
        "model_state": before("sam.")(s),
        "decoder_state": DECODER,
        "optimizer_state": OPTIMIZER,
        "iteration": 5,
    },
    "the same on several GPUs": lambda s: {"model_state": before("module.sam.")(s), "decoder_state": DECODER},
    "a table in a table": lambda s: {"state_dict": s, "epoch": 3},
    "two tables, one in the other": lambda s: {"model": {"state_dict": s}},
    "a lightning module": lambda s: {"state_dict": before("model.")(s)},
    "compiled": before("_orig_mod."),
    "compiled, then put on several GPUs": before("module._orig_mod."),
    "its image encoder compiled": lambda s: {
        name.replace("image_encoder.", "image_encoder._orig_mod."): value for name, value in s.items()
    },
    "transformers'": of_transformers,
    "transformers' without the tensor that it has twice": without("prompt_encoder.shared"),
    "transformers' with the other one of the two": without("shared_image"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_tensors_that_were_saved(form: str, tmp_path: Path) -> None:
    state = weights()
    torch.save(FORMS[form](state), tmp_path / "a.pth")
    model = load_sam(tmp_path / "a.pth", "vit_b")
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert not model.training
    assert model.device == torch.device("cpu")
    torch.testing.assert_close(model.pixel_mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))


@pytest.mark.parametrize("form", ["SAM's, MedSAM's release, micro-sam's export", "compiled", "transformers'"])
def test_the_same_as_safetensors(form: str, tmp_path: Path) -> None:
    state = weights()
    save_file({name: value.clone() for name, value in FORMS[form](state).items()}, tmp_path / "a.safetensors")
    loaded = load_sam(tmp_path / "a.safetensors", "vit_b").state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_medsam_sees_its_pictures_from_0_to_1(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "a.pth")
    plain, model = load_sam(tmp_path / "a.pth", "vit_b"), load_sam(tmp_path / "a.pth", "vit_b", "min-max")
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())
    assert not model.training
    side = model.image_encoder.img_size
    image = np.full((side // 2, side, 3), 50, np.uint8)
    image[0, 0], image[0, 1] = (250, 30, 30), 140
    shown = prepare(image, model)
    assert shown.shape == (1, 3, side, side)
    assert shown[0, :, 0, 0].tolist() == [1, 0, 0]
    torch.testing.assert_close(shown[0, :, 0, 1], torch.full((3,), 0.5))
    torch.testing.assert_close(shown[0, :, side // 2 - 1], torch.full((3, side), 20 / 220))
    assert not shown[0, :, side // 2 :].any()
    assert not prepare(image * 0 + 7, model).any()  # one colour
    expected = (torch.tensor([250.0, 30, 30]) - plain.pixel_mean.flatten()) / plain.pixel_std.flatten()
    torch.testing.assert_close(prepare(image, plain)[0, :, 0, 0], expected)


def test_weights_in_half_precision_become_float32(tmp_path: Path) -> None:
    torch.save({name: value.half() for name, value in weights().items()}, tmp_path / "a.pth")
    model = load_sam(tmp_path / "a.pth", "vit_b")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model_state": before("sam.")(s), "decoder_state": DECODER}])
def test_mobile_sam_loads_under_its_published_names(wrap: Wrap, tmp_path: Path) -> None:
    published = published_state()
    torch.save(wrap(published), tmp_path / "mobile_sam.pt")
    model = load_sam(tmp_path / "mobile_sam.pt", "vit_t")
    prefix = "image_encoder."
    encoder = {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}
    wanted = {prefix + name: value for name, value in of_published(encoder).items()}
    wanted |= {name: value for name, value in published.items() if not name.startswith(prefix)}
    loaded = model.state_dict()
    assert loaded.keys() == wanted.keys()
    assert len(loaded) == len(published) - 2 * len(HEAD)
    assert all(torch.equal(loaded[name], wanted[name]) for name in wanted)
    assert {value.dtype for name, value in loaded.items() if "num_batches" in name} == {torch.int64}
    assert not any(module.training for module in model.modules())


def test_the_names_of_transformers_are_those_of_its_version_5_24(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their digest was taken from SamModel(SamConfig()), which is a ViT-B."""
    monkeypatch.undo()
    with torch.device("meta"):
        names = sorted(of_transformers(build_sam("vit_b").state_dict()))
    assert len(names) == 315
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert digest == "22e6cdacfe32676106062949ac2c97499f60ccea7b50ef6812d64f04070e6f1e"


# ---------------------------------------------------------------------------------------------- what does not load

MERGE = "merge the LoRA layers"
PLAIN = "checkpoint of the plain SAM"
REFUSED: dict[str, tuple[Wrap, str, str]] = {  # form: (how it is saved, its name, the remedy)
    "SAM-HQ": (lambda s: s | {"mask_decoder.hf_token.weight": torch.ones(1, 16)}, "SAM-HQ", PLAIN),
    "SAM-HQ, another part": (lambda s: s | {"mask_decoder.compress_vit_feat.0.bias": torch.ones(1)}, "SAM-HQ", PLAIN),
    "SAM 2": (lambda _: {"model": {"image_encoder.trunk.pos_embed": torch.ones(1)}}, r"of SAM 2,", PLAIN),
    "SAM 2.1": (
        lambda _: {"model": {"image_encoder.trunk.pos_embed": torch.ones(1), "no_obj_embed_spatial": torch.ones(1)}},
        r"of SAM 2\.1,",
        PLAIN,
    ),
    "SAM 2.1 by its projection": (
        lambda _: {"model": {"image_encoder.trunk.a": torch.ones(1), "obj_ptr_tpos_proj.bias": torch.ones(1)}},
        r"of SAM 2\.1,",
        PLAIN,
    ),
    "LoRA": (
        lambda s: {"model_state": before("sam.")({name.replace(".qkv.", ".qkv.qkv_proj."): s[name] for name in s})},
        "SAM with LoRA",
        MERGE,
    ),
    "LoRA, its own layers": (
        lambda s: s | {"image_encoder.blocks.0.attn.qkv.w_a_linear_q.weight": torch.ones(1)},
        "SAM with LoRA",
        MERGE,
    ),
    "PathoSAM's semantic model": (
        lambda s: {
            "model_state": {
                name.replace("image_encoder.", "encoder."): s[name] for name in s if name.startswith("image_encoder.")
            }
            | {"decoder.blocks.0.weight": torch.ones(1)}
        },
        "holds the image encoder only",
        "checkpoint for prompts",
    ),
    "a decoder alone": (lambda _: {"decoder_state": DECODER, "epoch": 1}, "a decoder for instances", PLAIN),
    "WSI-SAM's tokens": (
        lambda s: {
            "model": {name.removeprefix("mask_decoder."): s[name] for name in s if name.startswith("mask_decoder.")}
            | {"hf_token.weight": torch.ones(1, 16)}
        },
        "of WSI-SAM: a mask decoder",
        "mobile_sam.pt",
    ),
    "a mask decoder": (
        lambda s: {name.removeprefix("mask_decoder."): s[name] for name in s if name.startswith("mask_decoder.")},
        "a mask decoder without the SAM",
        PLAIN,
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_forms_that_do_not_load_are_refused_by_their_name(form: str, tmp_path: Path) -> None:
    wrap, name, remedy = REFUSED[form]
    torch.save(wrap(weights()), tmp_path / "a.pth")
    with pytest.raises(MissingError, match=rf"a\.pth does not fit vit_b: .*{name}") as caught:
        load_sam(tmp_path / "a.pth", "vit_b")
    assert remedy in caught.value.remedy


def test_two_tensors_that_transformers_has_as_one_must_be_equal(tmp_path: Path) -> None:
    state = of_transformers(weights())
    name = "prompt_encoder.shared_embedding.positional_embedding"
    torch.save(state | {name: state[name] + 1}, tmp_path / "a.pth")
    with pytest.raises(MissingError, match=rf"Unexpected key.*{name}"):
        load_sam(tmp_path / "a.pth", "vit_b")


class Settings:
    """What the training of micro-sam keeps beside the weights."""


def test_a_training_checkpoint_with_objects_names_the_way_to_export_it(tmp_path: Path) -> None:
    torch.save({"model_state": before("sam.")(weights()), "init": {"trainer": Settings()}}, tmp_path / "best.pt")
    with pytest.raises(MissingError, match=r"best\.pt holds more than tensors") as caught:
        load_sam(tmp_path / "best.pt", "vit_b")
    assert "export_custom_sam_model" in caught.value.remedy


def stub(width: int) -> State:
    return {"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 1, 1)}


TINY = {"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 3, 3)}


@pytest.mark.parametrize(
    ("state", "word", "found"),
    [
        (TINY, "vit_b", "vit_t"),
        (before("sam.")(TINY), "vit_h", "vit_t"),
        (stub(768), "vit_t", "vit_b"),
        (stub(1024), "vit_b", "vit_l"),
        (stub(1280), "vit_b", "vit_h"),
        ({"vision_encoder.patch_embed.projection.weight": torch.zeros(1280, 3, 1, 1)}, "vit_l", "vit_h"),
    ],
)
def test_the_size_that_a_file_holds_is_named(state: State, word: str, found: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(MissingError, match=f"does not fit {word}: it holds {found}") as caught:
        load_sam(tmp_path / "a.pth", word)
    assert caught.value.remedy == f"set sam_model: {found}"


def test_missing_unknown_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    name = "prompt_encoder.not_a_point_embed.weight"
    state = weights()
    for change, said in (
        ({key: value for key, value in state.items() if key != name}, f'Missing key(s) in state_dict: "{name}"'),
        (state | {"prompt_encoder.more": torch.ones(1)}, 'Unexpected key(s) in state_dict: "prompt_encoder.more"'),
        (state | {name: torch.ones(1, 3)}, f"size mismatch for {name}"),
    ):
        torch.save(change, tmp_path / "a.pth")
        with pytest.raises(MissingError, match=re.escape(said)) as caught:
            load_sam(tmp_path / "a.pth", "vit_b")
        assert "docs/sam-weights.md" in caught.value.remedy


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
def test_tensors_of_another_kind_of_number_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    name = "mask_decoder.iou_token.weight"
    torch.save(weights() | {name: torch.ones(1, 16, dtype=dtype)}, tmp_path / "a.pth")
    with pytest.raises(MissingError, match=f"does not fit vit_b: {name} holds {dtype}"):
        load_sam(tmp_path / "a.pth", "vit_b")


def test_a_file_with_two_models_is_refused(tmp_path: Path) -> None:
    torch.save(weights() | before("sam.")(weights()), tmp_path / "a.pth")
    with pytest.raises(MissingError, match=r"a\.pth holds .* twice, in two models"):
        load_sam(tmp_path / "a.pth", "vit_b")
