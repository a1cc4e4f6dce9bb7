"""PLIP's network against CLIP's definition written out in numpy, its weights, and its preparation."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.encoder_row import EncoderRow, encoder_row
from sammil_cli.features.key_maps import KEY_MAPS, PUBLISHED_NAMES
from sammil_cli.features.published_encoder import PublishedChoice, choice
from sammil_cli.features.published_network import State, build_network, load_network
from sammil_cli.features.published_torch_encoder import PublishedEncoder

Array = NDArray[np.float64]
ROW = encoder_row("plip")
TINY = {"depth": 2, "embed_dim": 8, "num_heads": 2, "patch_size": 4, "img_size": 8, "num_classes": 3}


def tiny_row() -> EncoderRow:
    """PLIP's row, its network small."""
    call = replace(ROW.network, options={**ROW.network.options, **TINY})
    return replace(ROW, network=call, dim=3, preparation=replace(ROW.preparation, input_px=8, resize_px=8))


def tiny_weights(seed: int = 0) -> State:
    """Random weights of order one, so that every part of the formula matters, by their published names."""
    generator = torch.Generator().manual_seed(seed)
    empty = PUBLISHED_NAMES["transformers_clip"](dict(build_network(tiny_row()).network.state_dict()))
    return {key: 0.6 * torch.randn(value.shape, generator=generator) for key, value in empty.items()}


def loaded(state: State, path: Path) -> torch.nn.Module:
    return load_network(tiny_row(), KEY_MAPS["transformers_clip"](state), path)


def by_hand(weights: dict[str, Array], image: Array, *, depth: int, heads: int, patch: int) -> Array:
    """CLIP's image embedding of one image (3, px, px), token by token and head by head."""

    def normed(x: Array, key: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        result: Array = centred / spread * weights[f"{key}.weight"] + weights[f"{key}.bias"]
        return result

    def linear(x: Array, key: str) -> Array:
        result: Array = x @ weights[f"{key}.weight"].T + weights[f"{key}.bias"]
        return result

    kernel = weights["vision_model.embeddings.patch_embedding.weight"]
    tiles = [
        [(kernel[c] * image[:, y : y + patch, x : x + patch]).sum() for c in range(len(kernel))]
        for y in range(0, image.shape[1], patch)
        for x in range(0, image.shape[2], patch)
    ]
    x = np.vstack([weights["vision_model.embeddings.class_embedding"], np.array(tiles)])
    x = normed(x + weights["vision_model.embeddings.position_embedding.weight"], "vision_model.pre_layrnorm")
    for number in range(depth):
        layer = f"vision_model.encoder.layers.{number}"
        before = normed(x, f"{layer}.layer_norm1")
        q, k, v = (linear(before, f"{layer}.self_attn.{part}_proj") for part in "qkv")
        size = q.shape[1] // heads
        mixed = np.zeros_like(q)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
            mixed[:, part] = scores / scores.sum(1, keepdims=True) @ v[:, part]
        x = x + linear(mixed, f"{layer}.self_attn.out_proj")
        hidden = linear(normed(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1")
        x = x + linear(hidden / (1 + np.exp(-1.702 * hidden)), f"{layer}.mlp.fc2")
    result: Array = weights["visual_projection.weight"] @ normed(x[:1], "vision_model.post_layernorm")[0]
    return result


def test_the_network_is_what_its_definition_says(tmp_path: Path) -> None:
    state = tiny_weights()
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        found = loaded(state, tmp_path).double()(images).numpy()
    weights = {key: value.double().numpy() for key, value in state.items()}
    expected = [by_hand(weights, image, depth=2, heads=2, patch=4) for image in images.numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 0.01  # not scaled to unit length


def test_the_published_size_and_key_names() -> None:
    keys = PUBLISHED_NAMES["transformers_clip"](dict(build_network(ROW).network.state_dict()))
    assert sum(value.numel() for value in keys.values()) == 87_849_216
    assert len(keys) == 200
    for key, shape in {
        "vision_model.embeddings.class_embedding": (768,),
        "vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32),
        "vision_model.embeddings.position_embedding.weight": (50, 768),
        "vision_model.pre_layrnorm.bias": (768,),
        "vision_model.encoder.layers.11.self_attn.out_proj.bias": (768,),
        "vision_model.encoder.layers.0.mlp.fc1.weight": (3072, 768),
        "vision_model.encoder.layers.0.layer_norm2.weight": (768,),
        "vision_model.post_layernorm.weight": (768,),
        "visual_projection.weight": (512, 768),
    }.items():
        assert tuple(keys[key].shape) == shape


def published(state: State) -> State:
    """A state dict as it is published: with a text tower, and with positions by number."""
    extra = {
        "logit_scale": torch.tensor(4.6),
        "text_projection.weight": torch.zeros(2, 2),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_model.final_layer_norm.weight": torch.zeros(2),
        "vision_model.embeddings.position_ids": torch.arange(50)[None],
    }
    return {**extra, **state}


def test_weights_of_the_text_tower_are_passed_over_and_half_ones_widened(tmp_path: Path) -> None:
    source = tiny_weights()
    network = loaded({key: value.half() for key, value in published(source).items()}, tmp_path)
    target = PUBLISHED_NAMES["transformers_clip"](dict(network.network.state_dict()))
    assert {value.dtype for value in target.values()} == {torch.float32}
    assert target.keys() == source.keys()
    for key, value in target.items():
        assert torch.equal(value, source[key].half().float()), key
    assert network.network.head.bias.abs().max() == 0  # CLIP's projection has none


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        ("visual_projection.weight", {}, r"of 33 weights 2 are missing and 0 .*, 0 are unknown \(the first: head"),
        ("", {"visual.conv1.weight": torch.zeros(1)}, r"0 are missing .* 1 are unknown \(the first: visual\.conv1"),
        ("", {"visual_projection.weight": torch.zeros(3, 9)}, r"0 are missing and 1 have another shape"),
    ],
)
def test_weights_of_another_model_are_refused(
    tmp_path: Path, drop: str, add: dict[str, torch.Tensor], said: str
) -> None:
    state = {key: value for key, value in published(tiny_weights()).items() if key != drop} | add
    with pytest.raises(MissingError, match=said) as caught:
        loaded(state, tmp_path / "w.bin")
    assert "w.bin is no PLIP" in caught.value.message
    assert "encoder_weights" in caught.value.remedy


def test_a_built_encoder_gives_the_networks_features(tmp_path: Path) -> None:
    source, path = tiny_weights(), tmp_path / "plip.bin"
    torch.save(published(source), path)
    encoder = PublishedChoice(tiny_row()).build(weights=path, device="cpu", backbone=None, input_px=8)
    assert (encoder.name, encoder.dim) == ("plip", 3)
    assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    batch = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        expected = loaded(source, path)(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-5)


def identity(input_px: int) -> PublishedEncoder:
    preparation = replace(ROW.preparation, input_px=input_px, resize_px=input_px)
    return PublishedEncoder(torch.nn.Identity(), preparation, name="", dim=3, device="cpu", sha256="")


def test_the_encoder_is_as_sam_mil_has_it() -> None:
    assert (ROW.word, ROW.dim, ROW.preparation.input_px, ROW.pooling) == ("plip", 512, 224, "pooled")
    assert choice("plip").WEIGHTS.file_name == "plip-93491cf9.bin"  # as it is called in users' caches
    assert choice("plip").WEIGHTS.url == (
        "https://huggingface.co/vinid/plip/resolve/93491cf95091bbd92c439b36972fffb58312dc4d/pytorch_model.bin"
    )


def test_a_patch_is_normalised_with_clips_colours() -> None:
    patch = np.zeros((8, 8, 3), np.uint8)
    patch[2, 5] = (255, 51, 102)
    prepared = identity(8).prepare(patch)
    expected = [(1 - 0.48145466) / 0.26862954, (0.2 - 0.4578275) / 0.26130258, (0.4 - 0.40821073) / 0.27577711]
    np.testing.assert_allclose(prepared[:, 2, 5], expected, rtol=1e-5)
    np.testing.assert_allclose(prepared[0, 0, 0], -0.48145466 / 0.26862954, rtol=1e-5)


def test_a_larger_patch_is_averaged_over_areas_and_a_smaller_one_interpolated() -> None:
    stripes = np.zeros((672, 672, 3), np.uint8)
    stripes[:, ::3] = 255  # every third column: a third of white wherever it is seen three times coarser
    inside = identity(224).fitted(stripes)[:, 2:-2]
    assert np.abs(inside.astype(int) - 85).max() <= 1
    edge = np.zeros((112, 112, 3), np.uint8)
    edge[:, 56:] = 200
    row = identity(224).fitted(edge)[100, :, 0]
    # Quarters of a pixel beside the edge, cubic with a = -1/2: -4.7, -14.1, 40.6, 159.4, 214.1, 204.7.
    assert row[106:118].tolist() == [0, 0, 0, 0, 0, 41, 159, 214, 205, 200, 200, 200]


def test_a_side_that_is_no_multiple_of_its_tiles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plip.bin"
    torch.save(tiny_weights(), path)
    with pytest.raises(InputError, match="plip sees tiles of 4 px") as caught:
        PublishedChoice(tiny_row()).build(weights=path, device="cpu", backbone=None, input_px=10)
    assert caught.value.remedy.startswith("set encoder_input_px: 8")


def test_missing_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"plip-93491cf9\.bin are not here") as caught:
        choice("plip").build(weights=None, device="cpu", backbone=None, input_px=224)
    assert "none stated by its authors" in caught.value.message
    with pytest.raises(MissingError, match=r"mine\.bin does not exist"):
        choice("plip").build(weights=tmp_path / "mine.bin", device="cpu", backbone=None, input_px=224)
