"""The training step of SRMIL as its code takes it, in plain torch, written anew from docs/methods.md §11.

Only the cost counts: weights are torch's own, and no optimiser steps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, layer_norm, leaky_relu, linear, normalize

DIM, CLASSES, COLUMNS = 1024, 2, 125

Step = Callable[[], Tensor]


def _window(count: int) -> tuple[Tensor, Tensor]:
    """The edges among patches that are at most two rows and columns apart, self loops among them."""
    number = torch.arange(count)
    row, column = number // COLUMNS, number % COLUMNS
    found = []
    for down in range(-2, 3):
        for right in range(-2, 3):
            there = (column + right >= 0) & (column + right < COLUMNS)
            other = number + down * COLUMNS + right
            there &= (row + down >= 0) & (other >= 0) & (other < count)
            found.append(torch.stack([number[there], other[there]]))
    source, target = torch.cat(found, dim=1)
    return source, target


class _GraphLayer(nn.Module):
    """A layer of SRMIL's networks: a message for every edge."""

    def __init__(self, dim: int, heads: int, width: int, *, residual: bool = False, finished: bool = True) -> None:
        super().__init__()
        self.heads, self.width, self.finished = heads, width, finished
        self.fc = nn.Linear(dim, heads * width, bias=False)
        self.res_fc = nn.Linear(dim, heads * width, bias=False) if residual else None
        self.left, self.right = (nn.Parameter(torch.randn(heads, width) / 8) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        self.activation = nn.PReLU()

    def forward(self, nodes: Tensor, source: Tensor, target: Tensor) -> Tensor:
        nodes = dropout(nodes, 0.11)
        values = self.fc(nodes).view(-1, self.heads, self.width)
        scores = (values * self.left).sum(2)[source] + (values * self.right).sum(2)[target]
        scores = leaky_relu(scores, 0.2)
        place = target[:, None].expand_as(scores)
        empty = scores.new_zeros(len(nodes), self.heads)
        exact = torch.exp(scores - empty.scatter_reduce(0, place, scores, "amax", include_self=False)[target])
        attention = dropout(exact / empty.index_add(0, target, exact)[target], 0.15)
        messages = values[source] * attention[:, :, None]
        found = torch.zeros_like(values).index_add(0, target, messages).flatten(1) + self.bias
        if self.res_fc is not None:
            found = found + self.res_fc(nodes)
        return self.activation(layer_norm(found, found.shape[1:])) if self.finished else found


def srmil(features: Tensor, label: Tensor) -> Step:
    """Three passes through reformer and encoder, one of them through the decoder; the patches are in rows of 125."""
    count = len(features)
    source, target = _window(count)
    reformer, mask_token = nn.Linear(DIM, DIM), nn.Parameter(torch.zeros(DIM))
    super_token, decoder_token = nn.Parameter(torch.zeros(1, DIM)), nn.Parameter(torch.zeros(256))
    encoder = nn.ModuleList([_GraphLayer(DIM, 4, 64, residual=True), _GraphLayer(256, 4, 64)])
    decoder = nn.ModuleList([_GraphLayer(256, 4, 64), _GraphLayer(256, 1, DIM, finished=False)])
    between = nn.Linear(256, 256, bias=False)
    classifier = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.059), nn.Linear(128, CLASSES))
    modules = (reformer, *encoder, *decoder, between, classifier)
    weights = [mask_token, super_token, decoder_token, *(w for module in modules for w in module.parameters())]
    every, last = torch.arange(count), torch.full((count,), count)
    joined = (torch.cat([source, every, last]), torch.cat([target, last, every]))

    def encode(nodes: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
        nodes = linear(nodes, reformer.weight, reformer.bias)
        for layer in encoder:
            nodes = layer(nodes, *edges)
        return nodes

    def classify(nodes: Tensor) -> Tensor:
        said = encode(torch.cat([nodes, super_token]), joined)[-1]
        return cross_entropy(classifier(said.view(4, 64).mean(0))[None], label[None])

    def step() -> Tensor:
        hidden = torch.randperm(count)[: int(0.7 * count)]
        masked = features.clone()
        masked[hidden] = 0.0
        masked[hidden] = masked[hidden] + mask_token
        nodes = between(encode(masked, (source, target))).index_put((hidden,), decoder_token)
        for layer in decoder:
            nodes = layer(nodes, source, target)
        cosine = (normalize(nodes[hidden], dim=1) * normalize(features[hidden], dim=1)).sum(1)
        total = 0.2 * (classify(masked) + classify(features)) + 1.8 * (1 - cosine).mean()
        for weight in weights:
            weight.grad = None
        total.backward()
        return total.detach()

    return step
