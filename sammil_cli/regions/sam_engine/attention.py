"""Attention between a prompt's few tokens and a picture's many, with the official decoder's weights.

Shapes: p prompts of t tokens, n tokens of the picture, d channels, h heads of c channels each.
"""

from typing import Any

import torch
from torch import Tensor


class CrossAttention:
    """One cross attention of the official decoder, either way round, its weights laid out by head."""

    def __init__(self, module: Any) -> None:
        self._module, self._heads = module, int(module.num_heads)
        self._q, self._k, self._v = (self._by_head(p.weight) for p in (module.q_proj, module.k_proj, module.v_proj))
        self._v_bias: Tensor = module.v_proj.bias.view(self._heads, 1, -1)
        self._out = self._by_head(module.out_proj.weight.T)
        self._out_bias: Tensor = module.out_proj.bias

    def shared_q(self, tokens: Tensor) -> Tensor:
        """Picture tokens (n, d) as queries (h, c, n)."""
        return self._channels_first(self._module.q_proj(tokens))

    def shared_k(self, tokens: Tensor) -> Tensor:
        """Picture tokens (n, d) as keys (h, c, n). A bias would add the same to all of them, which softmax drops."""
        return self._channels_first(tokens @ self._module.k_proj.weight.T)

    def shared_v(self, tokens: Tensor) -> Tensor:
        """Picture tokens (n, d) as values (h, n, c)."""
        return self._channels_first(self._module.v_proj(tokens)).transpose(1, 2).contiguous()

    def read_shared(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Prompt tokens (p, t, d) look at a picture that they share, see `shared_k` and `shared_v` -> (p, t, d)."""
        weights = self._scores(self._split(self._module.q_proj(queries)), keys).softmax(-1)
        prompts, heads, count, _ = weights.shape
        read = torch.bmm(weights.transpose(0, 1).reshape(heads, prompts * count, -1), values)
        return self._join(read.view(heads, prompts, count, -1).transpose(0, 1))

    def read(self, queries: Tensor, tokens: Tensor, place_k: Tensor) -> Tensor:
        """Prompt tokens (p, t, d) look at their own picture (p, n, d), to whose keys its place adds (h, c, n)."""
        q = self._split(self._module.q_proj(queries))
        folded = (q @ self._k).flatten(1, 2)  # (p, h t, d)
        scores = torch.baddbmm(self._scores(q, place_k).flatten(1, 2), folded, tokens.transpose(1, 2))
        read = torch.bmm(scores.softmax(-1), tokens).view(*q.shape[:3], -1)  # (p, h, t, d)
        return self._join(read @ self._v.transpose(1, 2) + self._v_bias)

    def write(self, prompts: Tensor, values: Tensor, tokens: Tensor, shared_q: Tensor, *, first: bool) -> Tensor:
        """Picture tokens (p, n, d) plus what they read from prompt tokens (p, t, d).

        Args:
            prompts, values: keys and values are made from.
            shared_q: queries (h, c, n), see `shared_q`: whole ones when `first`, else those of the place only.
        """
        k = self._split(self._module.k_proj(prompts))
        scores = self._scores(k, shared_q)
        if not first:
            folded = (k @ self._q).flatten(1, 2)
            scores = torch.baddbmm(scores.flatten(1, 2), folded, tokens.transpose(1, 2)).view(scores.shape)
        weights = scores.softmax(2).flatten(1, 2)  # (p, h t, n)
        v = self._split(self._module.v_proj(values), scaled=False)
        # In each head the weights of a picture's token sum to 1, so each head brings its share of the bias.
        written = (v @ self._out + self._out_bias / self._heads).flatten(1, 2)
        return torch.baddbmm(tokens, weights.transpose(1, 2), written)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(h c, d) -> (h, c, d)."""
        return weight.reshape(self._heads, -1, weight.shape[1])

    def _split(self, x: Tensor, *, scaled: bool = True) -> Tensor:
        """(p, t, h c) -> (p, h, t, c), divided by √c as scores are."""
        heads = x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)
        return heads * heads.shape[-1] ** -0.5 if scaled else heads

    def _join(self, heads: Tensor) -> Tensor:
        """(p, h, t, c) -> the output (p, t, d)."""
        joined: Tensor = self._module.out_proj(heads.transpose(1, 2).flatten(2))
        return joined

    def _channels_first(self, x: Tensor) -> Tensor:
        """(n, h c) -> (h, c, n)."""
        return x.T.reshape(self._heads, -1, len(x)).contiguous()

    def _scores(self, few: Tensor, shared: Tensor) -> Tensor:
        """(p, h, t, c) against (h, c, n) -> (p, h, t, n)."""
        prompts, heads, count, channels = few.shape
        scores = torch.bmm(few.transpose(0, 1).reshape(heads, prompts * count, channels), shared)
        return scores.view(heads, prompts, count, -1).transpose(0, 1)
