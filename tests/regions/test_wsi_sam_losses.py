"""WSI-SAM's loss against its equations, computed with plain sums."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from sammil_cli.regions.wsi_sam.losses import wsi_sam_loss


def by_hand(logits: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """Dice and cross-entropy, pixel by pixel, of logits at the masks' side."""
    dice, entropy = [], []
    for one, wanted in zip(logits.double().tolist(), mask.double().tolist(), strict=True):
        pairs = [(x, t) for row, goal in zip(one[0], wanted[0], strict=True) for x, t in zip(row, goal, strict=True)]
        p = [1 / (1 + math.exp(-x)) for x, _ in pairs]
        both = sum(a * t for a, (_, t) in zip(p, pairs, strict=True))
        squares = sum(a * a for a in p) + sum(t * t for _, t in pairs)
        dice.append(1 - (2 * both + 1e-5) / (squares + 1e-5))
        entropy += [-t * math.log(a) - (1 - t) * math.log(1 - a) for a, (_, t) in zip(p, pairs, strict=True)]
    return sum(dice) / len(dice), sum(entropy) / len(entropy)


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 6, 6, generator=generator) * 2
    return logits, torch.rand(3, 1, 24, 24, generator=generator) > 0.6


def test_the_four_terms_are_those_of_the_equations_on_upsampled_logits() -> None:
    (high, high_mask), (low, low_mask) = drawn(0), drawn(1)
    low_mask[1] = False  # nothing inside: Dice is smoothed
    terms = wsi_sam_loss(high, low, high_mask, low_mask)
    assert list(terms) == ["dice_high", "bce_high", "dice_low", "bce_low"]
    for name, logits, mask in (("high", high, high_mask), ("low", low, low_mask)):
        grown = interpolate(logits, (24, 24), mode="bilinear", align_corners=False)
        dice, entropy = by_hand(grown, mask)
        assert terms[f"dice_{name}"].item() == pytest.approx(dice, rel=1e-5)
        assert terms[f"bce_{name}"].item() == pytest.approx(entropy, rel=1e-5)


def test_upsampling_is_bilinear_with_pixels_as_areas() -> None:
    """A step between two logits: a mask's pixel k lies at (k + 0.5) / 4 - 0.5 of them."""
    logits = torch.tensor([-8.0, 8.0]).expand(1, 1, 2, 2)
    at = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    grown = torch.tensor(-8 + 16 * at, dtype=torch.float32).expand(1, 1, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 3:] = 1
    found = wsi_sam_loss(logits, logits, mask, mask)
    dice, entropy = by_hand(grown, mask)
    assert found["dice_low"].item() == pytest.approx(dice, rel=1e-5)
    assert found["bce_high"].item() == pytest.approx(entropy, rel=1e-5)


def test_half_precision_is_summed_in_single() -> None:
    high, mask = drawn(0)
    terms = wsi_sam_loss(high.bfloat16(), high.bfloat16(), mask, mask)
    wanted = wsi_sam_loss(high.bfloat16().float(), high.bfloat16().float(), mask, mask)
    assert all(terms[name].dtype == torch.float32 and terms[name] == wanted[name] for name in wanted)


def test_a_perfect_mask_costs_next_to_nothing() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 4:9, 2:14] = 1
    logits = 60 * mask - 30
    assert sum(wsi_sam_loss(logits, logits, mask, mask).values()) < 1e-4
