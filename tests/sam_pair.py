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
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor

from sammil_cli.regions.sam_engine.decoder import Decoded
from sammil_cli.regions.sam_engine.decoder import MaskDecoder as OurDecoder
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskSettings

INPUT_PX = 256


def small_sam(width: int = 64) -> Any:
    """The official classes, shallow, narrow (SAM's width is 256) and for a small input; with random weights.

    What starts at zero or one gets weight, so that it counts: positions, biases, norms.
    """
    generator = torch.Generator().manual_seed(0)
    side = INPUT_PX // 16
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = Sam(
            ImageEncoderViT(
                img_size=INPUT_PX,
                embed_dim=32,
                depth=2,
                num_heads=2,
                out_chans=width,
                use_rel_pos=True,
                window_size=14,
                global_attn_indexes=(1,),
            ),
            PromptEncoder(
                embed_dim=width,
                image_embedding_size=(side, side),
                input_image_size=(INPUT_PX, INPUT_PX),
                mask_in_chans=16,
            ),
            MaskDecoder(
                num_multimask_outputs=3,
                transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=4 * width, num_heads=8),
                transformer_dim=width,
            ),
        )
        for name, value in model.named_parameters():
            if value.ndim == 1 or "pos_embed" in name or "rel_pos" in name:
                value += 0.1 * torch.randn(value.shape, generator=generator)
    return model.eval()


def fields(points: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Points (p, 2) in the model's input -> logits (p, 3, side, side) and ratings (p, 3): the points determine them."""
    logits, ratings = [], []
    y, x = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    for px, py in (points / 4).tolist():
        generator = np.random.default_rng([int(16 * px), int(16 * py)])
        for scale in (1, 2, 4):
            a, b = generator.uniform(3, 20, 2) * scale * side / 256
            turn = generator.uniform(0, np.pi)
            shift = generator.normal(0, side / 64, 2)
            u, v = x - px - shift[0], y - py - shift[1]
            along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
            steep = generator.uniform(0.3, 3)
            distance = ((along / a) ** 2 + (across / b) ** 2).sqrt()
            logits.append(((1 - distance) * min(a, b) * steep).clamp(-12, 12))
            ratings.append(generator.uniform(0.4, 1))
    return torch.stack(logits).view(-1, 3, side, side), torch.tensor(ratings).view(-1, 3)


class PairedDecoder(OurDecoder):
    """Ours, with the fields added."""

    def decode(self, picture: Any, points: Tensor) -> Decoded:
        self._logits, ratings = fields(points, 4 * self._prompts.image_embedding_size[0])
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
        more_logits, more_ratings = fields(asked.pop(), logits.shape[-1])
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
    engine = MaskEngine(model, MaskSettings(**settings))
    engine.decoder = PairedDecoder(model, settings.get("precision", "float32"))
    return engine
