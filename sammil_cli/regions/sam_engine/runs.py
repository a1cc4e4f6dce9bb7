"""Run lengths of masks that lie on a device, found there: only the places where a run ends are copied."""

import numpy as np
import torch
from torch import Tensor

from sammil_cli.regions.region_mask import RegionMask


def encode_masks(masks: Tensor, boxes: Tensor) -> list[RegionMask]:
    """Masks (m, h, w), none empty, and their boxes (m, 4) x0, y0, x1, y1, the last pixels included -> region masks."""
    count, rows, columns = masks.shape
    flat = masks.transpose(1, 2).reshape(count, rows * columns)
    starts = torch.nn.functional.pad(flat, (1, 0))
    mask, place = (starts[:, 1:] ^ starts[:, :-1]).nonzero(as_tuple=True)
    ends = np.searchsorted(mask.cpu().numpy(), np.arange(1, count))
    places = np.split(place.cpu().numpy(), ends)
    encoded = []
    for changes, (x0, y0, x1, y1) in zip(places, boxes.tolist(), strict=True):
        runs = np.diff(np.concatenate([[0], changes, [rows * columns]]))
        box = (x0, y0, x1 - x0 + 1, y1 - y0 + 1)
        encoded.append(RegionMask.of_canvas_runs(runs.astype(np.uint32), box, rows))
    return encoded
