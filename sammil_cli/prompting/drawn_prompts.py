"""Prompts drawn from a true mask, as a person would give them: a rough box, some points, a coarse mask.

Kinds and sizes as in the published training (docs/methods.md §12); all that is foreground on HR is meant by one prompt.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sammil_cli.regions.wsi_sam.prompts import Prompts

Kind = Literal["box", "points", "mask"]
Mask = NDArray[np.bool_]  # (s, s)
KINDS: tuple[Kind, ...] = ("box", "points", "mask")
POINTS = 10
JITTER = 0.2  # of a box's side
INSIDE = 255.0  # of a coarse mask, 0 outside: as the released training has it, far from the logits of SAM's own
_COARSE = 4  # pixels of the picture by those of a coarse mask, SAM's
_BLUR = 8  # pixels of a coarse mask across which its border is unsure
_UNSURE = 0.01


def draw_prompt(
    kind: Kind, high: Mask, low: Mask, rng: np.random.Generator, *, jitter: float = JITTER
) -> tuple[Prompts, Prompts | None]:
    """One prompt for what is foreground on HR, and the same on LR; None = HR's, where it lies on LR.

    Points are drawn in the mask of each picture by itself, as published, where that holds any. Box and coarse mask are
    HR's on LR, too: nobody who asks knows more.

    Args:
        high, low: (s, s), HR's with at least one pixel.
        jitter: see `jittered`; 0 = the tight box.
    """
    if kind == "box":
        return Prompts(boxes=torch.from_numpy(jittered(tight_box(high), high.shape[0], rng, jitter))[None]), None
    if kind == "mask":
        return Prompts(masks=coarse(high, rng)[None, None]), None
    drawn = [_points(mask, rng) if mask.any() else None for mask in (high, low)]
    if drawn[0] is None:
        raise ValueError("an empty mask has no points")
    return drawn[0], drawn[1]


def joined(prompts: Sequence[Prompts]) -> Prompts:
    """Prompts of one kind, with as many points each, as one, in their order."""

    def together(name: str) -> Tensor | None:
        given = [value for one in prompts if (value := getattr(one, name)) is not None]
        return torch.cat(given) if given else None

    return Prompts(**{name: together(name) for name in ("boxes", "points", "labels", "masks")})


def tight_box(mask: Mask) -> NDArray[np.float32]:
    """x0, y0, x1, y1 around the foreground, edges of its outermost pixels."""
    (rows,), (columns,) = np.nonzero(mask.any(1)), np.nonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def jittered(box: NDArray[np.float32], side_px: int, rng: np.random.Generator, jitter: float) -> NDArray[np.float32]:
    """A box whose middle moves by up to half of `jitter` of a side, whose side changes by up to `jitter` of itself.

    So each edge moves by up to `jitter` of the side; what leaves the picture of `side_px` is cut off.
    """
    middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    moved = middle + rng.uniform(-1, 1, 2) * size / 2 * jitter
    grown = size * (1 + rng.uniform(-1, 1, 2) * jitter)
    found = np.concatenate([moved - grown / 2, moved + grown / 2])
    return np.asarray(np.clip(found, 0, side_px), np.float32)


def coarse(mask: Mask, rng: np.random.Generator) -> Tensor:
    """A mask (s / 4, s / 4) of `INSIDE` and 0, right but for its border, which noise frays.

    Noise of sd 1 is added where a copy that was shrunk eightfold and grown again differs; inside is what exceeds 1/2
    then. What is smaller than a pixel of it counts by its densest pixel.
    """
    share = functional.avg_pool2d(torch.from_numpy(mask).float()[None, None], _COARSE)
    share = share / share.max() if share.max() < 0.5 else share
    grown = functional.interpolate(
        functional.avg_pool2d(share, _BLUR), share.shape[-2:], mode="bilinear", align_corners=False
    )
    unsure = (share - grown).abs() >= _UNSURE
    noise = torch.from_numpy(rng.standard_normal(tuple(share.shape), np.float32))
    return ((share + noise * unsure) > 0.5).float()[0, 0] * INSIDE


def _points(mask: Mask, rng: np.random.Generator) -> Prompts:
    """`POINTS` middles of pixels of the foreground; none twice, where there are as many."""
    rows, columns = np.nonzero(mask)
    chosen = rng.choice(len(rows), POINTS, replace=len(rows) < POINTS)
    points = np.stack([columns[chosen], rows[chosen]], 1).astype(np.float32) + np.float32(0.5)
    return Prompts(points=torch.from_numpy(points)[None], labels=torch.ones(1, POINTS, dtype=torch.int64))
