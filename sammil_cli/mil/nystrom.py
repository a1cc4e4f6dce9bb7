"""Nyström attention: every token attends to every other one by way of landmarks, at linear cost.

Xiong et al. 2021, as TransMIL uses it (docs/methods.md §6): softmax(Q Kᵀ) V ≈ A1 Z A3 V with m landmarks Q̃, K̃ (means
of consecutive tokens), A1 = softmax(Q K̃ᵀ), A3 = softmax(Q̃ Kᵀ), Z ≈ the pseudo-inverse of A2 = softmax(Q̃ K̃ᵀ). We
multiply from the right, A1 (Z (A3 V)): the same product, and neither A1 nor A3 is ever held as a whole.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

LANDMARKS = 256
ITERATIONS = 6  # of the pseudo-inverse
TAPS = 33  # of the convolution over the values


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What the tokens of a bag look for and offer. h heads of e dimensions, m landmarks.

    The t tokens are the n given ones, with zeros before them, so that t is a multiple of m.
    """

    query: Tensor  # (h, t, e), or (h, 1, e) of the first given token
    key: Tensor  # (h, t, e)
    value: Tensor  # (h, t, e)
    query_marks: Tensor  # (h, m, e)
    key_marks: Tensor  # (h, m, e)
    inverse: Tensor  # (h, m, m), Z
    zeros: int  # t - n


class NystromAttention(nn.Module):
    """Self-attention of n tokens of `width` numbers, plus a convolution of the values along the tokens."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.res_conv = nn.Conv2d(heads, heads, (TAPS, 1), padding=(TAPS // 2, 0), groups=heads, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, width) -> (n, width)."""
        return self.mix(self.look(tokens))

    def look(self, tokens: Tensor, *, first_alone: bool = False) -> Looked:
        """Queries, keys, values and landmarks of (n, width) tokens.

        Args:
            first_alone: only the first token asks, which saves the queries of the others.
        """
        zeros = -len(tokens) % LANDMARKS
        padded = pad(tokens, (0, 0, zeros, 0))
        width = padded.shape[1]
        if first_alone:
            to_query, to_rest = self.to_qkv.weight[:width], self.to_qkv.weight[width:]
            # The mean of queries is the query of the mean.
            means = padded.view(LANDMARKS, -1, width).mean(dim=1)
            query, query_marks = (self._by_head(some @ to_query.T) for some in (tokens[:1], means))
            key, value = map(self._by_head, (padded @ to_rest.T).chunk(2, dim=1))
        else:
            query, key, value = map(self._by_head, self.to_qkv(padded).chunk(3, dim=1))
            query_marks = _marks(query)
        key_marks = _marks(key)
        return Looked(
            query=query,
            key=key,
            value=value,
            query_marks=query_marks,
            key_marks=key_marks,
            # Landmarks of nothing but the zeros before the tokens are all alike.
            inverse=pseudo_inverse(_softmax_of(query_marks, key_marks), alike=zeros * LANDMARKS // len(padded)),
            zeros=zeros,
        )

    def mix(self, looked: Looked) -> Tensor:
        """What every token takes up: (n, width)."""
        mixed = _attend(looked.query, looked) + self.res_conv(looked.value[None])[0]
        found: Tensor = self.to_out(mixed.transpose(0, 1).flatten(1)[looked.zeros :])
        return found

    def mix_first(self, looked: Looked) -> Tensor:
        """What the first token takes up: (width,)."""
        near = looked.value[:, looked.zeros : looked.zeros + TAPS // 2 + 1]  # what stands before it is zero
        taps = self.res_conv.weight[:, 0, TAPS // 2 :][:, : near.shape[1]].to(near.dtype)
        query = looked.query[:, looked.zeros :][:, :1] if looked.query.shape[1] > 1 else looked.query
        found: Tensor = self.to_out((_attend(query, looked)[:, 0] + (taps * near).sum(dim=1)).flatten())
        return found

    def weights_of_first(self, looked: Looked) -> Tensor:
        """The first token's row of A1 Z A3: (h, n). An approximation, so some weights may be negative."""
        query = looked.query[:, looked.zeros :][:, :1] if looked.query.shape[1] > 1 else looked.query
        to_marks = _softmax_of(query, looked.key_marks) @ looked.inverse  # (h, 1, m)
        rows = [
            (to_marks[head] @ _softmax_of(looked.query_marks[head], looked.key[head]))[0] for head in range(self.heads)
        ]  # A3 head by head: all of them at once are (h, m, t)
        return torch.stack(rows)[:, looked.zeros :]

    def parts_of_first(self, looked: Looked, weights: Tensor, directions: Tensor) -> Tensor:
        """How much of what the first token takes up each token brings, along C directions: (n, C).

        Args:
            weights: (h, n) of `weights_of_first`. directions: (C, width).
        """
        wanted = (directions @ self.to_out.get_parameter("0.weight")).view(len(directions), self.heads, -1)
        along = torch.einsum("hne,che->hnc", looked.value[:, looked.zeros :].to(wanted.dtype), wanted)
        return (weights[:, :, None] * along).sum(dim=0)

    def _by_head(self, numbers: Tensor) -> Tensor:
        """(t, width) -> (h, t, e)."""
        return numbers.view(len(numbers), self.heads, -1).transpose(0, 1)


def pseudo_inverse(matrices: Tensor, alike: int = 0) -> Tensor:
    """Z ≈ the Moore-Penrose inverse of each of (h, m, m) row-stochastic matrices; never in half precision.

    One start for all heads: Z0 = Aᵀ / (largest row sum · largest column sum), the maxima over all heads.

    Args:
        alike: how many of the first rows are the same; as many of the first columns are, too. In an orthonormal basis
            whose first vector is their mean direction, A and every Z are 0 wherever they differ: one row and column
            stand for all, which makes the products of small bags small.
    """
    with torch.autocast(matrices.device.type, enabled=False):
        rows, columns = (matrices.abs().sum(dim=dim).max() for dim in (-1, -2))
        most = max(alike, 1)
        scale = matrices.new_ones(matrices.shape[-1] - most + 1)
        scale[0] = most**0.5
        scales = scale[:, None] * scale
        small = matrices[:, most - 1 :, most - 1 :] * scales
        identity = torch.eye(len(scale), dtype=matrices.dtype, device=matrices.device)
        found = small.transpose(-1, -2) / (rows * columns)
        for _ in range(ITERATIONS):
            product = small @ found
            inner = 15 * identity - product @ (7 * identity - product)
            found = 0.25 * (found @ (13 * identity - product @ inner))
        found = found / scales
        found = torch.cat([found[:, :1].expand(-1, most - 1, -1), found], dim=1)
        return torch.cat([found[:, :, :1].expand(-1, -1, most - 1), found], dim=2)


def _marks(numbers: Tensor) -> Tensor:
    """Landmarks, the means of consecutive tokens: (h, t, e) -> (h, m, e)."""
    heads, _, size = numbers.shape
    return numbers.reshape(heads, LANDMARKS, -1, size).mean(dim=2)


def _softmax_of(query: Tensor, key: Tensor) -> Tensor:
    """softmax(q kᵀ / √e), in single precision at least."""
    query, key = (one if one.dtype == torch.float64 else one.float() for one in (query, key))
    with torch.autocast(query.device.type, enabled=False):
        return torch.softmax(query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2), dim=-1)


def _attend(query: Tensor, looked: Looked) -> Tensor:
    """A1 (Z (A3 V)) of some queries: (h, q, e) -> (h, q, e)."""
    gathered = scaled_dot_product_attention(looked.query_marks[None], looked.key[None], looked.value[None])
    with torch.autocast(query.device.type, enabled=False):
        inverted = looked.inverse @ gathered.to(looked.inverse.dtype)
    return scaled_dot_product_attention(query[None], looked.key_marks[None], inverted.to(query.dtype))[0]
