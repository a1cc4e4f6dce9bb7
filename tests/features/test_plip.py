"""PLIP's image tower against its definition written out in numpy, its weights, and its preparation."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sammil_cli.errors import InputError, MissingError
from sammil_cli.features import clip
from sammil_cli.features.clip import ClipEncoder, ImageTower, fill
from sammil_cli.features.encoders import plip

Array = NDArray[np.float64]
TINY = {"depth": 2, "width": 8, "heads": 2, "patch": 4, "px": 8, "dim": 3}


def tiny_tower(seed: int = 0) -> ImageTower:
    """Random weights of order one, so that every part of the formula matters."""
    tower = ImageTower(**TINY).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.normal_(generator=generator, std=0.6)
    return tower


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


def test_the_tower_is_what_its_definition_says() -> None:
    tower = tiny_tower()
    weights = {key: value.numpy() for key, value in tower.state_dict().items()}
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        found = tower(images).numpy()
    expected = [by_hand(weights, image, depth=2, heads=2, patch=4) for image in images.numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).min() > 0.01  # not scaled to unit length


def test_the_published_size_and_key_names() -> None:
    with torch.device("meta"):
        tower = ImageTower()
    assert sum(parameter.numel() for parameter in tower.parameters()) == 87_849_216
    keys = tower.state_dict()
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


def published(tower: ImageTower) -> dict[str, torch.Tensor]:
    """A state dict as it is published: with a text tower, and with positions by number."""
    extra = {
        "logit_scale": torch.tensor(4.6),
        "text_projection.weight": torch.zeros(2, 2),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_model.final_layer_norm.weight": torch.zeros(2),
        "vision_model.embeddings.position_ids": torch.arange(50)[None],
    }
    return {**extra, **tower.state_dict()}


def test_weights_of_the_text_tower_are_passed_over_and_half_ones_widened(tmp_path: Path) -> None:
    source, target = tiny_tower().float(), ImageTower(**TINY)
    fill(target, {key: value.half() for key, value in published(source).items()}, tmp_path)
    assert {value.dtype for value in target.state_dict().values()} == {torch.float32}
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key].half().float()), key


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        ("visual_projection.weight", {}, r"1 of 40 weights are missing .* 0 are unknown \(such as visual_projection"),
        ("", {"visual.conv1.weight": torch.zeros(1)}, r"0 of 40 .* 1 are unknown \(such as visual\.conv1\.weight"),
        ("", {"visual_projection.weight": torch.zeros(3, 9)}, r"1 of 40 weights are missing or of another shape"),
    ],
)
def test_weights_of_another_model_are_refused(
    tmp_path: Path, drop: str, add: dict[str, torch.Tensor], said: str
) -> None:
    state = {key: value for key, value in published(tiny_tower()).items() if key != drop} | add
    with pytest.raises(MissingError, match=said) as caught:
        fill(ImageTower(**TINY), state, tmp_path / "w.bin")
    assert "encoder_weights" in caught.value.remedy


def test_a_built_encoder_gives_the_towers_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny_tower().float()
    path = tmp_path / "plip.bin"
    torch.save(published(source), path)
    monkeypatch.setattr(clip, "ImageTower", lambda: ImageTower(**TINY))
    encoder = plip.build(weights=path, device="cpu", backbone=None, input_px=224)
    assert (encoder.name, encoder.dim) == ("plip", 512)
    assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    batch = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        expected = source(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-5)


def identity(input_px: int) -> ClipEncoder:
    module = torch.nn.Identity()
    return ClipEncoder(module, name="", dim=3, input_px=input_px, device="cpu", sha256="", colours=clip.COLOURS)


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
    inside = identity(224).resized(stripes)[:, 2:-2]
    assert np.abs(inside.astype(int) - 85).max() <= 1
    edge = np.zeros((112, 112, 3), np.uint8)
    edge[:, 56:] = 200
    row = identity(224).resized(edge)[100, :, 0]
    # Quarters of a pixel beside the edge, cubic with a = -1/2: -4.7, -14.1, 40.6, 159.4, 214.1, 204.7.
    assert row[106:118].tolist() == [0, 0, 0, 0, 0, 41, 159, 214, 205, 200, 200, 200]


def test_another_input_size_is_refused_before_weights_are_looked_for() -> None:
    with pytest.raises(InputError, match="plip sees 224 px") as caught:
        plip.build(weights=None, device="cpu", backbone=None, input_px=256)
    assert caught.value.remedy == "set encoder_input_px: 224"


def test_missing_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"plip-93491cf9\.bin are not here") as caught:
        plip.build(weights=None, device="cpu", backbone=None, input_px=224)
    assert "none stated by its authors" in caught.value.message
    with pytest.raises(MissingError, match=r"mine\.bin does not exist"):
        plip.build(weights=tmp_path / "mine.bin", device="cpu", backbone=None, input_px=224)
