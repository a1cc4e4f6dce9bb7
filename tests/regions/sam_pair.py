"""The official generator and our engine on one model, whose masks are made to look like SAM's.

Random weights see the same noise everywhere. So ellipses around each prompt are added to the logits of both, after the
decoder, and ratings to its ratings: what the network says still decides along every border.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator
from torch import Tensor

from sammil_cli.regions.sam_engine.decoder import Decoded, MaskDecoder
from sammil_cli.regions.sam_engine.generator import MaskEngine


def randomise(model: Any, seed: int = 0) -> Any:
    """Gives weight to what starts at zero, so that it counts: positions, biases, norms; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1 or "pos_embed" in name or "rel_pos" in name:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    return model.eval()


def fields(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points (p, 2) in the model's input -> logits (p, 3, 256, 256) and ratings (p, 3), which the points determine."""
    logits, ratings = [], []
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    for px, py in (points / 4).tolist():
        generator = np.random.default_rng([int(16 * px), int(16 * py)])
        for scale in (1, 2, 4):
            a, b = generator.uniform(3, 20, 2) * scale
            turn = generator.uniform(0, np.pi)
            shift = generator.normal(0, 4, 2)
            u, v = x - px - shift[0], y - py - shift[1]
            along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
            steep = generator.uniform(0.3, 3)
            distance = ((along / a) ** 2 + (across / b) ** 2).sqrt()
            logits.append(((1 - distance) * min(a, b) * steep).clamp(-12, 12))
            ratings.append(generator.uniform(0.4, 1))
    return torch.stack(logits).view(-1, 3, 256, 256), torch.tensor(ratings).view(-1, 3)


class PairedDecoder(MaskDecoder):
    """Ours, with the fields added."""

    def decode(self, picture: Any, points: Tensor) -> Decoded:
        self._logits, ratings = fields(points)
        decoded = super().decode(picture, points)
        return replace(decoded, predicted_iou=decoded.predicted_iou + ratings)

    def draw(self, decoded: Decoded, kept: Tensor) -> Tensor:
        return super().draw(decoded, kept) + self._logits[kept]


def official(model: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> SamAutomaticMaskGenerator:
    """The official generator, with the fields added."""
    asked: list[Tensor] = []
    encode, decode = model.prompt_encoder.forward, model.mask_decoder.forward

    def prompts(*, points: tuple[Tensor, Tensor], **others: Any) -> Any:
        asked.append(points[0][:, 0])
        return encode(points=points, **others)

    def masks(**inputs: Any) -> tuple[Tensor, Tensor]:
        logits, ratings = decode(**inputs)
        more_logits, more_ratings = fields(asked.pop())
        return logits + more_logits, ratings + more_ratings

    monkeypatch.setattr(model.prompt_encoder, "forward", prompts)
    monkeypatch.setattr(model.mask_decoder, "forward", masks)
    return SamAutomaticMaskGenerator(
        model,
        points_per_side=settings["points_per_side"],
        points_per_batch=16,
        pred_iou_thresh=settings["pred_iou_thresh"],
        stability_score_thresh=settings["stability_thresh"],
        crop_n_layers=settings["crop_layers"],
        crop_n_points_downscale_factor=settings["crop_points_downscale"],
    )


def ours(model: Any, **settings: Any) -> MaskEngine:
    """Our engine, with the fields added."""
    engine = MaskEngine(model, **settings)
    engine.decoder = PairedDecoder(model, settings.get("precision", "float32"))
    return engine
