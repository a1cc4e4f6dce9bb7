"""MobileSAM's image encoder: TinyViT with a last stage that keeps its resolution, and SAM's neck (docs/methods.md §12).

timm has the network; with the published stride its embeddings equal MobileSAM's. Names of modules are timm's, and
`of_published` renames those of a MobileSAM checkpoint.
"""

import re
from collections.abc import Mapping
from typing import Self, cast

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

EARLY_CHANNELS = 160  # of the early feature

_OUT_CHANNELS = 256
_WIDTHS = (64, 128, 160, 320)
_UNUSED = ("norm_head.", "head.")  # of the classifier that TinyViT was trained as
_RENAMED = (
    (re.compile(r"^patch_embed\.seq\.0\."), "patch_embed.conv1."),
    (re.compile(r"^patch_embed\.seq\.2\."), "patch_embed.conv2."),
    (re.compile(r"\.c\.weight$"), ".conv.weight"),
)
_LAYER = re.compile(r"^layers\.(\d+)\.(downsample\.)?")


class TinyViTEncoder(nn.Module):
    """Pictures (b, 3, s, s) -> embeddings (b, 256, s / 16, s / 16); s is a multiple of 16.

    Args:
        img_size: side of the pictures that it is given; no weight depends on it.
    """

    def __init__(self, img_size: int = 1024) -> None:
        super().__init__()
        from timm.models.tiny_vit import TinyVit  # brings all models of timm, seconds that other SAMs do without

        self.img_size = img_size
        trunk = TinyVit(
            num_classes=0,
            embed_dims=_WIDTHS,
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
            drop_path_rate=0.0,
        )
        cast("nn.Conv2d", trunk.get_submodule("stages.3.downsample.conv2.conv")).stride = (1, 1)
        self.patch_embed, self.stages = trunk.patch_embed, trunk.stages
        self.neck = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], _OUT_CHANNELS, kernel_size=1, bias=False),
            LayerNorm2d(_OUT_CHANNELS),
            nn.Conv2d(_OUT_CHANNELS, _OUT_CHANNELS, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(_OUT_CHANNELS),
        )
        _settle_biases(self)
        self.register_load_state_dict_post_hook(_settle_biases)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, as part of a model in training too: SAM is frozen, and batch norms learn by looking."""
        del mode
        return super().train(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return self.see(pixels)[0]

    def see(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings, and the early feature (b, 160, s / 16, s / 16) that WSI-SAM takes."""
        x, early = self.trunk(pixels)
        embedding: Tensor = self.neck(x)
        return embedding, early

    def trunk(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the neck is given (b, 320, s / 16, s / 16), and the early feature."""
        first, second, third, last = self.stages
        early: Tensor = third.get_submodule("downsample")(second(first(self.patch_embed(pixels))))
        x: Tensor = third.get_submodule("blocks")(early.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return last(x), early


def of_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An image encoder's weights in MobileSAM's names, renamed for `TinyViTEncoder`; the classifier's are left out."""
    return {_renamed(name): value for name, value in state.items() if not name.startswith(_UNUSED)}


def _renamed(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = pattern.sub(ours, name)

    def stage(found: re.Match[str]) -> str:
        # A layer of MobileSAM ends with the step down to the next; a stage of timm begins with it.
        number, downsample = int(found[1]), found[2] or ""
        return f"stages.{number + bool(downsample)}.{downsample}"

    return _LAYER.sub(stage, name)


def _settle_biases(encoder: TinyViTEncoder, _: object = None) -> None:
    """What each attention derives from its weights: no checkpoint holds it, and it may be older than the weights.

    Which bias belongs to which pair of tokens is a buffer, without content where the module was built on the meta
    device; the biases of all pairs are kept by timm from one picture to the next.
    """
    from timm.models.tiny_vit import Attention

    for module in encoder.modules():
        if isinstance(module, Attention):
            module.attention_bias_idxs = _pairs(*module.resolution, device=module.attention_biases.device)
            module.attention_bias_cache = {}


def _pairs(rows: int, columns: int, *, device: torch.device) -> Tensor:
    """(n, n) for the n tokens of a window, row by row: the number of each pair's bias, by distance down and across."""
    token = torch.arange(rows * columns, device=device)
    down, across = (at[:, None].sub(at).abs() for at in (token // columns, token % columns))
    return down * columns + across
