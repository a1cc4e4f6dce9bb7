"""Training steps of the models of the papers as their own code takes them, written anew from docs/methods.md.

Each function takes a bag (N, d) and its label () and returns a step: the loss and its backward pass, in plain torch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

CLASSES = 2

Step = Callable[[], Tensor]


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
