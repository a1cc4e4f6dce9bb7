"""SAM's image encoder without its attention matrices: the same embeddings in a few tens of megabytes.

The official encoder writes out every head's scores of 4096 x 4096 tokens. Here a few rows of tokens at a time pass
through a whole block, in place; of the scores there is never more than a strip (`relative_attention`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.modeling.image_encoder import Block
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torch.nn import functional

from sammil_cli.backends.backend import Precision
from sammil_cli.errors import InputError
from sammil_cli.regions.sam_engine.relative_attention import Positions, attend_folded, attend_in_strips, positions_of
from sammil_cli.slides.pixels import RGB

Linear = tuple[Tensor, Tensor | None]  # weight and bias

_ROWS = 16  # rows of tokens of a global block at a time: enough for fast products, too few for large activations


def check_precision(precision: Precision, device: str) -> None:
    """Refuses a precision that a device cannot compute with.

    Raises:
        InputError: float16 without a CUDA device.
    """
    if precision == "float16" and not device.startswith("cuda"):
        raise InputError(
            f"sam_precision float16 needs a CUDA GPU, and SAM is to run on the {device}",
            remedy="set sam_precision to bfloat16 or float32, or run with --device cuda",
        )


def prepare(image: RGB, model: Sam) -> Tensor:
    """A picture (h, w, 3) as the encoder wants it: (1, 3, s, s) float32 on the model's device.

    As `SamPredictor.set_image`: the longest side becomes `s`, colours are normalised, what is left is zeros.
    """
    if model.image_format != "RGB":
        image = np.ascontiguousarray(image[..., ::-1])
    resized = ResizeLongestSide(model.image_encoder.img_size).apply_image(image)
    pixels = torch.as_tensor(resized, device=model.device).permute(2, 0, 1).contiguous()
    prepared: Tensor = model.preprocess(pixels[None])
    return prepared


class Layer(NamedTuple):
    """A block's parts; `window` is 0 where it attends to all tokens."""

    norm1: nn.Module
    qkv: Linear
    projection: Linear
    norm2: nn.Module
    widen: Linear
    activation: nn.Module
    narrow: Linear
    positions: Positions | None
    heads: int
    scale: float
    window: int
    fused: bool


class ImageEncoder:
    """Runs a `segment_anything` ImageEncoderViT of any size, with that module's own weights.

    Args:
        module: the encoder, on its device. It has to stay there: its relative positions are looked up here, once.
        precision: of products and attention. The sum over the blocks, norms, patch embedding and neck stay float32.
        compiled: with `torch.compile`.

    Raises:
        InputError: float16 without a CUDA device.
    """

    def __init__(self, module: ImageEncoderViT, *, precision: Precision = "float32", compiled: bool = False) -> None:
        device = next(module.parameters()).device
        check_precision(precision, device.type)
        self._module = module
        self._dtype: torch.dtype = getattr(torch, precision)
        self._on_gpu = device.type == "cuda"
        with torch.no_grad():
            self._positions = [positions_of(block.attn, _side(block, module)) for block in module.blocks]
        self._windows, self._keys_values, self._rows = _windows, _keys_values, _rows
        if compiled:
            self._windows = torch.compile(_windows)
            self._keys_values = torch.compile(_keys_values)
            self._rows = torch.compile(_rows)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Pictures (b, 3, s, s) as of `prepare` -> embeddings (b, c, s / 16, s / 16), float32.

        A GPU takes all of them together; a processor one after the other, which is as fast there and takes less memory.
        """
        return torch.cat([self._encode(part, []) for part in self._parts(pixels)])

    @torch.no_grad()
    def see(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and what comes out of the first block with global attention: (b, width, s / 16, s / 16)."""
        after: list[Tensor] = []
        first = next(number for number, block in enumerate(self._module.blocks) if not block.window_size)
        embeddings = [self._encode(part, after, tapped=first) for part in self._parts(pixels)]
        return torch.cat(embeddings), torch.cat(after)

    def _parts(self, pixels: Tensor) -> Sequence[Tensor]:
        return [pixels] if self._on_gpu else torch.split(pixels, 1)

    def _encode(self, pixels: Tensor, after: list[Tensor], *, tapped: int | None = None) -> Tensor:
        """The embeddings; what comes out of the block `tapped` is put into `after`."""
        module = self._module
        x: Tensor = module.patch_embed(pixels).contiguous()  # (b, h, w, c); every block changes it in place
        if module.pos_embed is not None:
            x += module.pos_embed
        for number, (block, positions) in enumerate(zip(module.blocks, self._positions, strict=True)):
            layer = _layer(block, positions, self._dtype, self._on_gpu)
            if layer.window:
                self._window_block(x, layer)
            else:
                self._global_block(x, layer)
            if number == tapped:
                after.append(x.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format))
        embedding: Tensor = module.neck(x.permute(0, 3, 1, 2))
        return embedding

    def _window_block(self, x: Tensor, layer: Layer) -> None:
        for _, rows in _steps(x, x.shape[1] if self._on_gpu else layer.window):
            rows.copy_(self._windows(rows, layer))

    def _global_block(self, x: Tensor, layer: Layer) -> None:
        step = x.shape[1] if self._on_gpu else _ROWS
        tokens = x.shape[1] * x.shape[2]
        kv = x.new_empty((2, len(x), layer.heads, tokens, x.shape[3] // layer.heads), dtype=self._dtype)
        for first, rows in _steps(x, step):
            of_rows = slice(first * x.shape[2], (first + step) * x.shape[2])
            kv[:, :, :, of_rows] = self._keys_values(rows, layer)
        for first, rows in _steps(x, step):
            shown = layer.positions
            if shown is not None:
                shown = shown._replace(rows=shown.rows[first : first + step])
            rows.copy_(self._rows(rows, kv, layer._replace(positions=shown)))


def _side(block: Block, module: ImageEncoderViT) -> tuple[int, int]:
    """Rows and columns of the tokens that a block attends to at a time."""
    if block.window_size:
        return block.window_size, block.window_size
    side: int = module.img_size // module.patch_embed.proj.stride[0]
    return side, side


def _layer(block: Block, positions: Positions | None, dtype: torch.dtype, fused: bool) -> Layer:
    """Weights of another precision are made for one block at a time: casting is 1 % of its work."""

    def cast(linear: nn.Linear) -> Linear:
        return linear.weight.to(dtype), None if linear.bias is None else linear.bias.to(dtype)

    return Layer(
        norm1=block.norm1,
        qkv=cast(block.attn.qkv),
        projection=cast(block.attn.proj),
        norm2=block.norm2,
        widen=cast(block.mlp.lin1),
        activation=block.mlp.act,
        narrow=cast(block.mlp.lin2),
        positions=positions,
        heads=block.attn.num_heads,
        scale=block.attn.scale,
        window=block.window_size,
        fused=fused,
    )


def _steps(x: Tensor, rows: int) -> Iterator[tuple[int, Tensor]]:
    """Views of `rows` rows of tokens, each with its first row's number."""
    return ((first, x[:, first : first + rows]) for first in range(0, x.shape[1], rows))


def _windows(x: Tensor, layer: Layer) -> Tensor:
    """A block's result for rows of windows (b, rows, w, c).

    The official padding lies behind the norm, so that padded tokens have the bias as query, key and value.
    """
    (count, rows, columns, width), side = x.shape, layer.window
    down, across = -(-rows // side), -(-columns // side)
    qkv = _linear(layer.norm1(x), layer.qkv)
    if (down * side, across * side) != (rows, columns):
        padding = torch.zeros_like(qkv[0, 0, 0]) if layer.qkv[1] is None else layer.qkv[1]
        padded = padding.repeat(count, down * side, across * side, 1)
        padded[:, :rows, :columns] = qkv
        qkv = padded
    qkv = qkv.view(count, down, side, across, side, 3, layer.heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
    q, k, v = qkv.reshape(3, count * down * across, layer.heads, side, side, -1)
    attended = _attend(q, k.flatten(2, 3), v.flatten(2, 3), layer)
    attended = attended.view(count, down, across, layer.heads, side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
    attended = attended.reshape(count, down * side, across * side, width)[:, :rows, :columns]
    return _finish(x, attended, layer)


def _keys_values(x: Tensor, layer: Layer) -> Tensor:
    """Keys and values (2, b, heads, tokens, d) of rows of tokens (b, rows, w, c)."""
    weight, bias = layer.qkv
    width = x.shape[-1]
    kv = _linear(layer.norm1(x), (weight[width:], None if bias is None else bias[width:]))
    return kv.view(len(x), -1, 2, layer.heads, width // layer.heads).permute(2, 0, 3, 1, 4)


def _rows(x: Tensor, kv: Tensor, layer: Layer) -> Tensor:
    """A block's result for rows of tokens (b, rows, w, c) that attend to all tokens."""
    weight, bias = layer.qkv
    width = x.shape[-1]
    q = _linear(layer.norm1(x), (weight[:width], None if bias is None else bias[:width]))
    q = q.view(*q.shape[:3], layer.heads, -1).permute(0, 3, 1, 2, 4)
    attended = _attend(q, kv[0], kv[1], layer).permute(0, 2, 3, 1, 4).flatten(3)
    return _finish(x, attended, layer)


def _attend(q: Tensor, k: Tensor, v: Tensor, layer: Layer) -> Tensor:
    attend = attend_folded if layer.fused else attend_in_strips
    return attend(q, k, v, layer.positions, layer.scale)


def _finish(x: Tensor, attended: Tensor, layer: Layer) -> Tensor:
    """What comes after attention: projection and perceptron, each added to what went in."""
    x = x + _linear(attended, layer.projection)
    return x + _linear(layer.activation(_linear(layer.norm2(x), layer.widen)), layer.narrow)


def _linear(x: Tensor, linear: Linear) -> Tensor:
    weight, bias = linear
    return functional.linear(x.to(weight.dtype), weight, bias)
