"""Training steps of the models of the papers as their own code takes them, written anew from docs/methods.md.

Each function takes a bag (N, d) and its label () and returns a step: the loss and its backward pass, in plain torch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

CLASSES = 2

Step = Callable[[], Tensor]


def dsmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §4, the official form: the queries of the critical instances are computed once more."""
    dim = features.shape[1]
    instance = nn.Linear(dim, CLASSES)
    query = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, 128), nn.Tanh())
    head = nn.Conv1d(CLASSES, CLASSES, kernel_size=dim)
    wanted = one_hot(label, CLASSES).float()

    def step() -> Tensor:
        scores = instance(features)
        _, order = torch.sort(scores, 0, descending=True)
        queries = query(features)
        critical = query(torch.index_select(features, 0, order[0]))
        attention = torch.softmax(queries @ critical.T / 128**0.5, 0)
        logits = head((attention.T @ features)[None]).view(-1)
        largest, _ = torch.max(scores, 0)
        loss = (
            binary_cross_entropy_with_logits(logits, wanted) / 2 + binary_cross_entropy_with_logits(largest, wanted) / 2
        )
        return _backward(loss, instance, query, head)

    return step


def clam_sb(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §5 with one branch."""
    return _clam(features, label, branches=1)


def clam_mb(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §5 with a branch for each class."""
    return _clam(features, label, branches=CLASSES)


def _clam(features: Tensor, label: Tensor, branches: int) -> Step:
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    gate_a = nn.Sequential(nn.Linear(512, 256), nn.Tanh(), nn.Dropout(0.25))
    gate_b = nn.Sequential(nn.Linear(512, 256), nn.Sigmoid(), nn.Dropout(0.25))
    gate_c = nn.Linear(256, branches)
    heads = nn.ModuleList([nn.Linear(512, CLASSES)] if branches == 1 else [nn.Linear(512, 1) for _ in range(branches)])
    tellers = nn.ModuleList(nn.Linear(512, 2) for _ in range(CLASSES))

    def step() -> Tensor:
        embedded = embed(features)
        scores = (gate_a(embedded) * gate_b(embedded)) @ gate_c.weight.T + gate_c.bias
        attention = torch.softmax(scores.T, dim=1)
        own = attention[int(label) if branches > 1 else 0]
        most = torch.index_select(embedded, 0, torch.topk(own, 8)[1])
        least = torch.index_select(embedded, 0, torch.topk(-own, 8)[1])
        told = tellers[int(label)](torch.cat([most, least]))
        targets = torch.cat([torch.ones(8), torch.zeros(8)]).long()
        instance_loss = _smooth_svm(told, targets)
        pooled = attention @ embedded
        logits = heads[0](pooled)[0] if branches == 1 else torch.cat([heads[c](pooled[c]) for c in range(CLASSES)])
        loss = 0.7 * cross_entropy(logits[None], label[None]) + 0.3 * instance_loss
        return _backward(loss, embed, gate_a, gate_b, gate_c, heads, tellers)

    return step


def _smooth_svm(scores: Tensor, labels: Tensor) -> Tensor:
    margins = scores + (1 - one_hot(labels, scores.shape[1])) - scores.gather(1, labels[:, None])
    return torch.logsumexp(margins, dim=1).mean()


def _backward(loss: Tensor, *parts: nn.Module) -> Tensor:
    """The gradients of a loss, after those of the step before are gone."""
    for part in parts:
        part.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def dtfd(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §7, AFS: group by group, every instance ranked; tier 2's gradient goes through tier 1 as well."""
    reduction = nn.Sequential(nn.Linear(features.shape[1], 512, bias=False), nn.ReLU())
    first, second = _Gated(), _Gated()
    tell, decide = nn.Linear(512, CLASSES), nn.Linear(512, CLASSES)

    def step() -> Tensor:
        for module in (reduction, first, second, tell, decide):
            module.zero_grad(set_to_none=True)
        pseudo, said = [], []
        for members in torch.randperm(len(features)).tensor_split(4):
            embedded = reduction(torch.index_select(features, 0, members))
            weighted = torch.softmax(first(embedded).T, dim=1)[0][:, None] * embedded
            pooled = weighted.sum(dim=0, keepdim=True)
            said.append(tell(pooled))
            scores = torch.softmax(weighted @ tell.weight.T, dim=1)
            torch.sort(scores[:, -1], descending=True)
            pseudo.append(pooled)
        loss = cross_entropy(torch.cat(said), label.expand(4))
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        distilled = torch.cat(pseudo)
        bag = cross_entropy(decide(torch.softmax(second(distilled).T, dim=1) @ distilled), label[None])
        bag.backward()  # type: ignore[no-untyped-call]
        return (loss + bag).detach()

    return step


def ibmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §8, stage two in the harness, its dictionary of eight."""
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    attend = nn.Sequential(nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 1))
    query, key, head = nn.Linear(512, 128), nn.Linear(512, 128), nn.Linear(1024, CLASSES)
    dictionary, wanted = torch.randn(8, 512), one_hot(label, CLASSES).float()[None]

    def step() -> Tensor:
        for module in (embed, attend, query, key, head):
            module.zero_grad(set_to_none=True)
        embedded = embed(features)
        bag = torch.softmax(attend(embedded).T, dim=-1) @ embedded
        answers = torch.softmax(key(dictionary) @ query(bag).T / 128**0.5, dim=0)
        logits = head(torch.cat([bag, answers.T @ dictionary], dim=1))
        loss = binary_cross_entropy_with_logits(logits, wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step


class _Gated(nn.Module):
    """tanh ⊙ sigmoid, 512 -> 128 -> 1, with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.u, self.w = nn.Linear(512, 128), nn.Linear(512, 128), nn.Linear(128, 1)

    def forward(self, embedded: Tensor) -> Tensor:
        found: Tensor = self.w(torch.tanh(self.v(embedded)) * torch.sigmoid(self.u(embedded)))
        return found
