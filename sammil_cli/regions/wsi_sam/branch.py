"""What WSI-SAM adds to a copy of SAM's mask decoder, by its published names (docs/methods.md §12)."""

from functools import reduce

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn
from torch.nn import functional

PARTS = ("hf_token", "hf_mlp", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature")  # of a `Branch`


class Branch(nn.Module):
    """The trainable part of one resolution: a token, and the features that its mask is drawn from.

    Shapes: b fields, p prompts; d = `width` channels of SAM's decoder (256), c = d / 8; g = s / 16.

    Args:
        early_width: channels of the encoder's early feature.
    """

    def __init__(self, width: int, early_width: int) -> None:
        super().__init__()
        small, middle = width // 8, width // 4
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = MLP(width, width, small, 3)
        self.compress_vit_feat = _twice_up(early_width, width, small)
        self.embedding_encoder = _twice_up(width, middle, small)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(small, middle, 3, padding=1), _Norm(middle), nn.GELU(), nn.Conv2d(middle, small, 3, padding=1)
        )

    def features(self, embedding: Tensor, early: Tensor) -> Tensor:
        """F of the picture alone: embeddings (b, d, g, g) and early features (b, e, g, g) -> (b, c, 4 g, 4 g)."""
        features: Tensor = self.embedding_encoder(embedding) + self.compress_vit_feat(early)
        return features

    def draw(self, token: Tensor, upscaled: Tensor, features: Tensor) -> Tensor:
        """t · E with E = embedding_maskfeature(U) + F -> logits (p, 4 g, 4 g).

        The last convolution is linear: the token multiplies its weights, which leaves one channel to compute of c.

        Args:
            token: t (p, c).
            upscaled: U (p, c, 4 g, 4 g).
            features: F (p or 1, c, 4 g, 4 g), see `features`.
        """
        last = self.embedding_maskfeature[-1]
        middle = self.embedding_maskfeature[:-1](upscaled).permute(0, 2, 3, 1)  # (p, h, w, m)
        weight = torch.einsum("pc,cmyx->pmyx", token, last.get_parameter("weight"))
        ours = _convolve(middle, weight) + (token @ last.get_parameter("bias"))[:, None, None]
        if len(features) == 1:
            return ours + (token @ features[0].flatten(1)).view_as(ours)
        return ours + torch.einsum("pc,pcyx->pyx", token, features)


class _Norm(nn.Module):
    """The official LayerNorm2d, over channels, in one pass; what follows has channels last in memory."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(p, c, h, w) -> the same."""
        last = x.permute(0, 2, 3, 1)
        return functional.layer_norm(last, last.shape[3:], self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


def _convolve(pictures: Tensor, weight: Tensor) -> Tensor:
    """Pictures (p, h, w, m), each with its own convolution (p, m, 3, 3) to one channel, zeros around -> (p, h, w).

    As one product for all nine taps: a convolution in groups takes three times as long on a CPU.
    """
    (_, height, width, _), side = pictures.shape, weight.shape[-1]
    taps = (pictures.flatten(1, 2) @ weight.flatten(2)).view(len(pictures), height, width, side * side)
    taps = functional.pad(taps, (0, 0, *(side // 2,) * 4))
    shifted = (taps[:, y : y + height, x : x + width, y * side + x] for y in range(side) for x in range(side))
    return reduce(torch.add, shifted)


def _twice_up(wide: int, middle: int, narrow: int) -> nn.Sequential:
    """Two transposed convolutions that double the side each."""
    return nn.Sequential(
        nn.ConvTranspose2d(wide, middle, 2, stride=2),
        _Norm(middle),
        nn.GELU(),
        nn.ConvTranspose2d(middle, narrow, 2, stride=2),
    )
