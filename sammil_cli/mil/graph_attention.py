"""A layer of a graph attention network (GAT), on patches alone or with a super-node (docs/methods.md §11).

The super-node has an edge from and to every node. In the softmax of a node it is one more neighbour: with L the
logarithm of what that softmax divides by among patches, it weighs σ(score − L), and the patches together the rest.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from sammil_cli.mil.neighbour_attention import SLOPE, attend
from sammil_cli.mil.patch_graph import PatchGraph


@dataclass(frozen=True)
class Dropout:
    """Shares of a layer's inputs and of its attention weights that are zeroed; the others grow so much.

    `generator`: None = torch's own.
    """

    inputs: float = 0.0
    attention: float = 0.0
    generator: torch.Generator | None = None

    def of_inputs(self, nodes: Tensor) -> Tensor:
        """Nodes with some of their values zeroed."""
        if not self.inputs:
            return nodes
        zeroed = torch.empty_like(nodes).bernoulli_(self.inputs, generator=self.generator).bool()  # kept in a byte each
        return nodes.masked_fill(zeroed, 0.0).mul_(1 / (1 - self.inputs))

    def of_attention(self, weights: Tensor) -> Tensor:
        """Attention weights, some of them zeroed."""
        factors = self.factors(weights)
        return weights if factors is None else weights * factors

    def factors(self, like: Tensor) -> Tensor | None:
        """What attention weights of this shape are multiplied by; None = nothing is zeroed."""
        if not self.attention:
            return None
        kept = 1 - self.attention
        return torch.empty_like(like).bernoulli_(kept, generator=self.generator).div_(kept)


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Nodes as a layer sees them, after dropout: N of them, H heads of width F."""

    nodes: Tensor  # (N, dim) h
    values: Tensor  # (N, H · F) W h, the heads beside each other
    left: Tensor  # (N, H) a_l · W h
    right: Tensor  # (N, H) a_r · W h
    residual: Tensor | None  # (N, H · F) W_r h


class GraphAttention(nn.Module):
    """Σ_j α_ij W h_j + bias (+ residual W_r h_i), then LayerNorm and PReLU unless `finished` is false.

    α_ij = softmax over neighbours j of LeakyReLU(a_l · W h_j + a_r · W h_i), for each of the heads.
    """

    def __init__(self, dim: int, heads: int, width: int, *, residual: bool = False, finished: bool = True) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.fc = nn.Linear(dim, heads * width, bias=False)
        self.attn_l = nn.Parameter(torch.empty(1, heads, width))
        self.attn_r = nn.Parameter(torch.empty(1, heads, width))
        self.bias = nn.Parameter(torch.empty(heads * width))
        self.res_fc = nn.Linear(dim, heads * width, bias=False) if residual else None
        self.norm = nn.LayerNorm(heads * width) if finished else None
        self.activation = nn.PReLU() if finished else None
        self.initialise()

    def initialise(self) -> None:
        """Xavier-normal weights with gain √2, zero biases."""
        linear = [self.fc.weight, *([] if self.res_fc is None else [self.res_fc.weight])]
        for weight in (*linear, self.attn_l, self.attn_r):
            nn.init.xavier_normal_(weight, math.sqrt(2))
        nn.init.zeros_(self.bias)

    def project(self, nodes: Tensor, dropout: Dropout) -> Projected:
        """(N, dim) -> what all nodes are to this layer."""
        nodes = dropout.of_inputs(nodes)
        left, right = self.scores(nodes)
        values = self.fc(nodes).to(self.bias.dtype)
        residual = None if self.res_fc is None else self.res_fc(nodes).to(self.bias.dtype)
        return Projected(nodes=nodes, values=values, left=left, right=right, residual=residual)

    def scores(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """a_l · W h and a_r · W h of each node, without W h itself: (N, dim) -> (N, H) each."""
        rows = [torch.einsum("hf,hfd->hd", one[0], self._weight()) for one in (self.attn_l, self.attn_r)]
        left, right = (nodes @ torch.cat(rows).T).to(self.bias.dtype).chunk(2, dim=1)
        return left, right

    def _weight(self) -> Tensor:
        """W, (H, F, dim)."""
        return self.fc.weight.view(self.heads, self.width, -1)

    def gather(self, seen: Projected, graph: PatchGraph, dropout: Dropout) -> tuple[Tensor, Tensor]:
        """Sums over neighbours (N, H · F), and the logarithms (N, H) that a super-node is weighed by."""
        keep = dropout.factors(seen.left.new_empty(len(graph.source), self.heads))
        return attend(seen.values, seen.left, seen.right, graph, keep)

    def finish(self, sums: Tensor, residual: Tensor | None = None) -> Tensor:
        """What follows the sums over neighbours: (N, H · F) -> (N, H · F)."""
        sums = sums + self.bias if residual is None else sums + self.bias + residual
        if self.norm is None or self.activation is None:
            return sums
        found: Tensor = self.activation(self.norm(sums)).to(sums.dtype)  # autocast has PReLU in half precision
        return found

    def forward(self, nodes: Tensor, graph: PatchGraph, dropout: Dropout) -> Tensor:
        """The layer on patches alone: (N, dim) -> (N, H · F)."""
        seen = self.project(nodes, dropout)
        return self.finish(self.gather(seen, graph, dropout)[0], seen.residual)

    def of_some(self, nodes: Tensor, rows: Tensor, graph: PatchGraph, dropout: Dropout) -> Tensor:
        """A layer of one head, for some of the nodes only: (N, dim), (r,) -> (r, F).

        Σ_j α_j W h_j = W Σ_j α_j h_j, so that only these are multiplied, and what is gathered is no wider than h.
        """
        nodes = dropout.of_inputs(nodes)
        left, right = self.scores(nodes)
        keep = dropout.factors(left.new_empty(len(graph.source), self.heads))
        sums, _ = attend(nodes, left, right, graph, keep)
        return self.finish(self.fc(sums[rows]).to(self.bias.dtype))

    def beside(
        self, seen: Projected, gathered: tuple[Tensor, Tensor], super_node: Projected, dropout: Dropout
    ) -> tuple[Tensor, Tensor]:
        """The layer with a super-node.

        Args:
            gathered: what `gather` says of the nodes. super_node: one row.

        Returns:
            (N, H · F) the nodes, and (1, H · F) the super-node.
        """
        sums, logarithm = gathered
        weight = torch.sigmoid(leaky_relu(super_node.left + seen.right, SLOPE) - logarithm)  # (N, H)
        patches = (1 - weight)[:, :, None] * sums.view(-1, self.heads, self.width)
        own = dropout.of_attention(weight)[:, :, None] * super_node.values.view(self.heads, self.width)
        pooled, _ = self.pool(seen.nodes, seen.left, super_node.right, dropout)
        return self.finish((patches + own).flatten(1), seen.residual), self.finish(pooled, super_node.residual)

    def pool(self, nodes: Tensor, left: Tensor, right: Tensor, dropout: Dropout) -> tuple[Tensor, Tensor]:
        """What a super-node gathers of the nodes: (1, H · F), and how it weighs them, before dropout: (N, H).

        Args:
            left: (N, H) of the nodes. right: (1, H) of the super-node.
        """
        attention = torch.softmax(leaky_relu(left + right, SLOPE), dim=0)
        pooled = dropout.of_attention(attention).T @ nodes.to(attention.dtype)  # (H, dim): W comes after the sum
        return torch.einsum("hd,hfd->hf", pooled, self._weight()).reshape(1, -1), attention
