"""Held-out fields as the model answers them: HR with the true outline, the answer's, and the prompt."""

from collections.abc import Mapping

import cv2
import numpy as np

from sammil_cli.prompting.dice import overlap
from sammil_cli.prompting.drawn_prompts import Kind
from sammil_cli.prompting.foreground import Mask
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.slides.pixels import RGB

TRUTH, ANSWER, PROMPT = (20, 150, 40), (230, 90, 0), (30, 60, 220)  # green, orange, blue
_PANEL_PX = 512
_STRIP_PX = 28
_INSIDE = 128.0  # of a coarse mask


def draw_answers(high: RGB, truth: Mask, answers: Mapping[Kind, tuple[Mask, Prompts]]) -> bytes:
    """A PNG with a panel for each kind of prompt, its Dice above it.

    Green: what was drawn; orange: the answer; blue: the prompt (box, points, or the outline of the coarse mask).

    Args:
        high: (s, s, 3). truth: (s, s). answers: masks (s, s), each with the one prompt that it answers.
    """
    panels = [_panel(high, truth, kind, *answer) for kind, answer in answers.items()]
    done, content = cv2.imencode(".png", np.ascontiguousarray(np.concatenate(panels, 1)[..., ::-1]))
    if not done:
        raise ValueError("the picture cannot be encoded")
    return content.tobytes()


def _panel(high: RGB, truth: Mask, kind: Kind, answer: Mask, prompt: Prompts) -> RGB:
    scale = _PANEL_PX / high.shape[0]
    picture = np.asarray(cv2.resize(high, (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_AREA), np.uint8)
    if prompt.boxes is not None:
        x0, y0, x1, y1 = (prompt.boxes[0].numpy() * scale).round().astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), PROMPT, 5)
    if prompt.masks is not None:
        _outline(picture, prompt.masks[0, 0].numpy() > _INSIDE, PROMPT, 1)
    for mask, colour in ((truth, TRUTH), (answer, ANSWER)):  # on top: a tight box lies along the true outline
        _outline(picture, mask, colour, 2)
    if prompt.points is not None:
        for x, y in (prompt.points[0].numpy() * scale).round().astype(int).tolist():
            cv2.circle(picture, (x, y), 6, (255, 255, 255), -1)
            cv2.circle(picture, (x, y), 4, PROMPT, -1)
    strip = np.full((_STRIP_PX, _PANEL_PX, 3), 255, np.uint8)
    text = f"{kind}: Dice {overlap(answer, truth).dice:.3f}"
    cv2.putText(strip, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    panel = np.concatenate([strip, picture])
    panel[:, -2:] = 255
    return np.asarray(panel, np.uint8)


def _outline(picture: RGB, mask: Mask, colour: tuple[int, int, int], wide: int) -> None:
    """Draws along the border of a mask of any size."""
    grown = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(grown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, wide)
