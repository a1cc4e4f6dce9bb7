"""The graph of neighbouring patches: the 5×5 window on a grid, any places off it."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sammil_cli.mil import patch_graph
from sammil_cli.mil.patch_graph import RADIUS, PatchGraph, make_graph
from sammil_cli.testing.models import make_bag


def grid(columns: int, rows: int) -> Tensor:
    """Places of a whole grid, row by row: (rows · columns, 2) column and row."""
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).float()


def neighbours(graph: PatchGraph) -> list[set[int]]:
    """The neighbours of each node, read from the offsets."""
    ends = graph.offsets.tolist()
    return [set(graph.source[start:end].tolist()) for start, end in pairwise(ends)]


def by_distance(places: Tensor) -> list[set[int]]:
    """The definition: all nodes at most 2.84 steps away, pair by pair."""
    found = []
    for x, y in places.tolist():
        near = [((u - x) ** 2 + (v - y) ** 2) ** 0.5 <= 2.84 for u, v in places.tolist()]
        found.append({place for place, is_near in enumerate(near) if is_near})
    return found


def test_on_a_grid_the_neighbours_are_the_window_of_five_by_five() -> None:
    places = grid(9, 8)
    found = neighbours(make_graph(places))
    for node, (x, y) in enumerate(places.long().tolist()):
        window = {9 * v + u for u in range(x - 2, x + 3) for v in range(y - 2, y + 3) if 0 <= u < 9 and 0 <= v < 8}
        assert found[node] == window
    assert len(found[9 * 4 + 4]) == 25
    assert len(found[0]) == 9  # a corner


@pytest.mark.parametrize("seed", range(6))
def test_off_the_grid_the_neighbours_are_those_within_the_radius(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([[40.0, 4.0], [3.0, 30.0], [12.0, 12.0]][seed % 3])
    places = torch.rand(150, 2, generator=generator) * size
    if seed > 2:  # half of them on a grid, far from the origin, some twice in a place
        places[::2] = places[::2].round()
        places += torch.tensor([-700.0, 12_000.0])
    assert neighbours(make_graph(places)) == by_distance(places)


def test_edges_go_both_ways_and_every_node_has_itself() -> None:
    places = torch.rand(80, 2, generator=torch.Generator().manual_seed(9)) * 14
    graph = make_graph(places)
    target, source = graph.target().tolist(), graph.source.tolist()
    edges = list(zip(source, target, strict=True))
    assert edges == sorted(edges, key=lambda edge: edge[::-1])
    assert {(b, a) for a, b in edges} == set(edges)
    assert {(node, node) for node in range(80)} <= set(edges)
    back = graph.reverse().tolist()
    assert [edges[place] for place in back] == [(b, a) for a, b in edges]


@pytest.mark.parametrize(
    ("places", "edges"),
    [
        ([[4.0, 7.0]], 1),
        ([[0.0, 0.0]] * 3, 9),  # of one place
        ([[0.0, 0.0], [1000.0, 0.0]], 2),
        ([[0.0, 0.0], [RADIUS, 0.0]], 4),
        ([[0.0, 0.0], [3.0, 0.0]], 2),
        ([[0.0, 0.0], [2.0, 2.0]], 4),
    ],
)
def test_small_graphs_have_the_edges_that_one_counts(places: list[list[float]], edges: int) -> None:
    assert len(make_graph(torch.tensor(places)).source) == edges


def test_the_order_of_the_patches_renames_the_nodes_and_changes_nothing_else() -> None:
    places = grid(7, 6)
    order = torch.randperm(42, generator=torch.Generator().manual_seed(3))
    plain, moved = neighbours(make_graph(places)), neighbours(make_graph(places[order]))
    assert [{order[other].item() for other in one} for one in moved] == [plain[node] for node in order.tolist()]


def test_four_bytes_are_kept_of_an_edge() -> None:
    graph = make_graph(grid(30, 30))
    assert (graph.source.dtype, graph.offsets.dtype) == (torch.int32, torch.int32)
    assert set(vars(graph)) == {"source", "offsets"}


def test_patches_that_crowd_beyond_reason_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch_graph, "_MOST_PAIRS", 10_000)
    make_graph(grid(20, 20))
    with pytest.raises(ValueError, match="the 400 patches crowd: 400 lie around each"):
        make_graph(torch.zeros(400, 2))


def test_a_bag_makes_its_graph_once_and_one_more_with_group_features() -> None:
    bag = make_bag()
    plain, composite = bag.neighbours(False), bag.neighbours(True)
    assert bag.neighbours(False) is plain
    assert bag.neighbours(True) is composite
    assert bag.places is not None
    assert neighbours(plain) == by_distance(bag.places)
    assert neighbours(composite) == by_distance(bag.instance_places(True))
    assert len(composite.offsets) - len(plain.offsets) == len(bag.group_features)
    alone = make_bag(groups=0)
    assert alone.neighbours(True) is alone.neighbours(False)


def test_a_graph_that_prediction_made_may_be_trained_on() -> None:
    bag = make_bag()
    with torch.inference_mode():
        graphs = [bag.neighbours(False), bag.neighbours(True)]
    assert not any(tensor.is_inference() for graph in graphs for tensor in vars(graph).values())
