"""What published networks compute, written out from their authors' definitions, for weights by their published names.

Each function takes weights and images (b, 3, s, s) and gives tokens (b, n, d) or features (b, d), in float64.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

State = dict[str, Tensor]


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> State:
    """Random weights of order one, so that every part of a formula matters.

    All are multiples of 1/1024: so are sums of two, in float32, too.
    """
    generator = torch.Generator().manual_seed(seed)
    values = {name: 0.3 * torch.randn(shape, generator=generator).double() for name, shape in shapes.items()}
    return {name: torch.round((value + _centre(name, value)) * 1024) / 1024 for name, value in values.items()}


def _centre(name: str, value: Tensor) -> float:
    return 1.0 if value.ndim == 1 and name.endswith((".weight", "lambda1", "gamma")) else 0.0


def linear(w: State, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def normed(w: State, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def mixed(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention, head by head: (b, n, d) each -> (b, n, d)."""
    size = q.shape[2] // heads
    parts = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size), dim=2)
        parts.append(scores @ v[..., part])
    return torch.cat(parts, dim=2)


def tiles(images: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return conv2d(images, kernel, bias, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)


def transformers_vit(w: State, images: Tensor, heads: int) -> Tensor:
    """transformers' ViTModel: `last_hidden_state`."""
    kernel, bias = (w[f"embeddings.patch_embeddings.projection.{kind}"] for kind in ("weight", "bias"))
    patches = tiles(images, kernel, bias)
    x = torch.cat([w["embeddings.cls_token"].expand(len(images), -1, -1), patches], dim=1)
    x = x + w["embeddings.position_embeddings"]
    for layer in blocks(w, "encoder.layer."):
        before = normed(w, f"{layer}.layernorm_before", x)
        q, k, v = (linear(w, f"{layer}.attention.attention.{part}", before) for part in ("query", "key", "value"))
        x = x + linear(w, f"{layer}.attention.output.dense", mixed(q, k, v, heads))
        inner = gelu(linear(w, f"{layer}.intermediate.dense", normed(w, f"{layer}.layernorm_after", x)))
        x = x + linear(w, f"{layer}.output.dense", inner)
    return normed(w, "layernorm", x)


def transformers_dinov2(w: State, images: Tensor, heads: int) -> Tensor:
    """transformers' Dinov2Model, or Dinov2WithRegistersModel: `last_hidden_state`."""
    kernel = w["embeddings.patch_embeddings.projection.weight"]
    patches = tiles(images, kernel, w["embeddings.patch_embeddings.projection.bias"])
    x = torch.cat([w["embeddings.cls_token"].expand(len(images), -1, -1), patches], dim=1)
    places = w["embeddings.position_embeddings"]
    if places.shape[1] != x.shape[1]:
        old, new = math.isqrt(places.shape[1] - 1), images.shape[-1] // kernel.shape[-1]
        square = places[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
        grid = interpolate(square.float(), size=(new, new), mode="bicubic", align_corners=False).double()
        places = torch.cat([places[:, :1], grid.permute(0, 2, 3, 1).reshape(1, new * new, -1)], dim=1)
    x = x + places
    if (registers := w.get("embeddings.register_tokens")) is not None:
        x = torch.cat([x[:, :1], registers.expand(len(images), -1, -1), x[:, 1:]], dim=1)
    for layer in blocks(w, "encoder.layer."):
        before = normed(w, f"{layer}.norm1", x)
        q, k, v = (linear(w, f"{layer}.attention.attention.{part}", before) for part in ("query", "key", "value"))
        attended = linear(w, f"{layer}.attention.output.dense", mixed(q, k, v, heads))
        x = x + attended * w[f"{layer}.layer_scale1.lambda1"]
        before = normed(w, f"{layer}.norm2", x)
        if f"{layer}.mlp.weights_in.weight" in w:
            first, second = linear(w, f"{layer}.mlp.weights_in", before).chunk(2, dim=-1)
            inner = linear(w, f"{layer}.mlp.weights_out", silu(first) * second)
        else:
            inner = linear(w, f"{layer}.mlp.fc2", gelu(linear(w, f"{layer}.mlp.fc1", before)))
        x = x + inner * w[f"{layer}.layer_scale2.lambda1"]
    return normed(w, "layernorm", x)


def meta_vit(w: State, images: Tensor, heads: int) -> Tensor:
    """DINO's and DINOv2's own networks, normed tokens; places on another grid as DINO has them."""
    kernel = w["patch_embed.proj.weight"]
    patches = tiles(images, kernel, w["patch_embed.proj.bias"])
    x = torch.cat([w["cls_token"].expand(len(images), -1, -1), patches], dim=1)
    places = w["pos_embed"]
    if places.shape[1] != x.shape[1]:
        old = math.isqrt(places.shape[1] - 1)
        factor = (images.shape[-1] // kernel.shape[-1] + 0.1) / math.sqrt(places.shape[1] - 1)
        square = places[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
        grid = interpolate(square.float(), scale_factor=(factor, factor), mode="bicubic").double()
        places = torch.cat([places[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
    x = x + places
    if (registers := w.get("register_tokens")) is not None:
        x = torch.cat([x[:, :1], registers.expand(len(images), -1, -1), x[:, 1:]], dim=1)
    for block in blocks(w, "blocks."):
        q, k, v = linear(w, f"{block}.attn.qkv", normed(w, f"{block}.norm1", x)).chunk(3, dim=2)
        x = x + linear(w, f"{block}.attn.proj", mixed(q, k, v, heads)) * w.get(f"{block}.ls1.gamma", 1)
        before = normed(w, f"{block}.norm2", x)
        if f"{block}.mlp.w12.weight" in w:
            first, second = linear(w, f"{block}.mlp.w12", before).chunk(2, dim=-1)
            inner = linear(w, f"{block}.mlp.w3", silu(first) * second)
        else:
            inner = linear(w, f"{block}.mlp.fc2", gelu(linear(w, f"{block}.mlp.fc1", before)))
        x = x + inner * w.get(f"{block}.ls2.gamma", 1)
    return normed(w, "norm", x)


def open_clip_image(w: State, images: Tensor, heads: int) -> Tensor:
    """open_clip's `encode_image` with a tower of OpenAI's form and exact GELU: (b, dim), not scaled to length one."""
    patches = tiles(images, w["visual.conv1.weight"], None)
    x = torch.cat([w["visual.class_embedding"].expand(len(images), 1, -1), patches], dim=1)
    x = normed(w, "visual.ln_pre", x + w["visual.positional_embedding"], 1e-5)
    for block in blocks(w, "visual.transformer.resblocks."):
        before = normed(w, f"{block}.ln_1", x, 1e-5)
        together = before @ w[f"{block}.attn.in_proj_weight"].T + w[f"{block}.attn.in_proj_bias"]
        x = x + linear(w, f"{block}.attn.out_proj", mixed(*together.chunk(3, dim=2), heads))
        inner = gelu(linear(w, f"{block}.mlp.c_fc", normed(w, f"{block}.ln_2", x, 1e-5)))
        x = x + linear(w, f"{block}.mlp.c_proj", inner)
    return normed(w, "visual.ln_post", x[:, 0], 1e-5) @ w["visual.proj"]


def blocks(w: State, beginning: str) -> list[str]:
    """The names of blocks, `beginning` and a number, in order."""
    numbers = {int(name.removeprefix(beginning).split(".")[0]) for name in w if name.startswith(beginning)}
    return [f"{beginning}{number}" for number in sorted(numbers)]
