"""MobileSAM as it is published, written down without the code that loads it: its names, its shapes, its equations.

After TinyViT (Wu et al., ECCV 2022, arXiv:2207.10666) with 64, 128, 160 and 320 channels, whose last stage keeps its
resolution, and the neck of SAM's image encoder.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
HEAD = ("norm_head.", "head.")  # in the file, and in no equation
_COUNT = ".num_batches_tracked"


def _convolution(name: str, inner: int, outer: int, side: int, groups: int = 1) -> Shapes:
    yield f"{name}.c.weight", (outer, inner // groups, side, side)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (outer,)
    yield f"{name}.bn{_COUNT}", ()


def _linear(name: str, inner: int, outer: int) -> Shapes:
    yield from ((f"{name}.weight", (outer, inner)), (f"{name}.bias", (outer,)))


def _norm(name: str, width: int) -> Shapes:
    yield from ((f"{name}.weight", (width,)), (f"{name}.bias", (width,)))


def encoder_shapes() -> Shapes:
    """Every tensor of the published image encoder."""
    yield from _convolution("patch_embed.seq.0", 3, 32, 3)
    yield from _convolution("patch_embed.seq.2", 32, 64, 3)
    for block in range(DEPTHS[0]):
        at = f"layers.0.blocks.{block}"
        yield from _convolution(f"{at}.conv1", 64, 256, 1)
        yield from _convolution(f"{at}.conv2", 256, 256, 3, groups=256)
        yield from _convolution(f"{at}.conv3", 256, 64, 1)
    for layer, (inner, outer) in enumerate(pairwise(WIDTHS)):
        at = f"layers.{layer}.downsample"
        yield from _convolution(f"{at}.conv1", inner, outer, 1)
        yield from _convolution(f"{at}.conv2", outer, outer, 3, groups=outer)
        yield from _convolution(f"{at}.conv3", outer, outer, 1)
    for layer in (1, 2, 3):
        width = WIDTHS[layer]
        for block in range(DEPTHS[layer]):
            at = f"layers.{layer}.blocks.{block}"
            yield f"{at}.attn.attention_biases", (HEADS[layer], WINDOWS[layer] ** 2)
            yield from _norm(f"{at}.attn.norm", width)
            yield from _linear(f"{at}.attn.qkv", width, 3 * width)
            yield from _linear(f"{at}.attn.proj", width, width)
            yield from _norm(f"{at}.mlp.norm", width)
            yield from _linear(f"{at}.mlp.fc1", width, 4 * width)
            yield from _linear(f"{at}.mlp.fc2", 4 * width, width)
            yield from _convolution(f"{at}.local_conv", width, width, 3, groups=width)
    yield from _norm("norm_head", 320)
    yield from _linear("head", 320, 1000)
    yield "neck.0.weight", (256, 320, 1, 1)
    yield from _norm("neck.1", 256)
    yield "neck.2.weight", (256, 256, 3, 3)
    yield from _norm("neck.3", 256)


def published_state() -> State:
    """The whole checkpoint with random tensors, of a size at which each of them counts; the same every time."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}
    for name, shape in encoder_shapes():
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1 and "attention_biases" not in name:
            value *= (2 / value[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            value = 0.5 + value.abs()
        elif name.endswith(("norm.weight", "bn.weight")):
            value = 1 + 0.1 * value
        state[f"image_encoder.{name}"] = torch.tensor(7) if name.endswith(_COUNT) else value
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prompts = PromptEncoder(
            embed_dim=256, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=16
        )
        decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
            transformer_dim=256,
        )
    for name, module in (("prompt_encoder", prompts), ("mask_decoder", decoder)):
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    return state


@cache
def _pairs(side: int) -> Tensor:
    """The number of each pair's bias, for the tokens of a window, row by row."""
    tokens = [(y, x) for y in range(side) for x in range(side)]
    return torch.tensor([[abs(y - v) * side + abs(x - u) for v, u in tokens] for y, x in tokens])


def embed(state: State, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (b, 3, s, s) -> embeddings (b, 256, s / 16, s / 16), output of layer 1 (b, 160, …)."""
    w = {name.removeprefix("image_encoder."): value for name, value in state.items()}

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel, bn = w[f"{name}.c.weight"], f"{name}.bn"
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        mean, variance = (w[f"{bn}.running_{part}"][:, None, None] for part in ("mean", "var"))
        scale, shift = (w[f"{bn}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def three(x: Tensor, at: str, stride: int) -> Tensor:
        x = functional.gelu(convolve(x, f"{at}.conv1"))
        x = functional.gelu(convolve(x, f"{at}.conv2", stride, groups=x.shape[1]))
        return convolve(x, f"{at}.conv3")

    def normalise(x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        """Over channels, the last dimension."""
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def multiply(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def attend(window: Tensor, at: str, heads: int) -> Tensor:
        """One window (side, side, c); a pair's bias goes by its distance, down and across."""
        side, _, width = window.shape
        qkv = multiply(normalise(window.reshape(side * side, width), f"{at}.norm"), f"{at}.qkv")
        table = w[f"{at}.attention_biases"]
        pair = _pairs(side)
        mixed = []
        for head, of_head in enumerate(qkv.chunk(heads, 1)):  # each head has its own q, k, v, one after the other
            q, k, v = of_head.chunk(3, 1)
            scores = q @ k.T / q.shape[1] ** 0.5 + table[head][pair]
            mixed.append(scores.softmax(1) @ v)
        return multiply(torch.cat(mixed, 1), f"{at}.proj").view(side, side, width)

    def block(x: Tensor, at: str, side: int, heads: int) -> Tensor:
        """(b, c, h, w); below and to the right windows are filled up with zeros."""
        x = x.permute(0, 2, 3, 1)
        rows, columns = x.shape[1:3]
        padded = functional.pad(x, (0, 0, 0, -columns % side, 0, -rows % side))
        attended = torch.zeros_like(padded)
        for picture in range(len(x)):
            for top in range(0, rows, side):
                for left in range(0, columns, side):
                    window = padded[picture, top : top + side, left : left + side]
                    attended[picture, top : top + side, left : left + side] = attend(window, f"{at}.attn", heads)
        x = x + attended[:, :rows, :columns]
        x = convolve(x.permute(0, 3, 1, 2), f"{at}.local_conv", groups=x.shape[3]).permute(0, 2, 3, 1)
        wide = functional.gelu(multiply(normalise(x, f"{at}.mlp.norm"), f"{at}.mlp.fc1"))
        return (x + multiply(wide, f"{at}.mlp.fc2")).permute(0, 3, 1, 2)

    x = convolve(functional.gelu(convolve(pixels, "patch_embed.seq.0", 2)), "patch_embed.seq.2", 2)
    for number in range(DEPTHS[0]):
        x = functional.gelu(x + three(x, f"layers.0.blocks.{number}", 1))
    x = three(x, "layers.0.downsample", 2)
    early = x
    for layer in (1, 2, 3):
        for number in range(DEPTHS[layer]):
            x = block(x, f"layers.{layer}.blocks.{number}", WINDOWS[layer], HEADS[layer])
        if layer < 3:
            x = three(x, f"layers.{layer}.downsample", 2 if layer == 1 else 1)
        early = x if layer == 1 else early
    x = functional.conv2d(x, w["neck.0.weight"]).permute(0, 2, 3, 1)
    x = normalise(x, "neck.1", 1e-6).permute(0, 3, 1, 2)
    x = functional.conv2d(x, w["neck.2.weight"], padding=1).permute(0, 2, 3, 1)
    return normalise(x, "neck.3", 1e-6).permute(0, 3, 1, 2), early
