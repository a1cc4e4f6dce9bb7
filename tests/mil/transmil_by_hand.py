"""TransMIL's equations once more, token by token and head by head (docs/methods.md §6), to test ours by."""

import math

import torch
from torch import Tensor, nn

LANDMARKS = 256


def weight(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(name)


def normed(module: nn.Module, tokens: Tensor) -> Tensor:
    rows = [(row - row.mean()) / torch.sqrt(((row - row.mean()) ** 2).mean() + 1e-5) for row in tokens]
    return torch.stack(rows) * weight(module, "weight") + weight(module, "bias")


def inverse(matrices: list[Tensor]) -> list[Tensor]:
    """The six iterations, started alike for all heads."""
    rows, columns = (torch.stack([a.sum(dim).max() for a in matrices]).max() for dim in (1, 0))
    found = []
    for a in matrices:
        eye, z = torch.eye(len(a), dtype=a.dtype), a.T / (rows * columns)
        for _ in range(6):
            z = 0.25 * z @ (13 * eye - a @ z @ (15 * eye - a @ z @ (7 * eye - a @ z)))
        found.append(z)
    return found


def nystrom(module: nn.Module, tokens: Tensor, heads: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """What each token takes up (n, width), A1 Z A3 (h, n, n), and the values (h, n, e)."""
    n, width = tokens.shape
    size, length = width // heads, math.ceil(n / LANDMARKS)
    zeros = length * LANDMARKS - n
    padded = torch.cat([tokens.new_zeros(zeros, width), tokens])
    q, k, v = (padded @ weight(module, "to_qkv.weight")[i * width : (i + 1) * width].T for i in range(3))
    by_head = [[x[:, h * size : (h + 1) * size] for x in (q / math.sqrt(size), k, v)] for h in range(heads)]
    marks = [[torch.stack([part.mean(0) for part in x.split(length)]) for x in one[:2]] for one in by_head]
    z = inverse([torch.softmax(mq @ mk.T, 1) for mq, mk in marks])
    mixed, maps = [], []
    for head, ((qh, kh, vh), (mq, mk)) in enumerate(zip(by_head, marks, strict=True)):
        full = torch.softmax(qh @ mk.T, 1) @ z[head] @ torch.softmax(mq @ kh.T, 1)
        taps, around = weight(module, "res_conv.weight")[head, 0, :, 0], torch.nn.functional.pad(vh, (0, 0, 16, 16))
        near = torch.stack([taps[j] * around[j : j + len(vh)] for j in range(33)]).sum(0)
        mixed.append(full @ vh + near)
        maps.append(full[zeros:, zeros:])
    out = torch.cat(mixed, 1) @ weight(module, "to_out.0.weight").T + weight(module, "to_out.0.bias")
    values = torch.stack([vh[zeros:] for _, _, vh in by_head])
    return out[zeros:], torch.stack(maps), values


def positions(module: nn.Module, tokens: Tensor) -> Tensor:
    """PPEG over tokens that make a square."""
    side, width = math.isqrt(len(tokens)), tokens.shape[1]
    total = tokens.view(side, side, width)
    for name, kernel in (("proj", 7), ("proj1", 5), ("proj2", 3)):
        taps, reach = weight(module, f"{name}.weight")[:, 0], kernel // 2
        around = torch.nn.functional.pad(tokens.view(side, side, width), (0, 0, reach, reach, reach, reach))
        total = total + weight(module, f"{name}.bias")
        for y in range(kernel):
            for x in range(kernel):
                total = total + taps[:, y, x] * around[y : y + side, x : x + side]
    return total.view(-1, width)


def embedded(layer: nn.Module, instances: Tensor) -> Tensor:
    return torch.relu(instances @ weight(layer, "0.weight").T + weight(layer, "0.bias"))
