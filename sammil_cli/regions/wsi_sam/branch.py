"""What WSI-SAM adds to a copy of SAM's mask decoder, by its published names (docs/methods.md §12)."""

import torch
from segment_anything.modeling.common import LayerNorm2d
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
            nn.Conv2d(small, middle, 3, padding=1),
            LayerNorm2d(middle),
            nn.GELU(),
            nn.Conv2d(middle, small, 3, padding=1),
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
        middle = self.embedding_maskfeature[:-1](upscaled)
        weight = torch.einsum("pc,cmyx->pmyx", token, last.get_parameter("weight"))
        ours = functional.conv2d(
            middle.flatten(0, 1)[None], weight, token @ last.get_parameter("bias"), padding=1, groups=len(token)
        )[0]
        if len(features) == 1:
            return ours + (token @ features[0].flatten(1)).view_as(ours)
        return ours + torch.einsum("pc,pcyx->pyx", token, features)


def _twice_up(wide: int, middle: int, narrow: int) -> nn.Sequential:
    """Two transposed convolutions that double the side each."""
    return nn.Sequential(
        nn.ConvTranspose2d(wide, middle, 2, stride=2),
        LayerNorm2d(middle),
        nn.GELU(),
        nn.ConvTranspose2d(middle, narrow, 2, stride=2),
    )
