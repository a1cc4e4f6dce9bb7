"""Embeddings with the early feature, by a ViT and by TinyViT; weights are random."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_mobile_sam import embed, published_state
from sam_pair import INPUT_PX, small_sam
from segment_anything.modeling import Sam
from torch import Tensor, nn

from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError
from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers import sam
from sammil_cli.regions.sam_engine import rates
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, SAM_MODELS, build_mobile_sam, build_sam
from sammil_cli.regions.sam_models.checkpoint_forms import _of_mobile_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.storage.files import sha256_file

TINY_PX = 96


@pytest.fixture(scope="module")
def mobile_sam() -> Sam:
    """Small pictures, and weights of which each counts."""
    model = build_mobile_sam(TINY_PX)
    model.load_state_dict(_of_mobile_sam(published_state()))
    return model


def pictures(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def hooked(part: nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """What `run` gives, and what one of the modules gave on the way."""
    seen: list[Tensor] = []
    hook = part.register_forward_hook(lambda module, given, found: seen.append(found.clone()))
    with torch.no_grad():
        result = run()
    hook.remove()
    return result, seen[0]


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def deeper(blocks: tuple[int, ...]) -> Sam:
    """Four blocks; those named attend to all tokens."""
    model = small_sam(32)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        encoder: Any = type(model.image_encoder)(
            img_size=INPUT_PX, embed_dim=32, depth=4, num_heads=2, out_chans=32, use_rel_pos=True, window_size=7,
            global_attn_indexes=blocks,
        )  # fmt: skip
        for parameter in encoder.parameters():
            nn.init.normal_(parameter, std=0.2)
    model.image_encoder = encoder.eval()
    return model  # type: ignore[no-any-return]


@pytest.mark.parametrize("blocks", [(0, 2), (1, 3), (3,)])
def test_the_early_feature_of_a_vit_comes_from_the_first_block_that_sees_all_tokens(blocks: tuple[int, ...]) -> None:
    model, pixels = deeper(blocks), pictures(2, INPUT_PX)
    expected, early = hooked(model.image_encoder.blocks[blocks[0]], lambda: model.image_encoder(pixels))
    seen = Embedder(model).see(pixels)
    assert seen.embedding.shape == (2, 32, 16, 16)
    assert seen.early.shape == (2, 32, 16, 16)
    assert error(seen.early, early.permute(0, 3, 1, 2)) < 1e-5
    assert error(seen.embedding, expected) < 1e-5
    assert torch.equal(Embedder(model)(pixels), seen.embedding)
    _, last = hooked(model.image_encoder.blocks[-1], lambda: model.image_encoder(pixels))
    assert blocks[0] == 3 or error(seen.early, last.permute(0, 3, 1, 2)) > 0.1  # later blocks do change it


def test_the_early_feature_of_tiny_vit_is_what_its_third_stage_begins_with(mobile_sam: Sam) -> None:
    pixels = pictures(2, TINY_PX)
    stage = mobile_sam.image_encoder.stages[2]
    expected, early = hooked(stage.downsample, lambda: mobile_sam.image_encoder(pixels))
    seen = Embedder(mobile_sam).see(pixels)
    assert seen.embedding.shape == (2, 256, 6, 6)
    assert seen.early.shape == (2, 160, 6, 6)
    assert error(seen.early, early) < 1e-5
    assert error(seen.embedding, expected) < 1e-5
    assert torch.equal(Embedder(mobile_sam)(pixels), seen.embedding)


def test_the_early_widths_are_those_of_the_models() -> None:
    assert tuple(EARLY_WIDTH) == SAM_MODELS
    with torch.device("meta"):
        for word in SAM_MODELS[:3]:
            assert build_sam(word).image_encoder.pos_embed.shape[-1] == EARLY_WIDTH[word]


@pytest.mark.parametrize("make", [lambda: small_sam(32), lambda: build_mobile_sam(TINY_PX)])
def test_a_batch_is_each_picture_by_itself_and_can_be_trained_on(make: Callable[[], Sam]) -> None:
    model = make()
    embedder, pixels = Embedder(model), pictures(3, model.image_encoder.img_size)
    together, alone = embedder.see(pixels), embedder.see(pixels[1:2])
    for all_three, one in zip(together, alone, strict=True):
        assert torch.equal(all_three[1:2], one)
        assert not all_three.requires_grad
        weight = torch.ones(1, requires_grad=True)
        (all_three * weight).sum().backward()  # an inference tensor could not be saved for this
        assert weight.grad is not None


def test_the_path_of_gpus_gives_the_same(mobile_sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pictures at once; here on the processor."""
    pixels, embedder = pictures(3, TINY_PX), Embedder(mobile_sam)
    expected = embedder.see(pixels)
    given: list[int] = []
    trunk = embedder._see._trunk  # type: ignore[attr-defined]
    monkeypatch.setattr(embedder._see, "_trunk", lambda x: given.append(len(x)) or trunk(x))
    monkeypatch.setattr(embedder._see, "_on_gpu", True)
    for found, wanted in zip(embedder.see(pixels), expected, strict=True):
        assert error(found, wanted) < 1e-5
    assert given == [3]


def test_half_precision_of_tiny_vit_is_close_and_float32_is_what_comes_out(mobile_sam: Sam) -> None:
    pixels = pictures(1, TINY_PX)
    exact, half = Embedder(mobile_sam).see(pixels), Embedder(mobile_sam, "bfloat16").see(pixels)
    for found, expected in zip(half, exact, strict=True):
        assert found.dtype == torch.float32
        assert 1e-4 < error(found, expected) < 4e-2  # bfloat16 keeps 8 bits: 4e-3 per number
    with pytest.raises(InputError, match="float16 needs a CUDA GPU"):
        Embedder(mobile_sam, "float16")


def test_a_compiled_tiny_vit_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for the compiler, and run as traced: compiling takes half a minute."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend="eager", fullgraph=True))
    model, pixels = build_mobile_sam(TINY_PX), pictures(1, TINY_PX)
    model.load_state_dict(_of_mobile_sam(published_state()))
    for stage in model.image_encoder.stages:
        stage.blocks = stage.blocks[:1]  # tracing them takes seconds
    for found, expected in zip(Embedder(model, compiled=True).see(pixels), Embedder(model).see(pixels), strict=True):
        assert error(found, expected) < 1e-5


@pytest.mark.stress
def test_masks_by_mobile_sam_at_its_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint in its published names, through the proposer; the embedding is that of the equations."""
    path, state = tmp_path / "mobile_sam.pt", published_state()
    torch.save(state, path)
    settings = SamSettings(
        proposer="sam",
        sam_model="vit_t",
        sam_checkpoint=str(path),
        sam_checkpoint_sha256=sha256_file(path),
        sam_points_per_side=2,
        sam_pred_iou_thresh=0,
        sam_stability_thresh=0,
        sam_crop_layers=0,
    ).model_dump()
    sam.check(settings, "cpu")
    proposer = sam.make(settings, "cpu")
    run, seen = proposer._engine.encoder, []
    monkeypatch.setattr(proposer._engine, "encoder", lambda pixels: seen.append((pixels, run(pixels))) or seen[0][1])
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    view = View(slide_id="s", image=image, tissue=np.ones((70, 100), bool), origin_px=(0, 0), downsample=1.0)
    found = proposer.propose(view)
    ((pixels, embedding),) = seen
    assert pixels.shape == (1, 3, 1024, 1024)
    with torch.no_grad():
        expected, _ = embed(state, pixels)
    assert error(embedding, expected) < 1e-4
    assert found
    assert all(np.isfinite([one.predicted_iou, one.stability]).all() for one in found)


def test_what_mobile_sam_takes_is_measured_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(rates, "build_sam", lambda word: built.append(word) or build_mobile_sam(TINY_PX))
    settings = SamSettings(proposer="sam", sam_model="vit_t", sam_precision="bfloat16").model_dump()
    found = rates.measure(settings, "cpu", np.full((60, 90, 3), 200, np.uint8))
    assert built == ["vit_t"]
    assert found.keys() == {"crops", "prompts"}
    assert min(found.values()) > 0
