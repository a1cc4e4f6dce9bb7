"""The loss of WSI-SAM: Dice and cross-entropy of both pictures (docs/methods.md §12)."""

import torch
from torch import Tensor
from torch.nn import functional

_SMOOTH = 1e-5


def wsi_sam_loss(high_logits: Tensor, low_logits: Tensor, high_mask: Tensor, low_mask: Tensor) -> dict[str, Tensor]:
    """The four terms, `dice_high`, `bce_high`, `dice_low` and `bce_low`; their sum is what trains.

    Args:
        high_logits, low_logits: (p, 1, l, l), as of `WsiSam.forward`; upsampled to the masks' side, bilinearly.
        high_mask, low_mask: (p, 1, s, s), True or 1 inside; s is the pictures' side.
    """
    terms = {}
    for name, logits, mask in (("high", high_logits, high_mask), ("low", low_logits, low_mask)):
        target = mask.to(torch.promote_types(logits.dtype, torch.float32))
        grown = functional.interpolate(logits.to(target.dtype), mask.shape[-2:], mode="bilinear", align_corners=False)
        terms[f"dice_{name}"] = dice_loss(grown, target)
        terms[f"bce_{name}"] = functional.binary_cross_entropy_with_logits(grown, target)
    return terms


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - (2 Σ p t + ε) / (Σ p² + Σ t² + ε) of each prompt's picture (p, 1, s, s), mean over prompts.

    As MONAI's `DiceLoss(sigmoid=True, squared_pred=True, reduction="mean")`; ε = 1e-5.
    """
    p, t = logits.sigmoid().flatten(1), target.flatten(1)
    both, each = (p * t).sum(1), (p * p).sum(1) + (t * t).sum(1)
    return (1 - (2 * both + _SMOOTH) / (each + _SMOOTH)).mean()
