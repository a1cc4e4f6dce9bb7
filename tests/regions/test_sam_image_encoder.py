"""SAM's image encoder of ours against the official one, with random weights and random positions."""

from typing import Any

import numpy as np
import pytest
import torch
from op_watch import OpWatch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT

from sammil_cli.errors import InputError
from sammil_cli.regions.sam_engine.image_encoder import ImageEncoder, prepare
from sammil_cli.regions.sam_engine.relative_attention import attend_folded, attend_in_strips, positions_of

# 10 x 10 tokens: of windows of 4 some are padded to the right, some below, one in both ways.
SHAPES: dict[str, dict[str, Any]] = {
    "padded windows": {"window_size": 4, "global_attn_indexes": (1,)},
    "whole windows": {"window_size": 5, "global_attn_indexes": (1,)},
    "one window larger than the picture": {"window_size": 14, "global_attn_indexes": (1,)},
    "windows only": {"window_size": 3, "global_attn_indexes": ()},
    "no windows": {"window_size": 0},
    "no relative positions": {"window_size": 4, "global_attn_indexes": (1,), "use_rel_pos": False},
    "no bias": {"window_size": 4, "global_attn_indexes": (1,), "qkv_bias": False},
    "no absolute positions": {"window_size": 4, "global_attn_indexes": (0,), "use_abs_pos": False},
}


def encoder(**changed: Any) -> ImageEncoderViT:
    """160 px, 10 x 10 tokens, two blocks; all weights random, positions (zeros in a new module) included."""
    shape = {"img_size": 160, "embed_dim": 24, "depth": 2, "num_heads": 2, "out_chans": 8, "use_rel_pos": True}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = ImageEncoderViT(**(shape | changed)).eval()
        for name, parameter in module.named_parameters():
            spread = 0.5 if "pos" in name else 0.1
            torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=spread)
    return module


def pictures(count: int = 1, side: int = 160) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def official(module: ImageEncoderViT, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        embedding: torch.Tensor = module(pixels)
    return embedding


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", SHAPES)
def test_embeddings_are_the_official_ones(name: str) -> None:
    module = encoder(**SHAPES[name])
    found, expected = ImageEncoder(module)(pictures()), official(module, pictures())
    assert found.shape == (1, 8, 10, 10)
    assert found.dtype == torch.float32
    assert error(found, expected) < 1e-5


def test_positions_and_padding_matter_to_these_modules() -> None:
    """Otherwise the test above could not see them go wrong."""
    for part in ("rel_pos_h", "rel_pos_w", "pos_embed", "qkv.bias"):
        module = encoder(window_size=4, global_attn_indexes=(1,))
        before = official(module, pictures())
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith(part):
                    parameter.zero_()
        assert error(official(module, pictures()), before) > 1e-3, part


def test_the_official_size_of_tokens_and_windows() -> None:
    module = encoder(img_size=1024, num_heads=1, window_size=14, global_attn_indexes=(1,))
    pixels = pictures(side=1024)
    assert error(ImageEncoder(module)(pixels), official(module, pixels)) < 1e-5


def test_positions_of_another_size_are_interpolated_as_the_official_ones() -> None:
    module = encoder(window_size=0)
    for block in module.blocks:  # as of a checkpoint for 12 x 12 tokens
        block.attn.rel_pos_h = torch.nn.Parameter(torch.randn(23, 12))
    assert error(ImageEncoder(module)(pictures()), official(module, pictures())) < 1e-5


def test_the_weights_are_the_modules_own() -> None:
    module = encoder(window_size=4, global_attn_indexes=(1,))
    ours = ImageEncoder(module)
    before = ours(pictures())
    with torch.no_grad():
        for block in module.blocks:
            block.mlp.lin1.weight.mul_(2)
    assert error(ours(pictures()), official(module, pictures())) < 1e-5
    assert error(ours(pictures()), before) > 1e-3


def test_a_batch_is_each_picture_by_itself() -> None:
    ours, batch = ImageEncoder(encoder(window_size=4, global_attn_indexes=(1,))), pictures(3)
    kept = batch.clone()
    together = ours(batch)
    assert torch.equal(batch, kept)
    assert together.shape[0] == 3
    for index in range(3):
        assert torch.equal(together[index : index + 1], ours(batch[index : index + 1]))


def test_the_path_of_gpus_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows and pictures at once, fused attention; here on the processor."""
    for changed in SHAPES.values():
        module = encoder(**changed)
        ours = ImageEncoder(module)
        monkeypatch.setattr(ours, "_on_gpu", True)
        assert error(ours(pictures(2)), official(module, pictures(2))) < 1e-5


@pytest.mark.parametrize("strip", [1, 100, 3000, 1 << 20])
def test_strips_of_any_size_and_folded_attention_agree(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    monkeypatch.setattr("sammil_cli.regions.sam_engine.relative_attention._STRIP", strip)
    module = encoder(window_size=0)
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 100, 12, generator=generator)
    q = q.unflatten(2, (10, 10))
    positions = positions_of(module.blocks[0].attn, (10, 10))
    with torch.no_grad():
        for given in (positions, None):
            strips, folded = (attend(q, k, v, given, 0.3) for attend in (attend_in_strips, attend_folded))
            assert strips.shape == q.shape
            torch.testing.assert_close(strips, folded)


def test_half_precision_is_close_and_float32_is_what_comes_out() -> None:
    module = encoder(window_size=4, global_attn_indexes=(1,))
    half = ImageEncoder(module, precision="bfloat16")(pictures())
    assert half.dtype == torch.float32
    assert 1e-5 < error(half, official(module, pictures())) < 2e-2  # bfloat16 keeps 8 bits: 4e-3 per number


def test_float16_without_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="needs a CUDA GPU, and SAM is to run on the cpu") as caught:
        ImageEncoder(encoder(), precision="float16")
    assert "set sam_precision to bfloat16" in caught.value.remedy


class LargestResult(OpWatch):
    """The most numbers that any operation has put out."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if isinstance(result, torch.Tensor) and not func.is_view:
            self.numbers = max(self.numbers, result.numel())
        return result


def test_no_matrix_of_tokens_by_tokens_is_made() -> None:
    module = encoder(img_size=1024, num_heads=2, window_size=14, global_attn_indexes=(1,))
    with LargestResult() as theirs:
        official(module, pictures(side=1024))
    assert theirs.numbers == 2 * 4096 * 4096
    with LargestResult() as ours:
        ImageEncoder(module)(pictures(side=1024))
    assert ours.ops["baddbmm_"] > 2 * 4096 // 256
    assert ours.numbers == 3 * 1024 * 1024  # the picture itself


def test_a_compiled_encoder_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for the compiler, and run as traced: compiling takes half a minute."""
    traced: list[str] = []

    def compile_eagerly(function: Any) -> Any:
        traced.append(function.__name__)
        return compile_(function, backend="eager", fullgraph=True)

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    module = encoder(img_size=96, embed_dim=8, num_heads=1, window_size=4, global_attn_indexes=(1,))
    pixels = pictures(side=96)
    assert error(ImageEncoder(module, compiled=True)(pixels), official(module, pixels)) < 1e-5
    assert len(traced) == 3


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (1200, 900), (512, 512), (1, 40)])
def test_pictures_are_prepared_as_the_official_predictor_does(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tiny_sam: dict[str, Any]
) -> None:
    from segment_anything import sam_model_registry

    model = sam_model_registry["vit_b"](checkpoint=None)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(model.image_encoder, "forward", lambda pixels: seen.append(pixels) or pixels)
    for order in ("RGB", "BGR"):
        monkeypatch.setattr(model, "image_format", order)
        SamPredictor(model).set_image(image)
        assert torch.equal(prepare(image, model), seen.pop())


def test_real_tissue_through_a_tiny_sam(real_data: Any, tiny_sam: dict[str, Any]) -> None:
    import cv2
    from segment_anything import sam_model_registry

    files = sorted((real_data / "thumbnails" / "c16").glob("*"))
    image = cv2.cvtColor(cv2.imread(str(files[0])), cv2.COLOR_BGR2RGB)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = sam_model_registry["vit_b"](checkpoint=None)
    pixels = prepare(image, model)
    assert error(ImageEncoder(model.image_encoder)(pixels), official(model.image_encoder, pixels)) < 1e-5
