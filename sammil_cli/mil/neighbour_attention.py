"""Attention of each node over its neighbours: the softmax over edges of a graph attention network, fused.

SRMIL's encoder and decoder (docs/methods.md §11). No tensor holds a message per edge: sums over neighbours go through
`embedding_bag`, head by head, and what is kept for the backward pass is one weight for each edge and head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, leaky_relu

from sammil_cli.mil.patch_graph import PatchGraph

SLOPE = 0.2  # of the leaky ReLU on scores
_SUM = 0  # the mode of `embedding_bag`, as its backward pass names it


def attend(
    values: Tensor, left: Tensor, right: Tensor, graph: PatchGraph, keep: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Σ_j α_ij v_j with α_ij = softmax over neighbours j of LeakyReLU(left_j + right_i), per head.

    Args:
        values: (N, H · F) the heads beside each other; float32 or float64, as `left` and `right`.
        left, right: (N, H) what a node brings as a neighbour, and as the one that looks.
        keep: (E, H) factors of α after the softmax, for dropout; None = all are 1.

    Returns:
        (N, H · F) the sums, and (N, H) the logarithm of what each softmax divided by.
    """
    found: tuple[Tensor, Tensor] = _Attend.apply(values, left, right, graph, keep)  # type: ignore[no-untyped-call]
    return found


def _scores(left: Tensor, right: Tensor, graph: PatchGraph) -> Tensor:
    """left_j + right_i of every edge: (E, H)."""
    return left.index_select(0, graph.source).add_(right.index_select(0, graph.target()))


def _sums(edges: Tensor, graph: PatchGraph) -> Tensor:
    """Sums over the edges that lead to each node: (E, H) -> (N, H)."""
    return torch.segment_reduce(edges, "sum", offsets=graph.offsets, axis=0, unsafe=True)


def _weighted(values: Tensor, weights: Tensor, graph: PatchGraph) -> Tensor:
    """Σ_j w_ij v_j for each head: (N, H · F), (E, H) -> (N, H · F)."""
    found = [
        embedding_bag(graph.source, value.contiguous(), graph.offsets[:-1], mode="sum", per_sample_weights=weight)
        for value, weight in zip(values.chunk(weights.shape[1], dim=1), weights.T.contiguous(), strict=True)
    ]
    return torch.cat(found, dim=1)


def _products(gradient: Tensor, values: Tensor, heads: int, graph: PatchGraph) -> Tensor:
    """g_i · v_j of every edge and head: (N, H · F) each -> (E, H)."""
    target = graph.target()
    found = [
        torch.ops.aten._embedding_bag_per_sample_weights_backward(
            one.contiguous(), other.contiguous(), graph.source, graph.offsets[:-1], target, _SUM
        )
        for one, other in zip(gradient.chunk(heads, dim=1), values.chunk(heads, dim=1), strict=True)
    ]
    return torch.stack(found, dim=1)


class _Attend(torch.autograd.Function):
    """See `attend`. By hand: autograd would keep a message of every edge, 25 times the size of the values."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, left: Tensor, right: Tensor, graph: PatchGraph, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        scores, target = leaky_relu(_scores(left, right, graph), SLOPE), graph.target()
        largest = torch.segment_reduce(scores, "max", offsets=graph.offsets, axis=0, unsafe=True)
        attention = scores.sub_(largest.index_select(0, target)).exp_()
        total = _sums(attention, graph)
        attention.div_(total.index_select(0, target))
        ctx.graph = graph
        ctx.save_for_backward(values, left, right, attention, keep)
        return _weighted(values, attention if keep is None else attention * keep, graph), largest + total.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_sums, d_logarithm = gradients
        values, left, right, attention, keep = ctx.saved_tensors
        graph: PatchGraph = ctx.graph
        heads, reverse = left.shape[1], graph.reverse()
        weights = attention if keep is None else attention * keep
        d_values = _weighted(d_sums, weights.index_select(0, reverse), graph)
        d_scores = _products(d_sums, values, heads, graph)
        if keep is not None:
            d_scores.mul_(keep)
        d_scores.mul_(attention)  # through the softmax: α (dα - Σ α dα), and α dL of the logarithm
        rest = d_logarithm - _sums(d_scores, graph)
        d_scores.addcmul_(attention, rest.index_select(0, graph.target()))
        d_scores = torch.where(_scores(left, right, graph) > 0, d_scores, SLOPE * d_scores)
        d_left, d_right = _sums(d_scores.index_select(0, reverse), graph), _sums(d_scores, graph)
        return d_values, d_left, d_right, None, None
