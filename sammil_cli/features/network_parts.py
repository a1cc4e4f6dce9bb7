"""Parts of published networks that no library has: what a row may name beside timm's and torch's own layers."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class ConvStem(nn.Module):
    """CTransPath's stem, in place of Swin's cut into tiles: images (b, 3, s, s) -> (b, s/4, s/4, d).

    Two convolutions that halve the side, then one that mixes colours (Wang et al. 2022, doi
    10.1016/j.media.2022.102559).
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        norm_layer: Callable[[int], nn.Module],
        **how: object,
    ) -> None:
        """`how`: what timm's own layer is asked for besides, such as the order of axes; this one has one way."""
        super().__init__()
        del how
        first, second = embed_dim // 8, embed_dim // 4
        self.proj = nn.Sequential(
            *_halved(in_chans, first), *_halved(first, second), nn.Conv2d(second, embed_dim, kernel_size=1)
        )
        self.norm = norm_layer(embed_dim)
        self.patch_size = (patch_size, patch_size)
        self.set_input_size(img_size)

    def set_input_size(self, img_size: int | tuple[int, int], patch_size: int | None = None) -> None:
        """Says how large images are; tiles keep their size. timm's layers have this, too."""
        del patch_size
        px = img_size if isinstance(img_size, int) else img_size[0]
        self.grid_size = (px // self.patch_size[0], px // self.patch_size[1])

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        normed: Tensor = self.norm(self.proj(images).permute(0, 2, 3, 1))
        return normed


def _halved(channels: int, others: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, others, kernel_size=3, stride=2, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(others), nn.ReLU()


class KeepHead(nn.Sequential):
    """KEEP's projection of the class token: (b, width) -> (b, 768), of length one (Zhou et al. 2026)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 768), nn.GELU(), nn.Linear(768, 768), UnitLength())


class UnitLength(nn.Module):
    """Vectors (b, d), scaled to length one."""

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        return torch.nn.functional.normalize(vectors, dim=-1)


LAYERS: Mapping[str, Callable[..., nn.Module]] = {"ConvStem": ConvStem}
HEADS: Mapping[str, Callable[[int], nn.Module]] = {"KeepHead": KeepHead}  # of the width of a class token
