"""The transformer of TransMIL: a class token takes up a bag in two Nyström layers (docs/methods.md §6).

MHIM-MIL's `selfattn` core is the same without squaring (docs/methods.md §9): only positions are padded to a square.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from sammil_cli.mil.nystrom import NystromAttention
from sammil_cli.mil.published import Entry, linear

WIDTH = 512
HEADS = 8
KERNELS = {"proj": 7, "proj1": 5, "proj2": 3}  # of the position encoding
_WIDEST = 7


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the class token made of a bag of N instances and C classes."""

    feature: Tensor  # (width,)
    attention: Tensor  # (N,) sums to 1
    evidence: Tensor  # (N, C) rows sum to 1


class Layer(nn.Module):
    """h + attention(norm(h))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attn = NystromAttention(width, heads, dropout)


class PositionEncoding(nn.Module):
    """PPEG: x + three depth-wise convolutions over the tokens, laid row by row into a square.

    Where the tokens make no square, the first ones are appended again, then zeros up to `least_side`²; what was
    appended is cut off again.
    """

    def __init__(self, width: int, least_side: int) -> None:
        super().__init__()
        self.least_side = least_side
        for name, kernel in KERNELS.items():
            self.add_module(name, nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, width) -> (n, width)."""
        count, width = tokens.shape
        square = squared(tokens)
        lacking = self.least_side**2 - len(square)
        grid = pad(square, (0, 0, 0, lacking)) if lacking > 0 else square
        side = math.isqrt(len(grid))
        # A sum of convolutions is the convolution by the sum of their kernels, and x itself is one of 1 in the middle.
        weight = grid.new_zeros(width, 1, _WIDEST, _WIDEST)
        weight[:, :, _WIDEST // 2, _WIDEST // 2] = 1
        bias = grid.new_zeros(width)
        for name, kernel in KERNELS.items():
            margin = (_WIDEST - kernel) // 2
            weight = weight + pad(self.get_parameter(f"{name}.weight"), (margin,) * 4)
            bias = bias + self.get_parameter(f"{name}.bias")
        found = conv2d(grid.T.view(1, width, side, side), weight, bias, padding=_WIDEST // 2, groups=width)
        return found.view(width, -1).T[:count]


class ClassTokenTransformer(nn.Module):
    """Layer, position encoding, layer, norm. The class token's output is the feature of the bag.

    Args:
        square: whether instances are squared before the first layer (TransMIL) or only for their positions (MHIM-MIL).
    """

    def __init__(self, *, dropout: float, square: bool, heads: int = HEADS) -> None:
        super().__init__()
        self.square = square
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.layer1 = Layer(WIDTH, heads, dropout)
        self.position = PositionEncoding(WIDTH, 1 if square else _WIDEST)
        self.layer2 = Layer(WIDTH, heads, dropout)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, embedded: Tensor) -> Tensor:
        """(N, width) -> (width,)."""
        found: Tensor = self.norm(self._second(self._first(embedded)[0]))
        return found

    def weighing(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """The feature (width,), and what each head of the first layer pays to each instance (h, N), unclipped."""
        tokens, weights = self._first(embedded, weigh=True)
        feature: Tensor = self.norm(self._second(tokens))
        return feature, _folded(weights[:, 1:].T, len(embedded)).T

    def seen(self, embedded: Tensor, head: nn.Linear) -> Seen:
        """The feature, the attention of the second layer, and what each instance adds to the logits of `head`.

        An instance that appears twice has the attention of both places. Negative weights, which the approximation
        makes, count as 0 in the attention. The evidence is softmax_c of an instance's share in the logits: its value,
        weighed by every head, projected and normalised as the class token is, times the weights of the head.
        """
        tokens, count = self._first(embedded)[0], len(embedded)
        attention = self.layer2.attn
        looked = attention.look(self.layer2.norm(tokens), first_alone=True)
        weights = attention.weights_of_first(looked)
        last = tokens[0] + attention.mix_first(looked)
        weight = _folded(weights.mean(dim=0)[1:].clamp(min=0), count)
        total = weight.sum()
        # The norm takes the mean off, divides by the deviation and scales: linear but for the one deviation.
        directions = head.weight * self.norm.weight
        directions = directions - directions.mean(dim=1, keepdim=True)
        deviation = torch.sqrt(last.var(correction=0) + self.norm.eps)
        parts = attention.parts_of_first(looked, weights, directions / deviation)
        return Seen(
            feature=self.norm(last),
            attention=torch.where(total > 0, weight / total, torch.full_like(weight, 1 / count)),
            evidence=torch.softmax(_folded(parts[1:], count), dim=1),
        )

    def _first(self, embedded: Tensor, *, weigh: bool = False) -> tuple[Tensor, Tensor]:
        """The tokens after layer and positions (1 + n, width); the first layer's weights (h, 1 + n) if wanted."""
        instances = squared(embedded) if self.square else embedded
        tokens = torch.cat([self.cls_token[0].to(instances.dtype), instances])
        attention = self.layer1.attn
        looked = attention.look(self.layer1.norm(tokens))
        tokens = tokens + attention.mix(looked)
        weights = attention.weights_of_first(looked) if weigh else tokens.new_empty(0)
        return torch.cat([tokens[:1], self.position(tokens[1:])]), weights

    def _second(self, tokens: Tensor) -> Tensor:
        """The class token after the second layer (width,). The others are no longer needed."""
        looked = self.layer2.attn.look(self.layer2.norm(tokens), first_alone=True)
        return tokens[0] + self.layer2.attn.mix_first(looked)


def squared(instances: Tensor) -> Tensor:
    """The first ones appended again until there are S², S = ⌈√N⌉: (N, width) -> (S², width)."""
    count = len(instances)
    side = math.isqrt(count - 1) + 1
    return torch.cat([instances, instances[: side * side - count]]) if side * side > count else instances


def transformer_entries(published: str, ours: str, position: str) -> tuple[Entry, ...]:
    """The published names of this transformer, with what stands before them; `position`: what PPEG is called."""
    entries = [Entry(f"{published}cls_token", f"{ours}cls_token", (1, 1, WIDTH))]
    for layer in ("layer1", "layer2"):
        theirs, own = f"{published}{layer}", f"{ours}{layer}"
        entries += _norm(f"{theirs}.norm", f"{own}.norm")
        entries += linear(f"{theirs}.attn.to_qkv", f"{own}.attn.to_qkv", 3 * WIDTH, WIDTH, bias=False)
        entries += linear(f"{theirs}.attn.to_out.0", f"{own}.attn.to_out.0", WIDTH, WIDTH)
        name = "attn.res_conv.weight"
        entries.append(Entry(f"{theirs}.{name}", f"{own}.{name}", (HEADS, 1, 33, 1)))
    for name, kernel in KERNELS.items():
        theirs, own = f"{published}{position}.{name}", f"{ours}position.{name}"
        entries.append(Entry(f"{theirs}.weight", f"{own}.weight", (WIDTH, 1, kernel, kernel)))
        entries.append(Entry(f"{theirs}.bias", f"{own}.bias", (WIDTH,)))
    return (*entries, *_norm(f"{published}norm", f"{ours}norm"))


def _norm(published: str, ours: str) -> list[Entry]:
    return [Entry(f"{published}.{name}", f"{ours}.{name}", (WIDTH,)) for name in ("weight", "bias")]


def _folded(numbers: Tensor, count: int) -> Tensor:
    """What is said of the copies, added to what is said of the instances: (n, …) -> (count, …)."""
    lacking = 2 * count - len(numbers)
    return numbers[:count] + pad(numbers[count:], (0, 0) * (numbers.ndim - 1) + (0, lacking))
