"""Gated attention (Ilse et al. 2018; docs/methods.md §3): w · (tanh(V h) ⊙ sigmoid(U h)), all with biases."""

import torch
from torch import Tensor, nn


class GatedAttention(nn.Module):
    """Scores of instances: (N, width) -> (N,), before any softmax."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.v, self.u = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.w = nn.Linear(hidden, 1)

    def forward(self, embedded: Tensor) -> Tensor:
        """See the class."""
        scores: Tensor = self.w(torch.tanh(self.v(embedded)) * torch.sigmoid(self.u(embedded)))
        return scores[:, 0]
