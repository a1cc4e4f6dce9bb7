"""What WSI-SAM is asked: boxes, points or coarse masks on HR, and the same on LR (docs/methods.md §12)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor
from torch.nn import functional

from sammil_cli.regions.wsi_sam.field import RATIO

_KINDS = ("boxes", "points", "masks")
MIDDLE = 0.5


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """p prompts of one kind on a picture, whose points are those of `Field`: its corner is (0, 0).

    `boxes` (p, 4): x0, y0, x1, y1. `points` (p, k, 2): x, y, with `labels` (p, k): 1 inside, 0 outside of what is
    meant; -1 fills a shorter row up, which SAM's attention sees: a prompt's answer changes a little by it.
    `masks` (p, 1, s / 4, s / 4) on a picture of s pixels: logits, as SAM gives them; the published training gives 255
    inside and 0 outside. Floating point.

    Raises:
        ValueError: not exactly one kind, points without labels, or no prompts.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise ValueError("prompts are boxes, points or masks")
        if (self.points is None) != (self.labels is None):
            raise ValueError("points have labels, and nothing else has")
        if not len(self):
            raise ValueError("no prompts")

    def __len__(self) -> int:
        return next(len(given) for kind in _KINDS if (given := getattr(self, kind)) is not None)

    def __getitem__(self, part: slice) -> "Prompts":
        return self._each(lambda given: given[part])

    def to(self, device: torch.device | str) -> "Prompts":
        """The same on a device."""
        return self._each(lambda given: given.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Prompts":
        given = {name: getattr(self, name) for name in (*_KINDS, "labels")}
        return Prompts(**{name: None if value is None else change(value) for name, value in given.items()})


def for_low(prompts: Prompts, side_px: int) -> Prompts:
    """Prompts on HR as prompts on the LR around it; both pictures have `side_px` pixels along a side.

    Points and corners p become p / 2 + side_px / 4. A mask shrinks to the middle half, each pixel the mean of four;
    what lies around HR is 0: outside as the published training writes masks, undecided where they are logits.
    """
    shift = side_px / (2 * RATIO)
    if prompts.masks is not None:
        small = functional.avg_pool2d(prompts.masks, RATIO)
        return Prompts(masks=functional.pad(small, [small.shape[-1] // RATIO] * 4))
    if prompts.boxes is not None:
        return Prompts(boxes=prompts.boxes / RATIO + shift)
    if prompts.points is not None:
        return replace(prompts, points=prompts.points / RATIO + shift)
    return prompts


def encode(prompts: Prompts, encoder: PromptEncoder) -> tuple[Tensor, Tensor]:
    """Tokens (p, t, d) and a picture (p or 1, d, s / 16, s / 16) to add to the embedding, by SAM's prompt encoder.

    SAM gives a pixel's middle its whole number, and adds the half itself.
    """
    sparse: Tensor
    dense: Tensor
    sparse, dense = encoder(
        points=None if prompts.points is None else (prompts.points - MIDDLE, prompts.labels),
        boxes=None if prompts.boxes is None else prompts.boxes - MIDDLE,
        masks=prompts.masks,
    )
    return sparse, dense if prompts.masks is not None else dense[:1]
