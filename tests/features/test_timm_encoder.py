"""`encoder: timm`: a name of timm's, a weights file of one's own, and a config.json beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.encoder import details_of
from sammil_cli.features.encoders import timm as timm_encoder
from sammil_cli.jobs.encoder_settings import settled
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.storage.files import sha256_file

VIT = "test_vit"  # 160 px in tiles of 16; half a million parameters


def network(name: str = VIT, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    built: torch.nn.Module = timm.create_model(name, pretrained=False, **options).eval()
    return built


def saved(folder: Path, built: torch.nn.Module, config: dict[str, Any] | None = None) -> Path:
    path = folder / "mine.safetensors"
    save_file(built.state_dict(), path)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def settings(path: Path | None, backbone: str | None = VIT, **more: Any) -> ExtractSettings:
    weights = None if path is None else str(path)
    return ExtractSettings(encoder="timm", encoder_backbone=backbone, encoder_weights=weights, **more)


def test_it_gives_what_the_network_gives_without_its_classifier(tmp_path: Path) -> None:
    whole = network()
    path = saved(tmp_path, whole)
    encoder = build_encoder(settings(path), "cpu")
    assert (encoder.name, encoder.dim, encoder.weights_sha256) == ("timm:test_vit", 64, sha256_file(path))
    patch = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    batch = np.stack([encoder.prepare(patch)])
    mean, sd = (np.array(whole.pretrained_cfg[key], np.float32)[:, None, None] for key in ("mean", "std"))
    np.testing.assert_allclose(batch[0], (patch.transpose(2, 0, 1) / np.float32(255) - mean) / sd, atol=1e-5)
    with torch.inference_mode():
        images = torch.from_numpy(batch)
        expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
    np.testing.assert_allclose(encoder.encode(batch), expected.numpy(), atol=1e-5)
    details = details_of(encoder)
    assert (details.pooling, details.precision, details.mpp) == ("pooled", "float32", None)
    assert details.preparation == "160 px, bicubic; RGB 0.5 0.5 0.5, sd 0.5 0.5 0.5"


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet.r160_in1k"])
def test_convolutions_and_tags_are_taken_too(tmp_path: Path, name: str) -> None:
    encoder = build_encoder(settings(saved(tmp_path, network(name)), name), "cpu")
    patch = np.zeros((1, *encoder.prepare(np.zeros((200, 200, 3), np.uint8)).shape), np.float32)
    assert encoder.encode(patch).shape == (1, encoder.dim)
    assert encoder.name == f"timm:{name}"


def test_the_side_that_the_weights_were_trained_at_is_their_own(tmp_path: Path) -> None:
    path = saved(tmp_path, network(img_size=96))
    assert settled(settings(path)).encoder_input_px == 96
    assert settled(settings(None)).encoder_input_px == 160
    assert build_encoder(settings(path), "cpu").prepare(np.zeros((96, 96, 3), np.uint8)).shape == (3, 96, 96)
    assert build_encoder(settings(path, encoder_input_px=128), "cpu").dim == 64
    with pytest.raises(InputError, match="tiles of 16 px, and 100 px is no multiple") as caught:
        build_encoder(settings(path, encoder_input_px=100), "cpu")
    assert caught.value.remedy == "set encoder_input_px: 96; or auto, its own"


def test_what_config_json_beside_the_weights_says_counts_and_is_in_their_sha256(tmp_path: Path) -> None:
    said = {"mean": [0.7, 0.6, 0.7], "std": [0.2, 0.3, 0.2], "interpolation": "bilinear", "input_size": [3, 96, 96]}
    config = {"architecture": VIT, "model_args": {"reg_tokens": 2}, "pretrained_cfg": said}
    path = saved(tmp_path, network(img_size=96, reg_tokens=2), config)
    encoder = build_encoder(settings(path), "cpu")
    assert details_of(encoder).preparation == "96 px, bilinear; RGB 0.7 0.6 0.7, sd 0.2 0.3 0.2"
    assert encoder.weights_sha256 == timm_encoder.wanted_weights(settings(path).model_dump()).identify()
    assert encoder.weights_sha256 != sha256_file(path)


def test_a_config_of_another_library_is_left_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, network(), {"architectures": ["ViTModel"], "image_size": 3})
    assert build_encoder(settings(path), "cpu").weights_sha256 == sha256_file(path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architecture": "vit_base_patch16_224"}, "is of 'vit_base_patch16_224', and encoder_backbone is 'test_vit'"),
        ({"architecture": VIT, "model_args": {"checkpoint_path": "x.pth"}}, "checkpoint_path is none of a network's"),
        ({"architecture": VIT, "model_args": {"colour": 3}}, "timm cannot build test_vit: .*colour"),
        ({"architecture": VIT, "pretrained_cfg": {"std": [0, 1, 1]}}, "pretrained_cfg.std.0: "),
        ({"architecture": 3}, "architecture: "),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        build_encoder(settings(saved(tmp_path, network(), config)), "cpu")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "near"),
    [("vit_small_patch16_244", "vit_small_patch16_224"), (None, "for example"), ("hf-hub:me/mine", ""), ("", "")],
)
def test_a_name_that_timm_does_not_have_is_refused_with_near_ones(tmp_path: Path, name: str | None, near: str) -> None:
    with pytest.raises(InputError, match="is no model of timm") as caught:
        build_encoder(settings(tmp_path / "mine.safetensors", name), "cpu")
    assert near in caught.value.remedy


def test_weights_that_are_not_here_or_of_another_network_are_missing(tmp_path: Path) -> None:
    for path, said in ((None, "a weight file of your own is needed"), (tmp_path / "none.pth", "does not exist")):
        with pytest.raises(MissingError, match=said):
            build_encoder(settings(path), "cpu")
    with pytest.raises(MissingError, match=r"mine.safetensors is no test_vit: of .* weights") as caught:
        build_encoder(settings(saved(tmp_path, network("test_resnet"))), "cpu")
    assert "encoder_backbone" in caught.value.remedy
