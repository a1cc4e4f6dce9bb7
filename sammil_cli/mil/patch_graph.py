"""Which instances of a slide are neighbours: those within the 5×5 window around each (SRMIL; docs/methods.md §11)."""

from dataclasses import dataclass

import torch
from torch import Tensor

RADIUS = 2.84  # grid steps: beyond √8, the window's corner, and below 3
_CELL = 3.0  # grid steps, at least the radius: neighbours lie in the same cell or in one that touches it
_MOST_PAIRS = 1 << 29  # that are looked at in one third of the work


@dataclass(frozen=True, kw_only=True)
class PatchGraph:
    """Neighbours of each of N nodes, the node itself among them, in CSR form; an edge goes both ways.

    Node i has the neighbours `source[offsets[i] : offsets[i + 1]]`, in rising order. 4 bytes for each of the E edges.
    """

    source: Tensor  # (E,) int32
    offsets: Tensor  # (N + 1,) int32

    def target(self) -> Tensor:
        """The node that each edge leads to: (E,) int32."""
        counts = self.offsets.diff()
        nodes = torch.arange(len(counts), dtype=torch.int32, device=counts.device)
        return torch.repeat_interleave(nodes, counts, output_size=len(self.source))

    def reverse(self) -> Tensor:
        """The place of each edge's opposite: (E,) int64."""
        return torch.argsort(self.source, stable=True)  # edges stand by target; those of one source stay in that order


def make_graph(places: Tensor) -> PatchGraph:
    """The graph of nodes that stand at most `RADIUS` apart.

    Nodes are sorted into square cells. The three cells of a row that touch a node's own are one stretch of the sorted
    nodes, so that candidates are found by binary search.

    Args:
        places: (N, 2) column and row in grid steps, of any float type; they need not be whole.

    Raises:
        ValueError: the places are crowded beyond reason.
    """
    count = len(places)
    with torch.inference_mode(False):  # kept with the bag: what prediction has made may be trained on later
        places = places.detach().clone()
        cell = ((places - places.amin(dim=0)) / _CELL).floor().long()
        width = int(cell[:, 0].max()) + 3  # an empty column on both sides
        cell_id = (cell[:, 1] + 1) * width + cell[:, 0] + 1
        ordered, order = torch.sort(cell_id)
        x, y = places[:, 0].contiguous(), places[:, 1].contiguous()
        near_x, near_y = x[order], y[order]
        edges = []
        for row in (-width, 0, width):
            first = torch.searchsorted(ordered, cell_id + (row - 1))
            sizes = torch.searchsorted(ordered, cell_id + (row + 1), right=True) - first
            pairs = int(sizes.sum())
            if pairs > _MOST_PAIRS:
                raise ValueError(f"the {count} patches crowd: {pairs / count:.0f} lie around each on its grid")
            target = torch.repeat_interleave(sizes, output_size=pairs)
            before = sizes.cumsum(0) - sizes
            candidate = torch.arange(pairs, device=places.device) + (first - before)[target]
            near = (near_x[candidate] - x[target]).square_() + (near_y[candidate] - y[target]).square_() <= RADIUS**2
            edges.append(target[near] * count + order[candidate[near]])
        edge = torch.sort(torch.cat(edges)).values
        degree = torch.bincount(edge.div(count, rounding_mode="floor"), minlength=count)
        offsets = torch.nn.functional.pad(degree.cumsum(0), (1, 0))
        return PatchGraph(source=(edge % count).int(), offsets=offsets.int())
