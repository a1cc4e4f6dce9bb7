"""SAM's mask decoder for many points of one picture: the official weights and equations, ordered to do less.

The official decoder copies the picture's n = 4096 tokens for each prompt and projects the copies. Here, with the same
result up to rounding:

- what the first layer computes from the picture alone is computed once per picture, not once per prompt;
- projections of the picture's tokens are moved to the other side: q · (W x) = (Wᵀ q) · x, and a prompt has 7 tokens
  where the picture has 4096, so a layer multiplies with 7 x 8 heads = 56 columns instead of 128 twice;
- the upscaling convolutions do not overlap, so they are matrix products of tokens, without any transposition;
- masks that the decoder itself rates too low are never drawn, nor is the fourth one, which automatic masks do not use.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from sammil_cli.backends.backend import Precision
from sammil_cli.regions.sam_engine.attention import CrossAttention


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What all prompts of one picture share: tokens (n, d); first layer's k (h, c, n), v (h, n, c), q (h, c, n)."""

    tokens: Tensor
    first_k: Tensor
    first_v: Tensor
    first_q: Tensor


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What becomes of p prompts: ratings (p, 3), and what the masks are drawn from: (p, 3, c) and (p, n, d)."""

    predicted_iou: Tensor
    hyper: Tensor
    tokens: Tensor


class Transformer:
    """The decoder's two-way transformer, for prompts that share a picture; t tokens each."""

    def __init__(self, model: Sam, precision: Precision) -> None:
        self.dtype: torch.dtype = getattr(torch, precision)
        decoder = model.mask_decoder
        self.decoder: Any = decoder if precision == "float32" else deepcopy(decoder).to(self.dtype)
        self._no_mask: Tensor = model.prompt_encoder.no_mask_embed.weight
        transformer = self.decoder.transformer
        self._norm = transformer.norm_final_attn
        self._layers = list(transformer.layers)
        self._readers = [CrossAttention(layer.cross_attn_token_to_image) for layer in self._layers]
        self._writers = [CrossAttention(layer.cross_attn_image_to_token) for layer in self._layers]
        self._last_reader = CrossAttention(transformer.final_attn_token_to_image)
        with torch.no_grad():
            self._place: Tensor = model.prompt_encoder.get_dense_pe()[0].flatten(1).T.to(self.dtype)  # (n, d)
            self._place_k = [reader.shared_k(self._place) for reader in self._readers]
            self._place_q = [writer.shared_q(self._place) for writer in self._writers]
            self._last_place_k = self._last_reader.shared_k(self._place)

    def look(self, embedding: Tensor) -> Picture:
        """What all prompts share of a picture's embedding (d, 64, 64)."""
        tokens = (embedding.flatten(1).T + self._no_mask).to(self.dtype)
        there = tokens + self._place
        return Picture(
            tokens=tokens,
            first_k=self._readers[0].shared_k(there),
            first_v=self._readers[0].shared_v(tokens),
            first_q=self._writers[0].shared_q(there),
        )

    def run(self, picture: Picture, place: Tensor) -> tuple[Tensor, Tensor]:
        """The prompts' tokens (p, t, d) -> what becomes of them, and of the picture's: (p, t, d) and (p, n, d)."""
        queries, tokens = place, picture.tokens.expand(len(place), -1, -1)
        for number, (layer, reader, writer) in enumerate(zip(self._layers, self._readers, self._writers, strict=True)):
            if number == 0:
                queries = layer.norm1(layer.self_attn(queries, queries, queries))
                read = reader.read_shared(queries + place, picture.first_k, picture.first_v)
            else:
                q = queries + place
                queries = layer.norm1(queries + layer.self_attn(q, q, queries))
                read = reader.read(queries + place, tokens, self._place_k[number])
            queries = layer.norm2(queries + read)
            queries = layer.norm3(queries + layer.mlp(queries))
            shared_q = self._place_q[number] if number else picture.first_q
            written = writer.write(queries + place, queries, tokens, shared_q, first=number == 0)
            tokens = layer.norm4(written)
        read = self._last_reader.read(queries + place, tokens, self._last_place_k)
        return self._norm(queries + read), tokens


class MaskDecoder:
    """The prompt encoder and mask decoder of a SAM model."""

    def __init__(self, model: Sam, precision: Precision) -> None:
        self._prompts = model.prompt_encoder
        self._transformer = Transformer(model, precision)
        self._decoder: Any = self._transformer.decoder
        with torch.no_grad():
            self._up = _Upscaling(self._decoder.output_upscaling)
            self._output_tokens = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])

    def look(self, embedding: Tensor) -> Picture:
        """What all prompts share of a picture's embedding (d, 64, 64)."""
        return self._transformer.look(embedding)

    def decode(self, picture: Picture, points: Tensor) -> Decoded:
        """Runs the decoder for points (p, 2): x, y in pixels of the model's input."""
        queries, tokens = self._transformer.run(picture, self._embed(points))
        masks = range(1, self._decoder.num_mask_tokens)  # 0 is the mask of unambiguous prompts
        hyper = torch.stack([self._decoder.output_hypernetworks_mlps[m](queries[:, 1 + m]) for m in masks], 1)
        rated = self._decoder.iou_prediction_head(queries[:, 0])[:, 1:]
        return Decoded(predicted_iou=rated.float(), hyper=hyper, tokens=tokens)

    def draw(self, decoded: Decoded, kept: Tensor) -> Tensor:
        """The logits (k, 256, 256) of the masks that `kept` (p, 3) names, in its order."""
        prompts = kept.any(1)
        if not prompts.all():
            prompts = prompts.nonzero()[:, 0]
            decoded = replace(decoded, tokens=decoded.tokens[prompts], hyper=decoded.hyper[prompts])
            kept = kept[prompts]
        return self._up(decoded.tokens, decoded.hyper)[kept].float()

    def _embed(self, points: Tensor) -> Tensor:
        """The tokens (p, 7, d) of p point prompts: rating, 4 masks, the point, and "no more points"."""
        coordinates = (points + 0.5)[:, None]
        point = self._prompts.pe_layer.forward_with_coords(coordinates, self._prompts.input_image_size)
        point = point + self._prompts.point_embeddings[1].weight
        none = self._prompts.not_a_point_embed.weight.expand(len(points), 1, -1)
        output = self._output_tokens.expand(len(points), -1, -1)
        return torch.cat([output, point.to(self._transformer.dtype), none.to(self._transformer.dtype)], 1)


class _Upscaling:
    """The decoder's two transposed convolutions (kernel 2, stride 2), as products of (…, channels) with matrices."""

    def __init__(self, layers: Any) -> None:
        first, self._norm, self._activation, second, _ = layers
        self._first, self._first_bias = _as_matrix(first)
        self._second, self._second_bias = _as_matrix(second)

    def __call__(self, tokens: Tensor, hyper: Tensor) -> Tensor:
        """Tokens (p, n, d) on a square grid and hyper (p, m, c) -> mask logits (p, m, 4 √n, 4 √n)."""
        prompts, count, _ = tokens.shape
        side, masks = round(count**0.5), hyper.shape[1]
        x = functional.linear(tokens, self._first, self._first_bias).view(prompts, count * 4, len(self._first) // 4)
        # LayerNorm2d is a layer norm over channels.
        x = functional.layer_norm(x, x.shape[-1:], self._norm.weight, self._norm.bias, self._norm.eps)
        x = functional.linear(self._activation(x), self._second, self._second_bias)
        x = x.view(prompts, count * 16, len(self._second) // 4)
        x = torch.bmm(self._activation(x), hyper.transpose(1, 2))
        x = x.view(prompts, side, side, 2, 2, 2, 2, masks)  # p, y, x, dy, dx, ddy, ddx, m
        return x.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(prompts, masks, 4 * side, 4 * side)


def _as_matrix(convolution: Any) -> tuple[Tensor, Tensor]:
    """A transposed convolution with kernel 2 and stride 2 as weight (4 out, in), rows dy, dx, channel, and bias."""
    weight = convolution.weight.permute(2, 3, 1, 0).reshape(-1, convolution.weight.shape[0])
    return weight.contiguous(), convolution.bias.repeat(4)
