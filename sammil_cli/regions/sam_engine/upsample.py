"""From SAM's low-resolution logits to masks at the picture's size, exactly, without drawing most of their pixels.

The official path interpolates every logit to the model's input size, cuts the padding off, and interpolates again to
the picture's size; both steps are linear, so each pixel is a weighted mean of a few low-resolution logits. Where these
lie on the same side of all thresholds, so does the pixel: only cells along a mask's border are computed. Where borders
are everywhere (as in the masks of random weights), drawing all pixels is faster, and is what is done.
"""

from dataclasses import dataclass
from functools import reduce

import torch
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch import Tensor
from torch.nn import functional

_OFFSET = 1.0  # of the stability score, as published
_LEVELS = (-_OFFSET, 0.0, _OFFSET)  # a mask is what lies above 0
_MOST_BORDER = 0.1  # share of border cells from which on all pixels are drawn; measured, on a CPU


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One direction: pixels are grouped in cells that lean on the same k logits.

    `start` (b,): first logit of each cell; `first` (b + 1,): first pixel of each cell; `cell` (s,): cell of each pixel;
    `weight` (b, r, k): of pixel r of a cell for logit k; `real` (b, r): whether the cell has an r-th pixel.
    """

    start: Tensor
    first: Tensor
    cell: Tensor
    weight: Tensor
    real: Tensor

    @property
    def size(self) -> Tensor:
        """(b,) pixels of each cell, as float32."""
        return self.first.diff().float()


def _axis(logits: int, input_px: int, shown_px: int, out_px: int, device: torch.device) -> _Axis:
    """The official two interpolations in one direction: `logits` -> `input_px`, cut to `shown_px` -> `out_px`."""
    basis = torch.eye(logits)[None]
    grown = functional.interpolate(basis, input_px, mode="linear", align_corners=False)[..., :shown_px]
    matrix = functional.interpolate(grown, out_px, mode="linear", align_corners=False)[0].T  # (out, logits)
    used = matrix != 0
    start = used.int().argmax(1)
    end = logits - used.flip(1).int().argmax(1)
    reach = int((end - start).max())
    start = start.clamp(max=logits - reach)
    starts, cell, count = torch.unique_consecutive(start, return_inverse=True, return_counts=True)
    first = torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(0)])
    most = int(count.max())
    weight = torch.zeros(len(starts), most, reach)
    place = torch.arange(out_px) - first[cell]
    weight[cell, place] = matrix.gather(1, start[:, None] + torch.arange(reach))
    real = torch.arange(most) < count[:, None]
    return _Axis(
        start=starts.to(device),
        first=first.to(device),
        cell=cell.to(device),
        weight=weight.to(device),
        real=real.to(device),
    )


@dataclass(frozen=True, kw_only=True)
class Upsampled:
    """m masks at the picture's size, as cells that are wholly inside (m, by, bx), and the pixels of border cells.

    `border` (n, 3): mask, row and column of a cell; `on` (n, r, c): its pixels above 0.
    """

    inside: Tensor
    border: Tensor
    on: Tensor
    stability: Tensor  # (m,)
    rows: _Axis
    columns: _Axis

    def any(self) -> Tensor:
        """(m,) whether a mask has a pixel."""
        some = self.inside.flatten(1).any(1)
        some[self.border[self.on.flatten(1).any(1), 0]] = True
        return some

    def boxes(self) -> Tensor:
        """(m, 4) x0, y0, x1, y1, the last pixels included; 0, 0, 0, 0 for an empty mask."""
        bottom_top = self._reach(self.rows, self.inside.view(torch.uint8).amax(2), 1, self.on.any(2))
        right_left = self._reach(self.columns, self.inside.view(torch.uint8).amax(1), 2, self.on.any(1))
        (top, bottom), (left, right) = bottom_top, right_left
        return torch.stack([left, top, right, bottom], 1)

    def _reach(self, axis: _Axis, inside: Tensor, direction: int, on: Tensor) -> tuple[Tensor, Tensor]:
        """First and last pixel (m,) in a direction, from whole cells (m, b) and border cells' pixels (n, r)."""
        hit = inside[:, axis.cell].bool()
        which, pixel = on.nonzero(as_tuple=True)
        hit[self.border[which, 0], axis.first[self.border[which, direction]] + pixel] = True
        last = hit.shape[1] - 1 - hit.flip(1).int().argmax(1)
        return hit.int().argmax(1), torch.where(hit.any(1), last, 0)

    def draw(self) -> Tensor:
        """The masks (m, h, w)."""
        masks = self.inside[:, self.rows.cell][:, :, self.columns.cell]
        mask, row, column = self.border.T
        # Cells with fewer pixels than others are filled up with False.
        which, down, right = self.on.nonzero(as_tuple=True)
        masks[mask[which], self.rows.first[row[which]] + down, self.columns.first[column[which]] + right] = True
        return masks


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The same as `Upsampled`, of masks (m, h, w) that were drawn pixel by pixel."""

    masks: Tensor
    stability: Tensor

    def any(self) -> Tensor:
        """(m,) whether a mask has a pixel."""
        return self.masks.flatten(1).any(1)

    def boxes(self) -> Tensor:
        """(m, 4) as `Upsampled.boxes`."""
        boxes: Tensor = batched_mask_to_box(self.masks)
        return boxes

    def draw(self) -> Tensor:
        """The masks (m, h, w)."""
        return self.masks


class Upsampler:
    """For pictures of one shape: see the module.

    Args:
        logits_px: side of the logits. input_px: side of the model's input.
        shown_px: rows and columns of the input that show the picture; the rest is padding.
        out_px: rows and columns of the picture.
    """

    def __init__(
        self, *, logits_px: int, input_px: int, shown_px: tuple[int, int], out_px: tuple[int, int], device: torch.device
    ) -> None:
        self._input_px, self._shown_px, self._out_px = input_px, shown_px, out_px
        self._rows, self._columns = (
            _axis(logits_px, input_px, shown, out, device) for shown, out in zip(shown_px, out_px, strict=True)
        )

    def __call__(self, logits: Tensor) -> Upsampled | Drawn:
        """Logits (m, l, l) -> masks and their stability: |above 1| / |above -1|, in pixels."""
        rows, columns = self._rows, self._columns
        low = high = torch.stack([logits > value for value in _LEVELS]).sum(0, dtype=torch.uint8)
        for axis, dimension in ((rows, 1), (columns, 2)):
            reach = range(axis.weight.shape[2])
            low = reduce(torch.minimum, [low.index_select(dimension, axis.start + k) for k in reach])
            high = reduce(torch.maximum, [high.index_select(dimension, axis.start + k) for k in reach])
        border = (low != high).nonzero()
        if len(border) > _MOST_BORDER * low.numel():
            return self._drawn(logits)
        values = self._values(logits, border)
        mask, row, column = border.T
        real = rows.real[row][:, :, None] & columns.real[column][:, None, :]
        counts = []
        for number, value in ((3, _OFFSET), (1, -_OFFSET)):
            whole = (((low >= number) & (low == high)).float() @ columns.size) @ rows.size
            above = ((values > value) & real).sum((1, 2))
            counts.append(whole.long().index_add_(0, mask, above))
        return Upsampled(
            inside=(low >= 2) & (low == high),
            border=border,
            on=(values > 0) & real,
            stability=counts[0] / counts[1],
            rows=rows,
            columns=columns,
        )

    def _drawn(self, logits: Tensor) -> Drawn:
        rows, columns = self._shown_px
        grown = functional.interpolate(logits[None], (self._input_px,) * 2, mode="bilinear", align_corners=False)
        shown = grown[..., :rows, :columns]
        values = functional.interpolate(shown, self._out_px, mode="bilinear", align_corners=False)[0]
        stability: Tensor = calculate_stability_score(values, 0.0, _OFFSET)
        return Drawn(masks=values > 0, stability=stability)

    def support(self, boxes: Tensor) -> list[tuple[int, int, int, int]]:
        """The logits, x0, y0, x1, y1 (ends excluded), that the pixels of boxes (m, 4), ends included, lean on."""
        sides = []
        for axis, begin in ((self._columns, 0), (self._rows, 1)):
            first, last = axis.cell[boxes[:, begin]], axis.cell[boxes[:, begin + 2]]
            sides += [axis.start[first], axis.start[last] + axis.weight.shape[2]]
        left, right, top, bottom = sides
        return [(x0, y0, x1, y1) for x0, y0, x1, y1 in torch.stack([left, top, right, bottom], 1).tolist()]

    def _values(self, logits: Tensor, border: Tensor) -> Tensor:
        """The pixels' values (n, r, c) in the cells of `border` (n, 3)."""
        mask, row, column = border.T
        y_weight, x_weight = self._rows.weight[row], self._columns.weight[column]
        side = logits.shape[2]
        corner = (mask * logits.shape[1] + self._rows.start[row]) * side + self._columns.start[column]
        flat = logits.reshape(-1)
        values = torch.zeros(len(border), y_weight.shape[1], x_weight.shape[1], device=logits.device)
        for y in range(y_weight.shape[2]):
            line = torch.zeros(x_weight.shape[:2], device=logits.device)
            for x in range(x_weight.shape[2]):
                line += flat[corner + (y * side + x), None] * x_weight[:, :, x]
            values += y_weight[:, :, y, None] * line[:, None, :]
        return values
