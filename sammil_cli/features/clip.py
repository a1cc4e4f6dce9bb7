"""CLIP's image tower, a vision transformer, in plain torch; modules bear the names of transformers' published keys."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sammil_cli.errors import MissingError
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.state_dict import load_state

COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


def load_tower(path: Path) -> "ImageTower":
    """A ViT-B/32 with the weights of a file; those of CLIP's text tower are passed over.

    Raises:
        MissingError: weights are missing, unknown or of another shape.
    """
    with torch.device("meta"):  # weights are neither drawn at random first nor held twice
        model = ImageTower()
    fill(model, load_state(path), path)
    return model


class ClipEncoder(TorchEncoder):
    """The encoder with CLIP's own preparation. Patches are square, so that CLIP's central crop takes all of them."""

    INTERPOLATION = "bicubic"

    def resized(self, patch: RGB) -> RGB:
        """Bicubic, over an area where the patch is larger, as Pillow does it."""
        side = (self._input_px, self._input_px)
        return np.asarray(Image.fromarray(patch).resize(side, Image.Resampling.BICUBIC), np.uint8)


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Gives the model the weights of a file: see `load_tower`."""
    wanted = {key: value.float() for key, value in state.items() if not key.startswith(_UNUSED)}
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    wrong = [key for key in shapes if key not in wanted or wanted[key].shape != shapes[key]]
    if unfit := [*wrong, *sorted(set(wanted) - set(shapes))]:
        raise MissingError(
            f"{path} is no CLIP ViT-B/32: {len(wrong)} of {len(shapes)} weights are missing or of another shape, "
            f"{len(unfit) - len(wrong)} are unknown (such as {unfit[0]})",
            remedy="give encoder_weights a file in the key names of transformers' CLIPModel; null = the published one",
        )
    model.load_state_dict(wanted, assign=True)


class ImageTower(nn.Module):
    """Images (b, 3, px, px), normalised -> image embeddings (b, dim), not scaled to unit length."""

    def __init__(
        self, *, depth: int = 12, width: int = 768, heads: int = 12, patch: int = 32, px: int = 224, dim: int = 512
    ) -> None:
        super().__init__()
        self.vision_model = _VisionModel(depth, width, heads, patch, px)
        self.visual_projection = nn.Linear(width, dim, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        projected: Tensor = self.visual_projection(self.vision_model(images))
        return projected


class _VisionModel(nn.Module):
    def __init__(self, depth: int, width: int, heads: int, patch: int, px: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(width, patch, px)
        self.pre_layrnorm = nn.LayerNorm(width)  # the published spelling
        self.encoder = _Encoder(depth, width, heads)
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(images)))
        pooled: Tensor = self.post_layernorm(tokens[:, 0])
        return pooled


class _Embeddings(nn.Module):
    """Images -> tokens (b, 1 + tiles, width): the class token, then the tiles row by row, each with its position."""

    def __init__(self, width: int, patch: int, px: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        # No nn.Embedding: its random numbers, on the meta device, make torch load its compiler, which takes seconds.
        self.position_embedding = nn.ParameterDict({"weight": torch.zeros(1 + (px // patch) ** 2, width)})

    def forward(self, images: Tensor) -> Tensor:
        tiles = self.patch_embedding(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        placed: Tensor = torch.cat([first, tiles], dim=1) + self.position_embedding["weight"]
        return placed


class _Encoder(nn.Module):
    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = _Perceptron(width)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        changed: Tensor = tokens + self.mlp(self.layer_norm2(tokens))
        return changed


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        # (b, n, width) -> (b, heads, n, width / heads) for each of query, key and value
        query, key, value = (
            projection(tokens).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed: Tensor = self.out_proj(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.fc1(tokens)
        result: Tensor = self.fc2(hidden * torch.sigmoid(1.702 * hidden))  # CLIP's quick GELU
        return result
