"""Our prompt decoder and our upsampling against the official ones."""

import numpy as np
import pytest
import torch
from sam_pair import small_sam
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch import Tensor
from torch.nn import functional

from sammil_cli.regions.sam_engine import upsample
from sammil_cli.regions.sam_engine.decoder import MaskDecoder
from sammil_cli.regions.sam_engine.generator import encode_masks
from sammil_cli.regions.sam_engine.upsample import Upsampler

SHAPES = [(1024, 1024), (60, 80), (687, 500), (200, 300), (100, 4)]


@pytest.mark.parametrize("seed", [1, 2])
def test_ratings_and_logits_equal_the_official_decoder(seed: int) -> None:
    model = small_sam(width=256)
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(1, 256, 16, 16, generator=generator)
    points = torch.rand(5, 2, generator=generator, dtype=torch.float64) * 256
    with torch.inference_mode():
        sparse, dense = model.prompt_encoder(points=(points[:, None], torch.ones(5, 1)), boxes=None, masks=None)
        expected, rated = model.mask_decoder(
            image_embeddings=embedding,
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        decoder = MaskDecoder(model, "float32")
        decoded = decoder.decode(decoder.look(embedding[0]), points)
        every = decoder.draw(decoded, torch.ones(5, 3, dtype=torch.bool))
        some = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.bool)
        few = decoder.draw(decoded, some)
    torch.testing.assert_close(decoded.predicted_iou, rated, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(every.view_as(expected), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    torch.testing.assert_close(few, expected[some], rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_half_precision_is_near_and_leaves_the_model_as_it_was() -> None:
    model = small_sam(width=256)
    generator = torch.Generator().manual_seed(3)
    embedding = torch.randn(256, 16, 16, generator=generator)
    points = torch.rand(4, 2, dtype=torch.float64, generator=generator) * 256
    found = []
    with torch.inference_mode():
        for precision in ("float32", "bfloat16"):
            decoder = MaskDecoder(model, precision)  # type: ignore[arg-type]
            decoded = decoder.decode(decoder.look(embedding), points)
            found.append(decoder.draw(decoded, torch.ones(4, 3, dtype=torch.bool)))
            assert decoded.predicted_iou.dtype == found[-1].dtype == torch.float32
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    difference = (found[0] - found[1]).abs().mean() / found[0].abs().mean()
    assert 0 < difference < 0.05


def hills(count: int) -> Tensor:
    """Smooth logits (m, 64, 64) with steep borders, one without any mask, one that fills everything, one of noise."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    drawn = [np.full((64, 64), -3.0), np.full((64, 64), 3.0), generator.normal(0, 2, (64, 64))]
    for _ in range(count - 3):
        cx, cy, a, b = generator.uniform(5, 60, 4)
        drawn.append(np.clip((1 - np.hypot((x - cx) / a, (y - cy) / b)) * generator.uniform(3, 30), -9, 9))
    return torch.tensor(np.array(drawn), dtype=torch.float32)


@pytest.mark.parametrize("most_border", [0.0, 2.0])
@pytest.mark.parametrize("out", SHAPES)
def test_masks_boxes_and_stability_equal_the_official_two_interpolations(
    monkeypatch: pytest.MonkeyPatch, out: tuple[int, int], most_border: float
) -> None:
    monkeypatch.setattr(upsample, "_MOST_BORDER", most_border)  # drawn pixel by pixel, or by cells
    logits = hills(12)
    scale = 256 / max(out)
    shown = (int(out[0] * scale + 0.5), int(out[1] * scale + 0.5))
    grown = functional.interpolate(logits[None], (256, 256), mode="bilinear", align_corners=False)
    cut = grown[..., : shown[0], : shown[1]]
    expected = functional.interpolate(cut, out, mode="bilinear", align_corners=False)[0]
    upsampler = Upsampler(logits_px=64, input_px=256, shown_px=shown, out_px=out, device=torch.device("cpu"))
    found = upsampler(logits)
    assert isinstance(found, upsample.Upsampled if most_border else upsample.Drawn)
    mask, boxes = found.draw(), found.boxes()
    sure = expected.abs() > 1e-5  # rounding decides the others
    assert (~sure).sum() < 50
    assert ((expected > 0) == mask)[sure].all()
    assert found.any().tolist() == [bool(one.any()) for one in expected > 0]
    assert torch.equal(boxes, batched_mask_to_box(expected > 0))
    torch.testing.assert_close(
        found.stability, calculate_stability_score(expected, 0.0, 1.0), atol=1e-4, rtol=0, equal_nan=True
    )
    some = found.any()
    for one, region in zip(mask[some], encode_masks(mask[some], boxes[some]), strict=True):
        np.testing.assert_array_equal(region.within((0, 0, out[1], out[0])), one.numpy())


def test_the_logits_that_support_a_box_are_enough_to_draw_it() -> None:
    logits, out = hills(9)[3:], (150, 200)
    upsampler = Upsampler(logits_px=64, input_px=256, shown_px=(192, 256), out_px=out, device=torch.device("cpu"))
    whole = upsampler(logits)
    part = torch.full_like(logits, -1e3)
    for number, (x0, y0, x1, y1) in enumerate(upsampler.support(whole.boxes())):
        part[number, y0:y1, x0:x1] = logits[number, y0:y1, x0:x1]
    assert (part == -1e3).any()
    assert torch.equal(upsampler(part).draw(), whole.draw())
