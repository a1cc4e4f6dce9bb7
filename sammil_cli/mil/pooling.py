"""Attention pooling of many bags over one embedding: the fused operation behind SAM-MIL's training step.

The masked bag, the pseudo-bags and the consistency term all look at the same instances. So the instances are embedded
once, with one dropout draw, and every bag is a row of attention weights over them. Forward and backward go through
the instances block by block: what is kept is the embedding (N, h), its attention layer (N, a) and little else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sammil_cli.mil.byte_dropout import drop_, gate_, in_bytes

_BLOCK = {"cpu": 2048}  # rows that stay in a core's cache; an accelerator takes far more at once
_LARGE_BLOCK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class AttentionWeights:
    """The attention core (docs/methods.md §3): e = relu(W0 x + b0), score = w2 · relu(W1 e)."""

    embed: Tensor  # W0 (h, d)
    embed_bias: Tensor  # b0 (h,)
    hidden: Tensor  # W1 (a, h)
    score: Tensor  # w2 (1, a)


def pool(
    blocks: Sequence[Tensor], members: Tensor, weights: AttentionWeights, dropout: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pools every bag: its instances' embeddings, weighted by the softmax of their scores inside the bag.

    Gradients reach `weights` only: features are data. Products obey autocast, as torch's own do.

    Args:
        blocks: instances (N_i, d) of any float type; together N of them, in this order.
        members: (k, N) bool, the instances of each of k bags; no bag is empty.
        dropout: share of embedding values that are zeroed, in steps of 1/256 (0.25 is exact).

    Returns:
        (k, h) the pooled bags and (N,) the scores, both of the weights' type.
    """
    pooled, scores = _Pool.apply(  # type: ignore[no-untyped-call]
        tuple(blocks), members, (dropout, generator), weights.embed, weights.embed_bias, weights.hidden, weights.score
    )
    return pooled, scores


class _Pool(torch.autograd.Function):
    """See `pool`. Written out by hand: autograd would keep several (N, h) tensors and pass over each repeatedly."""

    @staticmethod
    def forward(
        ctx: Any,
        blocks: tuple[Tensor, ...],
        members: Tensor,
        drawing: tuple[float, torch.Generator],
        embed: Tensor,
        embed_bias: Tensor,
        hidden: Tensor,
        score: Tensor,
    ) -> tuple[Tensor, Tensor]:
        (dropout, generator), kind = drawing, _product_type(embed)
        count, device = members.shape[1], embed.device
        drop, scale = in_bytes(dropout)
        w0, b0 = (scale * embed).to(kind), (scale * embed_bias).to(kind)  # relu(s x) = s relu(x): scaled beforehand
        w1, w2 = hidden.to(kind), score[0]
        embedded = torch.empty(count, len(embed), dtype=kind, device=device)
        inner = torch.empty(count, len(hidden), dtype=kind, device=device)
        scores = torch.empty(count, dtype=embed.dtype, device=device)
        for rows, x in _rows(blocks, kind):
            e = torch.addmm(b0, x, w0.T, out=embedded[rows]).relu_()
            if drop:
                drop_(e, drop, generator)
            t = torch.mm(e, w1.T, out=inner[rows]).relu_()
            torch.mv(t.to(w2.dtype), w2, out=scores[rows])
        attention = torch.softmax(scores.masked_fill(~members, float("-inf")), dim=1)  # (k, N)
        pooled = (attention.to(kind) @ embedded).to(embed.dtype)
        ctx.blocks, ctx.kind, ctx.scale = blocks, kind, scale
        ctx.save_for_backward(embedded, inner, attention, pooled, hidden, score)
        return pooled, scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_pooled, d_scores_outer = gradients
        embedded, inner, attention, pooled, hidden, score = ctx.saved_tensors
        kind, exact = ctx.kind, hidden.dtype
        w1, w2 = hidden.to(kind), score[0]
        d_bags = d_pooled.to(kind)  # (k, h)
        # dL/da_kn = d_k · e_n; through the softmax: a_kn (dL/da_kn - d_k · pooled_k)
        centre = (d_pooled * pooled).sum(dim=1)
        d_embed = d_embed_bias = d_hidden = d_score = None
        for rows, x in _rows(ctx.blocks, kind):
            e, t, a = embedded[rows], inner[rows], attention[:, rows].T  # (b, h), (b, a), (b, k)
            d_scores = (a * ((e @ d_bags.T).to(exact) - centre)).sum(dim=1) + d_scores_outer[rows]
            d_t = gate_((d_scores[:, None] * w2).to(kind), t, 0)
            d_e = torch.mm(d_t, w1).addmm_(a.to(kind), d_bags)
            d_h = gate_(d_e, e, 0)  # e > 0 exactly where the relu was open and dropout kept the value
            d_embed = _add(d_embed, d_h.T, x, exact)
            d_embed_bias = _plus(d_embed_bias, d_h.sum(dim=0).to(exact))
            d_hidden = _add(d_hidden, d_t.T, e, exact)
            d_score = _plus(d_score, torch.mv(t.T.to(exact), d_scores))
        if d_embed is None or d_embed_bias is None or d_hidden is None or d_score is None:
            raise ValueError("a bag without instances has no gradient")
        return (None, None, None, d_embed * ctx.scale, d_embed_bias * ctx.scale, d_hidden, d_score[None])


def _rows(blocks: Sequence[Tensor], kind: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of instances in the products' type, and where they stand among all instances."""
    start = 0
    for block in blocks:
        for x in torch.split(block, _BLOCK.get(block.device.type, _LARGE_BLOCK)):
            # half -> bfloat16 has no fast path on the CPU; the way over float32 does.
            exact = x.float() if x.dtype == torch.float16 and kind == torch.bfloat16 else x
            yield slice(start, start + len(x)), exact.to(kind)
            start += len(x)


def _product_type(like: Tensor) -> torch.dtype:
    """The type of matrix products: autocast's where it is on."""
    device = like.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else like.dtype


def _add(total: Tensor | None, left: Tensor, right: Tensor, exact: torch.dtype) -> Tensor:
    """total + left @ right, summed over blocks in the weights' own type."""
    if total is None:
        return torch.mm(left, right).to(exact)
    return total.addmm_(left, right) if left.dtype == exact else total.add_(torch.mm(left, right))


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)
