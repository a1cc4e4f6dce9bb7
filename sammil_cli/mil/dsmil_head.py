"""DSMIL's two streams over embedded instances (Li, Li, Eliceiri 2021; docs/methods.md §4): DSMIL itself, and a core of
MHIM-MIL.

The instance stream classifies each instance; the best one of a class is its critical instance. The bag stream weighs
all instances by how much their queries are like the critical one's, and classifies the weighted means of all classes
together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sammil_cli.mil.published import Entry, Size, linear

QUERY = 128


@dataclass(frozen=True, kw_only=True)
class TwoStreams:
    """What the head says of N instances, with K outputs (one for each class, or a single one for two classes)."""

    instance_logits: Tensor  # (N, K), without a gradient
    largest: Tensor  # (K,) the instance logits of the critical instances
    logits: Tensor  # (K,) of the bag
    attention: Tensor  # (N, K) each column sums to 1
    values: Tensor  # (N, D)


class DsmilHead(nn.Module):
    """Instances of D features -> the answers of both streams.

    `non_linear`: query Linear → ReLU → Linear → Tanh, or Linear alone. `passing_value`: values Dropout → Linear → ReLU,
    or the instances as they are.
    """

    def __init__(self, dim: int, outputs: int, *, non_linear: bool, passing_value: bool, dropout: float) -> None:
        super().__init__()
        self.instance = nn.Linear(dim, outputs)
        deeper = (nn.ReLU(), nn.Linear(QUERY, QUERY), nn.Tanh()) if non_linear else ()
        self.query = nn.Sequential(nn.Linear(dim, QUERY), *deeper)
        self.value = (
            nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, dim), nn.ReLU()) if passing_value else nn.Identity()
        )
        self.bag = nn.Conv1d(outputs, outputs, kernel_size=dim)

    def forward(self, instances: Tensor, kept: Tensor | None = None) -> TwoStreams:
        """See the class.

        Args:
            instances: (N, D).
            kept: (N,) bool, those that take part; at least one. None = all.
        """
        instance_logits = self.instance(instances).detach()  # only the critical instances learn what this stream says
        query = self.query(instances)
        left_out = None if kept is None else ~kept[:, None]
        critical = _without(instance_logits, left_out).argmax(dim=0)  # (K,)
        scores = _without(query @ query[critical].T / QUERY**0.5, left_out)
        attention = torch.softmax(scores, dim=0)
        values = self.value(instances)
        return TwoStreams(
            instance_logits=instance_logits,
            largest=self.instance(instances[critical]).diagonal(),
            logits=self.bag((attention.to(values.dtype).T @ values)[None])[0, :, 0],
            attention=attention,
            values=values,
        )

    def shares(self, said: TwoStreams) -> Tensor:
        """What each instance adds to each logit of the bag, the bias left out: (N, K)."""
        outputs = len(self.instance.weight)
        weight = self.bag.weight.flatten(0, 1)  # (K K, D): of each output, from each class's mean
        parts = (said.values @ weight.T).view(-1, outputs, outputs)
        return (parts * said.attention[:, None]).sum(dim=2)


def _without(scores: Tensor, left_out: Tensor | None) -> Tensor:
    return scores if left_out is None else scores.masked_fill(left_out, float("-inf"))


def published_head(
    instance: str, bag: str, ours: str, *, width: Size, outputs: Size, non_linear: bool, passing_value: bool
) -> tuple[Entry, ...]:
    """The key map of a head.

    Args:
        instance: the published name of the instance classifier.
        bag: what comes before `q`, `v` and `fcc`.
        ours: the name of the `DsmilHead` in our model.
        width: D.
    """
    query = (
        (*linear(f"{bag}.q.0", f"{ours}.query.0", QUERY, width), *linear(f"{bag}.q.2", f"{ours}.query.2", QUERY, QUERY))
        if non_linear
        else linear(f"{bag}.q", f"{ours}.query.0", QUERY, width)
    )
    return (
        *linear(instance, f"{ours}.instance", outputs, width),
        *query,
        *(linear(f"{bag}.v.1", f"{ours}.value.1", width, width) if passing_value else ()),
        Entry(f"{bag}.fcc.weight", f"{ours}.bag.weight", (outputs, outputs, width)),
        Entry(f"{bag}.fcc.bias", f"{ours}.bag.bias", (outputs,)),
    )
