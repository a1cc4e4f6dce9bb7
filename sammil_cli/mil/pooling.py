"""Attention pooling of many bags over one embedding: the fused operation behind the training step of AB-MIL's kin.

Whatever bags a step makes of a slide (SAM-MIL's masked bag and pseudo-bags, or the slide itself), they look at the same
instances. So the instances are embedded once, with one dropout draw, and every bag is a row of attention weights over
them. Forward and backward go through the instances block by block: what is kept is the embedding (N, h), its attention
layer (N, a; twice that where it is gated) and little else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from sammil_cli.mil.byte_dropout import drop_, gate_, in_bytes

_BLOCK = {"cpu": 2048}  # rows that stay in a core's cache; an accelerator takes far more at once
_LARGE_BLOCK = 1 << 18

Activation = Literal["relu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class AttentionWeights:
    """Attention over embedded instances (docs/methods.md §3), e = relu(W0 x + b0).

    score = w · f(V e + v), gated w · (f(V e + v) ⊙ sigmoid(U e + u)); f is `activation`. A bias of the score would
    change no attention, so there is none.
    """

    embed: Tensor  # W0 (h, d)
    embed_bias: Tensor  # b0 (h,)
    hidden: Tensor  # V (a, h)
    score: Tensor  # w (1, a)
    hidden_bias: Tensor | None = None  # v (a,)
    gate: Tensor | None = None  # U (a, h)
    gate_bias: Tensor | None = None  # u (a,), where there are v and U
    activation: Activation = "relu"


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
    hidden, bias = _stacked(weights)
    plan = _Plan(tuple(blocks), members, dropout, generator, weights.activation, weights.gate is not None)
    pooled, scores = _Pool.apply(  # type: ignore[no-untyped-call]
        plan, weights.embed, weights.embed_bias, hidden, bias, weights.score
    )
    return pooled, scores


def _stacked(weights: AttentionWeights) -> tuple[Tensor, Tensor | None]:
    """V and its bias; V above U, and their biases, where there is a gate: one product for both."""
    hidden, bias, gate, gate_bias = weights.hidden, weights.hidden_bias, weights.gate, weights.gate_bias
    if gate is None:
        return hidden, bias
    if bias is None and gate_bias is None:
        return torch.cat([hidden, gate]), None
    if bias is None or gate_bias is None:
        raise ValueError("either both V and U have a bias, or neither has one")
    return torch.cat([hidden, gate]), torch.cat([bias, gate_bias])


@dataclass(frozen=True)
class _Plan:
    """What `pool` is asked for, without what gets a gradient."""

    blocks: tuple[Tensor, ...]
    members: Tensor
    dropout: float
    generator: torch.Generator
    activation: Activation
    gated: bool


class _Pool(torch.autograd.Function):
    """See `pool`. Written out by hand: autograd would keep several (N, h) tensors and pass over each repeatedly."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, embed: Tensor, embed_bias: Tensor, hidden: Tensor, bias: Tensor | None, score: Tensor
    ) -> tuple[Tensor, Tensor]:
        kind, members = _product_type(embed), plan.members
        count, device = members.shape[1], embed.device
        drop, scale = in_bytes(plan.dropout)
        w0, b0 = (scale * embed).to(kind), (scale * embed_bias).to(kind)  # relu(s x) = s relu(x): scaled beforehand
        w1, b1, w2 = hidden.to(kind), None if bias is None else bias.to(kind), score[0]
        embedded = torch.empty(count, len(embed), dtype=kind, device=device)
        inner = torch.empty(count, len(hidden), dtype=kind, device=device)
        scores = torch.empty(count, dtype=embed.dtype, device=device)
        for rows, x in _rows(plan.blocks, kind):
            e = torch.addmm(b0, x, w0.T, out=embedded[rows]).relu_()
            if drop:
                drop_(e, drop, plan.generator)
            t = torch.mm(e, w1.T, out=inner[rows]) if b1 is None else torch.addmm(b1, e, w1.T, out=inner[rows])
            torch.mv(_activate(t, plan).to(w2.dtype), w2, out=scores[rows])
        attention = torch.softmax(scores.masked_fill(~members, float("-inf")), dim=1)  # (k, N)
        pooled = (attention.to(kind) @ embedded).to(embed.dtype)
        ctx.plan, ctx.kind, ctx.scale, ctx.has_bias = plan, kind, scale, bias is not None
        ctx.save_for_backward(embedded, inner, attention, pooled, hidden, score)
        return pooled, scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_pooled, d_scores_outer = gradients
        embedded, inner, attention, pooled, hidden, score = ctx.saved_tensors
        plan, kind, exact = ctx.plan, ctx.kind, hidden.dtype
        w1, w2 = hidden.to(kind), score[0]
        d_bags = d_pooled.to(kind)  # (k, h)
        # dL/da_kn = d_k · e_n; through the softmax: a_kn (dL/da_kn - d_k · pooled_k)
        centre = (d_pooled * pooled).sum(dim=1)
        d_embed = d_embed_bias = d_hidden = d_bias = d_score = None
        for rows, x in _rows(plan.blocks, kind):
            e, t, a = embedded[rows], inner[rows], attention[:, rows].T  # (b, h), (b, a or 2a), (b, k)
            d_scores = (a * ((e @ d_bags.T).to(exact) - centre)).sum(dim=1) + d_scores_outer[rows]
            d_score = _plus(d_score, torch.mv(_product(t, plan).T.to(exact), d_scores))
            d_t = _through((d_scores[:, None] * w2).to(kind), t, plan)
            d_e = torch.mm(d_t, w1).addmm_(a.to(kind), d_bags)
            d_h = gate_(d_e, e, 0)  # e > 0 exactly where the relu was open and dropout kept the value
            d_embed = _add(d_embed, d_h.T, x, exact)
            d_embed_bias = _plus(d_embed_bias, d_h.sum(dim=0).to(exact))
            d_hidden = _add(d_hidden, d_t.T, e, exact)
            if ctx.has_bias:
                d_bias = _plus(d_bias, d_t.sum(dim=0).to(exact))
        if d_embed is None or d_embed_bias is None or d_hidden is None or d_score is None:
            raise ValueError("a bag without instances has no gradient")
        return (None, d_embed * ctx.scale, d_embed_bias * ctx.scale, d_hidden, d_bias, d_score[None])


def _activate(t: Tensor, plan: _Plan) -> Tensor:
    """Pre-activations (b, a), or (b, 2a) of V and U, become activations in place; what w multiplies: (b, a)."""
    hidden, *gates = t.chunk(1 + plan.gated, dim=1)
    if plan.activation == "tanh":
        hidden.tanh_()
    else:
        hidden.relu_()
    for gate in gates:
        gate.sigmoid_()
    return _product(t, plan)


def _product(t: Tensor, plan: _Plan) -> Tensor:
    """What w multiplies (b, a) of activations (b, a) or (b, 2a)."""
    if not plan.gated:
        return t
    hidden, gate = t.chunk(2, dim=1)
    return hidden * gate


def _through(d_product: Tensor, t: Tensor, plan: _Plan) -> Tensor:
    """The gradient of pre-activations (b, a or 2a) from that of `_product` (b, a), which is overwritten."""
    if not plan.gated:
        return _slope(d_product, t, plan.activation)
    hidden, gate = t.chunk(2, dim=1)
    found = torch.empty_like(t)
    d_hidden, d_gate = found.chunk(2, dim=1)
    _slope(torch.mul(d_product, gate, out=d_hidden), hidden, plan.activation)
    torch.mul(d_product, hidden, out=d_gate)
    torch.ops.aten.sigmoid_backward.grad_input(d_gate, gate, grad_input=d_gate)
    return found


def _slope(values: Tensor, activation: Tensor, kind: Activation) -> Tensor:
    """Multiplies in place by the derivative of the activation, which follows from its value."""
    if kind == "relu":
        return gate_(values, activation, 0)
    torch.ops.aten.tanh_backward.grad_input(values, activation, grad_input=values)
    return values


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
