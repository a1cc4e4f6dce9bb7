"""Attention with relative positions, as SAM's image encoder has it, without a matrix of all queries by all keys."""

from typing import NamedTuple

import torch
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

_STRIP = 1 << 20  # scores at a time: 4 MB, which the caches of a processor hold
_ALIGNED = 8  # fused attention on GPUs wants head dimensions that are multiples of it


class Positions(NamedTuple):
    """What a query adds to its scores: embeddings of rows (h, key_h, d) and of columns (w, key_w, d)."""

    rows: Tensor
    columns: Tensor


def positions_of(attention: nn.Module, side: tuple[int, int]) -> Positions | None:
    """Those of one of the official module's attentions over `side` (h, w) tokens; None where it has none."""
    if not attention.use_rel_pos:
        return None
    (height, width), tables = side, (attention.rel_pos_h, attention.rel_pos_w)
    rows, columns = (get_rel_pos(size, size, table) for size, table in zip((height, width), tables, strict=True))
    return Positions(rows=rows, columns=columns)


def attend_in_strips(q: Tensor, k: Tensor, v: Tensor, positions: Positions | None, scale: float) -> Tensor:
    """For processors: some queries at a time, against all keys.

    Args:
        q: (n, heads, h, w, d).
        k, v: (n, heads, keys, d), keys row by row.
        positions: for exactly these rows of queries, columns of queries, rows and columns of keys.
        scale: of q·k; what positions add is not scaled.

    Returns:
        as `q`.
    """
    shape, (keys, dim) = q.shape, k.shape[-2:]
    added = None if positions is None else _added(q, positions)
    q, k, v = q.reshape(-1, shape[2] * shape[3], dim), k.flatten(0, 1), v.flatten(0, 1)
    attended = torch.empty_like(q)
    together = max(1, _STRIP // (q.shape[1] * keys))
    step = q.shape[1] if together > 1 else max(1, _STRIP // keys)
    for group in range(0, len(q), together):
        of = slice(group, group + together)
        for first in range(0, q.shape[1], step):
            some = (of, slice(first, first + step))
            if added is None:
                scores = (q[some] @ k[of].mT).mul_(scale)
            else:
                by_row, by_column = (part.flatten(0, 1).flatten(1, 2)[some] for part in added)
                scores = (by_row[..., :, None] + by_column[..., None, :]).flatten(2)
                scores.baddbmm_(q[some], k[of].mT, alpha=scale)
            attended[some] = torch.softmax(scores, -1) @ v[of]
    return attended.view(shape)


def attend_folded(q: Tensor, k: Tensor, v: Tensor, positions: Positions | None, scale: float) -> Tensor:
    """For GPUs: the same by fused attention, with the positions as further dimensions of queries and keys.

    q·k·scale + q·rows[key's row] + q·columns[key's column] is the product of [q·scale, q·rows, q·columns] and
    [k, one-hot of the key's row, one-hot of its column].
    """
    queries, keys = [q * scale], [k]
    if positions is not None:
        height, width = positions.rows.shape[1], positions.columns.shape[1]
        row, column = torch.meshgrid(
            torch.arange(height, device=k.device), torch.arange(width, device=k.device), indexing="ij"
        )
        queries += _added(q, positions)
        for index, size in ((row, height), (column, width)):
            keys.append(functional.one_hot(index.flatten(), size).to(k.dtype).expand(*k.shape[:3], size))
    missing = -sum(part.shape[-1] for part in queries) % _ALIGNED
    queries_flat = functional.pad(torch.cat(queries, -1).flatten(2, 3), (0, missing))
    attended = functional.scaled_dot_product_attention(
        queries_flat, functional.pad(torch.cat(keys, -1), (0, missing)), v, scale=1.0
    )
    return attended.view(q.shape)


def _added(q: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """q times the embeddings of rows (n, heads, h, w, key_h) and of columns (n, heads, h, w, key_w)."""
    rows, columns = (table.to(q.dtype) for table in positions)
    return torch.einsum("nahwd,hkd->nahwk", q, rows), torch.einsum("nahwd,wkd->nahwk", q, columns)
