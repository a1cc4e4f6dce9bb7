"""Training steps of the models of the papers as their own code takes them, written anew from docs/methods.md.

Each function takes a bag (N, d) and its label () and returns a step: the loss and its backward pass, in plain torch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

CLASSES = 2

Step = Callable[[], Tensor]


def abmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §3, plain, in the harness."""
    return _abmil(features, label, gated=False)


def abmil_gated(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §3, gated as in the paper, in the harness."""
    return _abmil(features, label, gated=True)


def _abmil(features: Tensor, label: Tensor, *, gated: bool) -> Step:
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    hidden = nn.Sequential(nn.Linear(512, 128), nn.Tanh())
    gate = nn.Sequential(nn.Linear(512, 128), nn.Sigmoid())
    score, head = nn.Linear(128, 1), nn.Linear(512, CLASSES)

    def step() -> Tensor:
        embedded = embed(features)
        inner = hidden(embedded) * gate(embedded) if gated else hidden(embedded)
        attention = torch.softmax(score(inner).T, dim=-1)
        return _backward(cross_entropy(head(attention @ embedded), label[None]), embed, hidden, gate, score, head)

    return step


def transformer(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §17: every token goes through both layers; the attention is torch's fused one."""
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    token = nn.Embedding(1, 512)
    layers = nn.ModuleList(_TransformerLayer() for _ in range(2))
    head = nn.Sequential(nn.LayerNorm(512), nn.Linear(512, CLASSES))

    def step() -> Tensor:
        tokens = torch.cat([token.weight, embed(features)])[None]
        for layer in layers:
            tokens = layer(tokens)
        return _backward(cross_entropy(head(tokens[:, 0]), label[None]), embed, token, layers, head)

    return step


class _TransformerLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(512), nn.Linear(512, 3 * 512, bias=False), nn.Linear(512, 512)
        self.feed_forward = nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 512))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (8, 64)).transpose(1, 2) for part in parts)
        attended = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(attended)
        found: Tensor = tokens + self.feed_forward(tokens)
        return found


def _backward(loss: Tensor, *modules: nn.Module) -> Tensor:
    """The gradient of a loss by all weights of the modules."""
    for module in modules:
        module.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
