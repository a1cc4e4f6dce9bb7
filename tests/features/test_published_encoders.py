"""Published encoders at work: the preparation is torchvision's, poolings are those of plain tensors."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import REGISTERS, WIDTH, tiny_row
from torchvision import transforms

from sammil_cli.errors import InputError
from sammil_cli.features.encoder_row import FOLDER, Preparation, encoder_row
from sammil_cli.features.published_encoder import PublishedChoice
from sammil_cli.features.published_network import PublishedNetwork, build_network
from sammil_cli.features.published_torch_encoder import PublishedEncoder, load_encoder
from sammil_cli.slides.pixels import RGB
from sammil_cli.testing.drawn import draw_tissue
from sammil_cli.testing.weights import with_random_weights

_METHODS = {"bilinear": transforms.InterpolationMode.BILINEAR, "bicubic": transforms.InterpolationMode.BICUBIC}
# Each preparation once, with a row that has it.
PREPARATIONS = {str(asdict(row.preparation)): row for row in map(encoder_row, (p.stem for p in FOLDER.glob("*.json")))}
ROWS = sorted(PREPARATIONS.values(), key=lambda row: row.word)


def patch_of(side: int) -> RGB:
    return np.asarray(Image.fromarray(draw_tissue()[:96, :96]).resize((side, side)), np.uint8)


def by_torchvision(preparation: Preparation, patch: RGB) -> torch.Tensor:
    steps = [
        transforms.Resize(preparation.resize_px, _METHODS[preparation.interpolation]),
        transforms.CenterCrop(preparation.input_px),
        transforms.ToTensor(),
        transforms.Normalize(preparation.mean, preparation.sd),
    ]
    prepared: torch.Tensor = transforms.Compose(steps)(Image.fromarray(patch))
    return prepared


def prepared_by(preparation: Preparation, patch: RGB) -> np.ndarray:
    nothing = torch.nn.Identity()
    return PublishedEncoder(nothing, preparation, name="a", dim=1, device="cpu", sha256="0" * 64).prepare(patch)


@pytest.mark.parametrize("side", [96, 224, 256, 300, 512])
@pytest.mark.parametrize("preparation", [row.preparation for row in ROWS], ids=[row.word for row in ROWS])
def test_patches_are_prepared_as_published(preparation: Preparation, side: int) -> None:
    patch = patch_of(side)
    found, expected = prepared_by(preparation, patch), by_torchvision(preparation, patch)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_a_patch_that_has_the_side_is_only_cropped() -> None:
    gigapath = encoder_row("gigapath").preparation
    patch = patch_of(256)
    inside = (patch[16:240, 16:240] / 255 - np.array(gigapath.mean)) / np.array(gigapath.sd)
    np.testing.assert_allclose(prepared_by(gigapath, patch), inside.transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize("registers", [0, REGISTERS])
def test_poolings_are_those_of_plain_tensors(registers: int) -> None:
    torch.manual_seed(0)
    network = build_network(tiny_row(registers=registers), device="cpu").network
    seen: list[torch.Tensor] = []
    network.norm.register_forward_hook(lambda *given: seen.append(given[2]))
    images = torch.randn(2, 3, 64, 64)
    found = {name: PublishedNetwork(network, name)(images) for name in ("cls", "cls-mean", "mean", "pooled")}
    tokens = seen[0]
    assert tokens.shape == (2, 1 + registers + 16, WIDTH)
    first, mean = tokens[:, 0], sum(tokens[:, 1 + registers + tile] for tile in range(16)) / 16
    torch.testing.assert_close(found["cls"], first)
    torch.testing.assert_close(found["mean"], mean)
    torch.testing.assert_close(found["cls-mean"], torch.cat([first, mean], 1))
    torch.testing.assert_close(found["pooled"], first)  # timm's own, of a network whose global_pool is the class token


def test_virchow_s_tokens_are_the_class_and_the_mean_of_the_patches() -> None:
    torch.manual_seed(0)
    network = build_network(tiny_row(registers=4, global_pool=""), device="cpu").network
    images = torch.randn(1, 3, 64, 64)
    tokens = network(images)  # as its card has it: 1 + 4 + 16 tokens
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], -1)
    torch.testing.assert_close(PublishedNetwork(network, "cls-mean")(images), expected)


def built(folder: Path, *, pooling: str | None = None, side: int | None = None, **options: object) -> PublishedEncoder:
    """A tiny encoder with random weights of a file."""
    made = PublishedChoice(tiny_row(**options))
    own = with_random_weights(made, {"encoder_weights": None}, folder)["encoder_weights"]
    return load_encoder(made.row, Path(own), "0" * 64, device="cpu", pooling=pooling, input_px=side)


@pytest.mark.parametrize(
    ("asked", "name", "dim"), [(None, "tiny", WIDTH), ("cls", "tiny", WIDTH), ("cls-mean", "tiny:cls-mean", 2 * WIDTH)]
)
def test_another_pooling_has_another_name_and_length(tmp_path: Path, asked: str | None, name: str, dim: int) -> None:
    encoder = built(tmp_path, pooling=asked)
    features = encoder.encode(np.stack([encoder.prepare(patch_of(80))] * 2))
    assert (encoder.name, encoder.dim, features.shape) == (name, dim, (2, dim))


def test_the_class_token_alone_of_an_encoder_that_gives_both() -> None:
    both = tiny_row(pooling="cls-mean")
    assert [both.dim_with(one) for one in ("cls", "mean", "cls-mean")] == [WIDTH, WIDTH, 2 * WIDTH]


def test_a_pooling_that_the_encoder_has_not_is_refused() -> None:
    with pytest.raises(InputError, match="uni has no pooling 'mean'") as caught:
        build_network(encoder_row("uni"), "mean")
    assert caught.value.remedy == "set encoder_pooling: cls"


def test_another_side_is_seen_with_interpolated_positions(tmp_path: Path) -> None:
    plain, larger = built(tmp_path), built(tmp_path, side=96)
    patch = patch_of(96)
    images = torch.from_numpy(np.stack([larger.prepare(patch)]))
    assert images.shape == (1, 3, 96, 96)
    dynamic = plain._module.network.network  # timm interpolates for each picture where a network has dynamic_img_size
    with torch.inference_mode():
        expected = dynamic.forward_features(images)[:, 0]
    np.testing.assert_allclose(larger.encode(images.numpy()), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_side_that_is_no_multiple_of_the_tiles_is_refused() -> None:
    with pytest.raises(InputError, match="tiny sees tiles of 16 px, and 100 px is no multiple") as caught:
        build_network(tiny_row(), input_px=100)
    assert caught.value.remedy.startswith("set encoder_input_px: 96;")


def test_less_precise_products_give_nearly_the_same_features(tmp_path: Path) -> None:
    encoder = built(tmp_path)
    batch = np.stack([encoder.prepare(patch_of(64))])
    exact = encoder.encode(batch)
    encoder.compute_in("bfloat16")
    rough = encoder.encode(batch)
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=0.1 * np.abs(exact).max())
    assert (rough != exact).any()


def test_openvino_gives_the_same_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    encoder = built(tmp_path, pooling="cls-mean")
    batch = np.stack([encoder.prepare(patch_of(64))] * 2)
    exact = encoder.encode(batch)
    encoder.run_by("openvino")
    np.testing.assert_allclose(encoder.encode(batch), exact, atol=1e-4 * np.abs(exact).max())
