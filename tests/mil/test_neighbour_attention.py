"""Attention over neighbours, fused, against the same written out with a matrix of all pairs."""

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.neighbour_attention import attend
from sammil_cli.mil.patch_graph import PatchGraph, make_graph

NODES, HEADS, WIDTH = 31, 3, 5


@pytest.fixture
def graph() -> PatchGraph:
    return make_graph(torch.rand(NODES, 2, generator=torch.Generator().manual_seed(1)) * 7)


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    return values.requires_grad_()


def by_matrix(values: Tensor, left: Tensor, right: Tensor, graph: PatchGraph, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, over all pairs of nodes: those without an edge score −∞."""
    target, source = graph.target().long(), graph.source.long()
    sums, logarithms = [], []
    for head in range(HEADS):
        pairs = left[:, head][None, :] + right[:, head][:, None]  # (i, j)
        scores = torch.where(pairs > 0, pairs, 0.2 * pairs)
        open_pair = torch.full((NODES, NODES), float("-inf"), dtype=torch.float64)
        open_pair[target, source] = 0.0
        kept = torch.ones(NODES, NODES, dtype=torch.float64)
        kept[target, source] = keep[:, head]
        attention = torch.softmax(scores + open_pair, dim=1) * kept
        sums.append(attention @ values[:, head * WIDTH : (head + 1) * WIDTH])
        logarithms.append(torch.logsumexp(scores + open_pair, dim=1))
    return torch.cat(sums, dim=1), torch.stack(logarithms, dim=1)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("scale", [1.0, 500.0], ids=["plain", "scores far apart"])
def test_sums_logarithms_and_gradients_are_those_of_the_definition(
    graph: PatchGraph, dropped: bool, scale: float
) -> None:
    given = (
        drawn(NODES, HEADS * WIDTH, seed=2),
        drawn(NODES, HEADS, seed=3, scale=scale),
        drawn(NODES, HEADS, seed=4, scale=scale),
    )
    edges = len(graph.source)
    keep = (
        (torch.rand(edges, HEADS, generator=torch.Generator().manual_seed(8)) < 0.7).double() / 0.7 if dropped else None
    )
    found = attend(*given, graph, keep)
    wanted = by_matrix(*given, graph, torch.ones(edges, HEADS, dtype=torch.float64) if keep is None else keep)
    weights = (drawn(NODES, HEADS * WIDTH, seed=5), drawn(NODES, HEADS, seed=6))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum((w * o).sum() for w, o in zip(weights, both, strict=True)), given)
        for both in (found, wanted)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_gradients_are_the_slopes(graph: PatchGraph) -> None:
    given = (drawn(NODES, 2 * WIDTH, seed=2), drawn(NODES, 2, seed=3), drawn(NODES, 2, seed=4))
    keep = torch.rand(len(graph.source), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    assert torch.autograd.gradcheck(lambda *these: attend(*these, graph, keep), given)


def test_a_node_without_neighbours_keeps_its_own_value() -> None:
    graph = make_graph(torch.tensor([[0.0, 0.0], [50.0, 0.0]]))
    values, scores = drawn(2, 4, seed=1), drawn(2, 2, seed=2)
    sums, _ = attend(values, scores, scores, graph, None)
    torch.testing.assert_close(sums, values)
