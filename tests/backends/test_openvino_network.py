"""Encoders and SAM's image encoders by OpenVINO: the numbers of torch, converted once."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sam_of_64_px
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from slide_maker import draw_tissue
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models import squeezenet1_1

from sammil_cli.backends import kept_networks, openvino_network
from sammil_cli.backends.openvino_network import OpenVinoNetwork
from sammil_cli.errors import InputError
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskSettings
from sammil_cli.regions.sam_models.build import build_mobile_sam
from sammil_cli.regions.sam_models.embed import Embedder

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")

PX = 64
Pictures = NDArray[np.float32]


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder for converted networks."""
    folder = tmp_path_factory.mktemp("cache") / "networks"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_networks, "kept_folder", lambda: folder)
        yield folder


def pictures(count: int) -> Pictures:
    return np.random.default_rng(count).standard_normal((count, 3, PX, PX), dtype=np.float32)


def encoder_of(module: nn.Module) -> TorchEncoder:
    return TorchEncoder(module, name="small", dim=8, input_px=PX, device="cpu", sha256="")


def vision_transformer() -> nn.Module:
    return VisionTransformer(img_size=PX, patch_size=16, embed_dim=48, depth=2, num_heads=3, num_classes=0)


def feature_map() -> nn.Module:
    return squeezenet1_1(weights=None).features


def seeded(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def error(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("make", [vision_transformer, feature_map])
def test_features_are_those_of_torch_for_batches_of_any_size(make: Callable[[], nn.Module]) -> None:
    encoder = encoder_of(seeded(make))
    expected = {count: encoder.encode(pictures(count)) for count in (1, 5, 2)}
    encoder.run_by("openvino")
    for count, features in expected.items():
        found = encoder.encode(pictures(count))
        assert (found.shape, found.dtype) == (features.shape, np.float32)
        assert error(found, features) < 1e-5
    np.testing.assert_array_equal(encoder.encode(pictures(5)), encoder.encode(pictures(5)))
    encoder.run_by("torch")
    np.testing.assert_array_equal(encoder.encode(pictures(5)), expected[5])


def vit() -> Sam:
    model = sam_of_64_px.build()
    model.load_state_dict(sam_of_64_px.weights())
    return model.eval()


def tiny_vit() -> Sam:
    """Each stage has its first block only: less to convert."""
    model = build_mobile_sam(PX)
    for stage in list(model.image_encoder.stages)[1:]:
        stage.blocks = stage.blocks[:1]
    return model


@pytest.mark.parametrize("make", [vit, tiny_vit])
def test_embeddings_and_early_features_of_sam_are_those_of_torch(make: Callable[[], Sam]) -> None:
    sam, shown = seeded(make), torch.from_numpy(pictures(2))
    other = Embedder(sam, backend="openvino")
    for found, expected in zip(other.see(shown), Embedder(sam).see(shown), strict=True):
        assert error(found, expected) < 1e-5
    assert torch.equal(other(shown), other.see(shown).embedding)


def test_masks_of_sam_are_those_of_torch() -> None:
    sam, image = vit(), draw_tissue(seed=1, tumour=True)[300:364, 430:494]
    none: dict[str, Any] = {"pred_iou_thresh": -1e9, "stability_thresh": -1.0}
    ask = partial(MaskSettings, points_per_side=4, crop_layers=0, crop_points_downscale=1, **none)
    (found,), (expected,) = (MaskEngine(sam, ask(backend=word)).generate(image) for word in ("openvino", "torch"))
    assert 0.1 < expected.mask.array().mean() < 0.9
    assert (found.mask.within((0, 0, PX, PX)) != expected.mask.within((0, 0, PX, PX))).mean() < 1e-3
    assert found.point == expected.point
    assert found.predicted_iou == pytest.approx(expected.predicted_iou, rel=1e-4)


class Square(nn.Module):
    """The least network: converted in no time."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images * images * self.factor).mean((2, 3))


def network(module: nn.Module, *, precision: Any = "float32") -> OpenVinoNetwork:
    return OpenVinoNetwork(
        module.eval(), name="small", setting="encode_backend", px=PX, precision=precision, one_by_one=False
    )


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, kept: Path) -> list[str]:
    """The networks that are converted, from an empty cache on."""
    for path in kept.glob("*.network"):
        path.unlink()
    names: list[str] = []
    convert = OpenVinoNetwork._converted

    def noted(self: OpenVinoNetwork, *given: Any) -> bytes:
        names.append(self._name)
        return convert(self, *given)

    monkeypatch.setattr(OpenVinoNetwork, "_converted", noted)
    return names


def test_a_network_is_converted_once_and_it_is_said(converted: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (first,) = network(Square())(pictures(3))
        (again,) = network(Square())(pictures(3))
    assert converted == ["small"]
    np.testing.assert_array_equal(first, again)
    (said,) = caplog.messages
    assert "small is converted for OpenVINO, once: about 1 s" in said


def test_other_weights_are_another_network(converted: list[str]) -> None:
    (one,), (other,) = network(Square(1.0))(pictures(1)), network(Square(2.0))(pictures(1))
    assert converted == ["small", "small"]
    np.testing.assert_allclose(other, 2 * one, rtol=1e-5)


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "nothing left"])
def test_a_damaged_file_is_made_anew(converted: list[str], kept: Path, damage: str) -> None:
    (before,) = network(Square())(pictures(1))
    (path,) = kept.glob("*.network")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    length = {"a flipped bit": len(content), "cut off": len(content) // 2, "nothing left": 0}[damage]
    path.write_bytes(content[:length])
    (after,) = network(Square())(pictures(1))
    assert converted == ["small", "small"]
    np.testing.assert_array_equal(before, after)
    network(Square())(pictures(1))
    assert len(converted) == 2


def test_a_file_that_openvino_does_not_take_is_made_anew(converted: list[str], kept: Path) -> None:
    network(Square())(pictures(1))
    (path,) = kept.glob("*.network")
    kept_networks._write(path, b"of another build")
    network(Square())(pictures(1))
    assert len(converted) == 2


class CountsItsPictures(nn.Module):
    """What the tracer takes for a constant: the number of pictures that it is shown."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) * float(len(images))


class Untraceable(nn.Module):
    """What torch runs and its tracer cannot follow."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("not to be traced")
        return images.mean((2, 3))


@pytest.mark.parametrize("module", [CountsItsPictures(), Untraceable()])
def test_a_network_that_comes_out_otherwise_is_refused(converted: list[str], kept: Path, module: nn.Module) -> None:
    with pytest.raises(InputError, match="OpenVINO cannot run small: ") as refused:
        network(module)(pictures(1))
    assert refused.value.remedy == "set encode_backend: torch"
    assert list(kept.glob("*.network")) == []


def test_less_than_float32_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(Square())
    encoder.run_by("openvino")
    monkeypatch.setattr(openvino_network, "_capabilities", lambda core: ["FP32"])
    with pytest.raises(InputError, match="encode_precision bfloat16: this processor has no instructions") as refused:
        encoder.compute_in("bfloat16")
    assert refused.value.remedy == "set encode_precision: float32"
    monkeypatch.setattr(openvino_network, "_capabilities", lambda core: ["BF16", "FP32"])
    encoder.compute_in("bfloat16")
    features = encoder.encode(pictures(3))
    encoder.compute_in("float32")
    assert error(features, encoder.encode(pictures(3))) < 0.03
