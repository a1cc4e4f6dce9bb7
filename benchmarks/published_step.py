"""The published training step of SAM-MIL, as a baseline: its passes, loops and copies, written from its description.

It costs what the published one costs (docs/methods.md §10, baseline `attn`, paper settings): a frozen teacher sees the
bag and every pseudo-bag, the student's logits of the masked bag are overwritten, the mask is chosen area by area in
Python, and the consistency term compares every pair of instances of an area. It is not meant for training.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

DIM, HIDDEN, ATTENTION, CLASSES = 1024, 512, 128, 2
DROPOUT, MASK_RATIO, SLOPE, CENTER = 0.25, 0.9, 5e-4, 5000.0
PSEUDO_BAGS, PSEUDO_WEIGHT, CONSISTENCY_WEIGHT = 5, 0.5, 1000.0
CHUNK = 512  # rows of the consistency term's distances at once
UNCOVERED_AREA, GROUP_ROW_AREA = 1.0, 0.0


class Core(nn.Module):
    """The attention core; parameters are named as in `sammil_cli.mil.models.sam_mil`."""

    def __init__(self, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.patch_to_emb = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Dropout(dropout))
        self.attention = nn.Sequential(
            nn.Linear(HIDDEN, ATTENTION, bias=False), nn.ReLU(), nn.Linear(ATTENTION, 1, bias=False)
        )
        self.predictor = nn.Linear(HIDDEN, CLASSES)

    def weigh(self, embedded: Tensor) -> Tensor:
        """Attention over the embedded instances: (N, h) -> (N,)."""
        return torch.softmax(self.attention(embedded)[:, 0], dim=0)

    def classify(self, embedded: Tensor) -> Tensor:
        """(N, h) -> logits (C,)."""
        logits: Tensor = self.predictor(self.weigh(embedded) @ embedded)
        return logits

    def forward(self, instances: Tensor) -> Tensor:
        """(N, d) -> logits (C,)."""
        return self.classify(self.patch_to_emb(instances))


class PublishedStep:
    """Forward, backward and Adam on one bag.

    Args:
        instances: (N, d) patches, then group features.
        area: (N,) area of each instance's segment; 1 = in none, 0 = a group feature.
    """

    def __init__(self, student: Core, teacher: Core, instances: Tensor, area: Tensor, label: Tensor) -> None:
        self._student, self._teacher = student.train(), teacher.train()
        self._instances, self._area, self._label = instances, area, label
        self._adam = torch.optim.Adam(student.parameters(), lr=2e-4, weight_decay=1e-5)

    def __call__(self) -> float:
        """One step; returns the loss."""
        student, teacher, instances, label = self._student, self._teacher, self._instances, self._label
        with torch.no_grad():
            embedded = teacher.patch_to_emb(instances)
            attention = teacher.weigh(embedded)
            teacher.predictor(attention @ embedded)
        embedded = student.patch_to_emb(instances)
        logits = student.classify(keep_rows(embedded, choose_kept(attention, self._area)))
        shuffled = instances[torch.randperm(len(instances))]
        entropies = []
        for part in cut(shuffled, PSEUDO_BAGS):
            with torch.no_grad():
                teacher(part)
            logits = student(part)  # from here on, those of the masked bag are gone
            entropies.append(cross_entropy(logits[None], label[None]))
        with torch.no_grad():
            embedded = teacher.patch_to_emb(instances)
        consistency = pairwise_consistency(teacher.weigh(embedded), self._area)
        loss = cross_entropy(logits[None], label[None]) + PSEUDO_WEIGHT * torch.stack(entropies).mean()
        loss = loss + CONSISTENCY_WEIGHT * consistency
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return float(loss.detach())


def choose_kept(attention: Tensor, area: Tensor) -> Tensor:
    """Indices of the instances that the mask keeps: area by area with Python sets; group features stay."""
    kept: list[int] = torch.where(area == GROUP_ROW_AREA)[0].tolist()
    for value in torch.unique(area):
        if value == GROUP_ROW_AREA:
            continue
        members = torch.where(area == value)[0]
        ratio = MASK_RATIO / (1 + math.exp(-SLOPE * (float(value) - CENTER)))
        _, candidates = torch.topk(attention[members], len(members))  # all of them: attention plays no part
        chosen = candidates[torch.randperm(len(members))[: math.floor(len(members) * ratio)]]
        kept += sorted(set(members.tolist()) - set(members[chosen].tolist()))
    return torch.tensor(kept)


def keep_rows(embedded: Tensor, kept: Tensor) -> Tensor:
    """Rows of (N, h) by an index that is spelled out for every value."""
    index = kept[None, :, None].repeat(1, 1, embedded.shape[1])
    return torch.gather(embedded[None], 1, index)[0]


def cut(instances: Tensor, parts: int) -> Sequence[Tensor]:
    """`parts` bags of floor(N / parts) instances, the remainder in the last."""
    size = len(instances) // parts
    return torch.split(instances, [size] * (parts - 1) + [len(instances) - size * (parts - 1)])


def pairwise_consistency(attention: Tensor, segment: Tensor) -> Tensor:
    """Mean over instances of the distance to all instances of their segment; every distance is computed twice.

    Args:
        attention: (N,). segment: (N,) any label of the segment; segments of one instance do not count.
    """
    sums, count = [], 0
    for value in torch.unique(segment):
        inside = attention[torch.where(segment == value)[0]]
        if len(inside) < 2:
            continue
        for some in torch.split(inside, CHUNK):
            torch.norm(some[:, None] - inside[None, :], dim=1)
            sums.append(torch.norm(some[:, None] - inside[None, :], dim=1).sum())
        count += len(inside)
    return torch.stack(sums).sum() / count
