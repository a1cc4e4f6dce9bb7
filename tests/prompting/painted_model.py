"""A model that answers with what is painted, so that what it is shown and what becomes of its answer can be seen."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.prompting.promptable import Ask
from sammil_cli.regions.wsi_sam.model import Answer
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.slides.pixels import RGB

PAINT = (0, 160, 60)
_SURE = 10.0


def painted(picture: RGB) -> NDArray[np.float32]:
    """(h, w): the share of paint in each pixel, on white."""
    return np.clip((255 - picture[..., 0].astype(np.float32)) / 255, 0, 1)


class PaintedModel:
    """Means what is painted in both pictures and inside of the prompt: the box, the mask, or the box around points."""

    mask_levels = (0.0, 1.0)
    trained_mpp: float | None = None

    def __init__(self, side_px: int, *, needs_low: bool) -> None:
        self.side_px, self.needs_low, self.looks = side_px, needs_low, 0

    def look(self, high: RGB, low: RGB | None) -> Ask:
        self.looks += 1
        seen = painted(high)
        if low is not None:
            quarter = self.side_px // 4
            inner = painted(low)[quarter:-quarter, quarter:-quarter]  # HR is the middle half of LR
            # Not narrower than HR's by rounding: LR may only take away what is not there.
            near = cv2.resize(cv2.dilate(inner, np.ones((3, 3))), seen.shape[::-1], interpolation=cv2.INTER_NEAREST)
            seen = np.minimum(seen, (near > 0.1).astype(np.float32))

        def answer(prompts: Prompts) -> Answer:
            share = seen * self._inside(prompts)
            cells = share.reshape(self.side_px // 4, 4, self.side_px // 4, 4).mean((1, 3))
            logits = torch.as_tensor((2 * cells - 1) * _SURE)[None].float()
            return Answer(logits=logits, predicted_iou=torch.tensor([0.875]))

        return answer

    def _inside(self, prompts: Prompts) -> NDArray[np.float32]:
        """(s, s): the share of each pixel that the prompt covers."""
        if prompts.masks is not None:
            return np.kron(prompts.masks[0, 0].numpy(), np.ones((4, 4), np.float32))
        if prompts.boxes is not None:
            corners = prompts.boxes[0].reshape(2, 2)
        else:
            assert prompts.points is not None
            corners = torch.stack([prompts.points[0].amin(0), prompts.points[0].amax(0)])
        pixels = np.arange(self.side_px)
        x, y = (
            np.clip(np.minimum(pixels + 1, end) - np.maximum(pixels, begin), 0, 1) for begin, end in corners.T.tolist()
        )
        return np.asarray(y[:, None] * x, np.float32)
