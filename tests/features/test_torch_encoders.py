"""Encoders around torch models: preparation by hand, the published ResNet-50, any torchvision backbone."""

import argparse
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from slide_maker import draw_tissue
from torchvision.models import SwinTransformer, resnet18, resnet50, squeezenet1_1

from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.encoders import resnet50 as resnet50_encoder
from sammil_cli.features.encoders import torchvision as torchvision_encoder
from sammil_cli.features.torch_encoder import IMAGENET, TorchEncoder
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.storage.state_dict import load_state


def identity(input_px: int) -> TorchEncoder:
    return TorchEncoder(torch.nn.Identity(), name="identity", dim=3, input_px=input_px, device="cpu", sha256="")


def patches() -> list[NDArray[np.uint8]]:
    tissue = draw_tissue(seed=1, tumour=True)
    return [np.full((64, 64, 3), 60, np.uint8), np.full((64, 64, 3), 200, np.uint8), tissue[300:364, 430:494]]


def test_looked_up_values_have_the_bits_of_computed_ones() -> None:
    patch = np.random.default_rng(4).permutation(np.arange(256, dtype=np.uint8).repeat(3)).reshape(16, 16, 3)
    mean, sd = (np.array(values, np.float32) for values in IMAGENET)
    expected = ((patch.astype(np.float32) / 255 - mean) / sd).transpose(2, 0, 1)
    np.testing.assert_array_equal(identity(16).prepare(patch).view(np.uint32), expected.copy().view(np.uint32))
    part = np.repeat(patch, 2, axis=1)[:, 3:19]  # of a larger picture
    np.testing.assert_array_equal(identity(16).prepare(part), identity(16).prepare(part.copy()))


def test_a_patch_is_normalised_as_imagenet_with_channels_first() -> None:
    patch = np.zeros((8, 8, 3), np.uint8)
    patch[2, 5] = (255, 51, 102)
    prepared = identity(8).prepare(patch)
    assert (prepared.shape, prepared.dtype) == ((3, 8, 8), np.float32)
    assert prepared.transpose(1, 2, 0).flags.c_contiguous  # as `encode` wants them in memory
    np.testing.assert_allclose(prepared[:, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    expected = [(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.4 - 0.406) / 0.225]
    np.testing.assert_allclose(prepared[:, 2, 5], expected, rtol=1e-5)


def test_a_patch_is_resized_to_the_input_side() -> None:
    patch = np.zeros((64, 64, 3), np.uint8)
    patch[:, 32:] = 255
    shrunk = identity(16).prepare(patch)
    assert shrunk.shape == (3, 16, 16)
    white = (1 - 0.485) / 0.229
    np.testing.assert_allclose(shrunk[0, 3], [-0.485 / 0.229] * 8 + [white] * 8, rtol=1e-5)
    assert identity(100).prepare(patch).shape == (3, 100, 100)


def test_feature_maps_are_averaged_over_their_positions() -> None:
    batch = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    encoded = identity(2).encode(batch)
    assert encoded.tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert encoded.dtype == np.float32


def test_bfloat16_moves_features_a_little_and_gives_float32() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 16, 3))
    encoder = TorchEncoder(module, name="small", dim=16, input_px=16, device="cpu", sha256="")
    batch = np.stack([encoder.prepare(patch) for patch in patches()])
    exact = encoder.encode(batch)
    encoder.compute_in("bfloat16")
    rough = encoder.encode(batch)
    assert rough.dtype == np.float32
    apart = np.linalg.norm(rough - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (apart > 1e-5).all()
    assert (apart < 0.03).all()
    encoder.compute_in("float32")
    np.testing.assert_array_equal(encoder.encode(batch), exact)


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(InputError, match="encode_precision float16 needs a CUDA GPU") as refused:
        identity(8).compute_in("float16")
    assert "encode_precision" in refused.value.remedy


def test_an_encoder_without_torch_has_one_precision() -> None:
    settings = ExtractSettings(encoder="texture", encode_precision="bfloat16")
    with pytest.raises(InputError, match="encoder texture computes in one precision only, not in bfloat16"):
        build_encoder(settings, "cpu")


@pytest.fixture(scope="module")
def resnet50_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights up to layer3: what the encoder needs and no more."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = resnet50(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save({key: value for key, value in state.items() if not key.startswith(("layer4", "fc"))}, path)
    return path


def test_resnet50_ends_after_layer3(resnet50_weights: Path) -> None:
    module = resnet50_encoder.truncated(load_state(resnet50_weights), resnet50_weights)
    assert sum(parameter.numel() for parameter in module.parameters()) == 8_543_296
    whole = resnet50(weights=None)
    whole.load_state_dict(load_state(resnet50_weights), strict=False)
    whole.layer4 = whole.fc = torch.nn.Identity()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = whole.eval()(image)
        found = module.eval()(image).mean((2, 3))
    torch.testing.assert_close(found, expected)


def test_resnet50_gives_1024_features_and_says_what_made_them(resnet50_weights: Path) -> None:
    encoder = resnet50_encoder.build(weights=resnet50_weights, device="cpu", backbone=None, input_px=64)
    assert (encoder.name, encoder.dim) == ("resnet50", 1024)
    assert encoder.weights_sha256 == hashlib.sha256(resnet50_weights.read_bytes()).hexdigest()
    features = encoder.encode(np.stack([encoder.prepare(patch) for patch in patches()]))
    assert (features.shape, features.dtype) == ((3, 1024), np.float32)
    dark, bright, tissue = features
    assert np.abs(dark - bright).max() > 1e-3
    assert np.abs(bright - tissue).max() > 1e-3


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    with pytest.raises(MissingError, match=r"no ResNet-50: \d+ weights are missing, the first is conv1\.weight"):
        resnet50_encoder.build(weights=tmp_path / "squeezenet.pth", device="cpu", backbone=None, input_px=64)


def test_missing_resnet50_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match="does not exist"):
        resnet50_encoder.build(weights=tmp_path / "none.pth", device="cpu", backbone=None, input_px=64)
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingError, match=r"resnet50-0676ba61\.pth are not here") as caught:
        resnet50_encoder.build(weights=None, device="cpu", backbone=None, input_px=64)
    assert "SAMMIL_WEIGHTS" in caught.value.remedy


def without_head(model: torch.nn.Module, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """What comes out in front of a model's classifier."""
    with torch.inference_mode():
        return torch.nn.Sequential(*list(model.children())[:-1])(torch.from_numpy(batch)).numpy()


@pytest.mark.parametrize(
    ("model", "backbone", "dim"), [(squeezenet1_1, "squeezenet1_1", 512), (resnet18, "resnet18", 512)]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_torchvision_backbone_gives_its_last_features(
    tmp_path: Path, model: Any, backbone: str, dim: int, suffix: str
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = model(weights=None).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        save_file(state, path)
    encoder = torchvision_encoder.build(weights=path, device="cpu", backbone=backbone, input_px=64)
    assert (encoder.name, encoder.dim) == (f"torchvision:{backbone}", dim)
    assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    batch = np.stack([encoder.prepare(patch) for patch in patches()])
    features = encoder.encode(batch)
    assert (features.shape, features.dtype) == ((3, dim), np.float32)
    whole = model(weights=None).eval()
    whole.load_state_dict(state)
    np.testing.assert_allclose(features, without_head(whole, batch).mean((2, 3)), rtol=1e-4, atol=1e-6)
    assert len(np.unique(features.round(6), axis=0)) == 3


def test_a_backbone_with_channels_last_gives_channels_not_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torchvision's Swin models keep positions before channels inside.
    def tiny_swin(*_: object, **__: object) -> SwinTransformer:
        return SwinTransformer([4, 4], embed_dim=16, depths=[1, 1], num_heads=[1, 2], window_size=[4, 4])

    monkeypatch.setattr("torchvision.models.get_model", tiny_swin)
    swin = tiny_swin().eval()
    save_file(swin.state_dict(), tmp_path / "swin.safetensors")
    encoder = torchvision_encoder.build(
        weights=tmp_path / "swin.safetensors", device="cpu", backbone="swin_t", input_px=64
    )
    assert encoder.dim == 32
    batch = np.stack([encoder.prepare(patch) for patch in patches()])
    np.testing.assert_allclose(encoder.encode(batch), without_head(swin, batch), rtol=1e-4, atol=1e-6)


def test_the_real_squeezenet_tells_tissue_from_glass(real_data: Path) -> None:
    weights = real_data / "encoders" / "squeezenet1_1_imagenet.safetensors"
    encoder = torchvision_encoder.build(weights=weights, device="cpu", backbone="squeezenet1_1", input_px=224)
    assert encoder.dim == 512
    assert encoder.weights_sha256 == "d3fe48a74168687f3676ca546b61f81c9a2603436b3e80663e87143a369e43bb"
    dark, bright, tissue = encoder.encode(np.stack([encoder.prepare(patch) for patch in patches()]))
    assert np.isfinite([dark, bright, tissue]).all()
    assert np.linalg.norm(dark - bright) < np.linalg.norm(tissue - bright)


@pytest.mark.parametrize("backbone", ["squeezenet", None, "fasterrcnn_resnet50_fpn"])
def test_an_unknown_backbone_is_refused(tmp_path: Path, backbone: str | None) -> None:
    with pytest.raises(InputError, match=f"encoder_backbone {backbone!r} is no torchvision model") as caught:
        torchvision_encoder.build(weights=tmp_path / "a.pth", device="cpu", backbone=backbone, input_px=64)
    assert "resnet18" in caught.value.remedy


def test_a_backbone_without_its_weights_is_refused(tmp_path: Path) -> None:
    for weights in (None, tmp_path / "none.pth"):
        with pytest.raises(MissingError, match="needs a weights file") as caught:
            torchvision_encoder.build(weights=weights, device="cpu", backbone="resnet18", input_px=64)
        assert caught.value.remedy == "set encoder_weights to a state dict of resnet18"
    save_file(squeezenet1_1(weights=None).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(MissingError, match="does not fit resnet18") as caught:
        torchvision_encoder.build(
            weights=tmp_path / "other.safetensors", device="cpu", backbone="resnet18", input_px=64
        )
    assert "encoder_backbone" in caught.value.remedy


class Bomb:
    """Unpickling it would make the folder that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_weights_that_carry_code_are_refused_and_nothing_is_run(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Bomb(tmp_path / "executed")}, tmp_path / "bomb.pth")
    with pytest.raises(MissingError, match="holds more than tensors") as caught:
        load_state(tmp_path / "bomb.pth")
    assert "safetensors" in caught.value.remedy
    assert not (tmp_path / "executed").exists()


def test_options_and_learning_rates_beside_the_tensors_of_a_checkpoint_are_passed_over(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": np.float64(0.1), "betas": (np.float32(0.9), 0.99)}]}
    options = argparse.Namespace(arch="vit_small", out=argparse.Namespace(dim=3))
    weights = {"backbone.norm.bias": torch.arange(3.0)}
    content = {"teacher": weights, "args": options, "optimizer": optimizer, "epoch": np.int64(7)}
    torch.save(content, tmp_path / "dino.pth")
    allowed = torch.serialization.get_safe_globals()
    (name, found), *others = load_state(tmp_path / "dino.pth").items()
    assert (name, found.tolist(), others) == ("teacher.backbone.norm.bias", [0, 1, 2], [])
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_code_in_the_options_of_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    options = argparse.Namespace(arch=Bomb(tmp_path / "executed"))
    torch.save({"teacher": {"a": torch.zeros(1)}, "args": options}, tmp_path / "bomb.pth")
    with pytest.raises(MissingError, match="holds more than tensors"):
        load_state(tmp_path / "bomb.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", b"PK\x03\x04cut off"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingError, match=rf"/{name} (is no weight file: |holds more than tensors)"):
        load_state(tmp_path / name)


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(MissingError, match="no weight file"):
        load_state(tmp_path / "list.pth")
