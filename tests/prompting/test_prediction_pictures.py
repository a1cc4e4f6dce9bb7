"""Pictures of held-out fields: each outline where it belongs, the prompt under it."""

import cv2
import numpy as np
import torch

from sammil_cli.prompting.drawn_prompts import Kind
from sammil_cli.prompting.prediction_pictures import ANSWER, PROMPT, TRUTH, draw_answers
from sammil_cli.regions.wsi_sam.prompts import Prompts

STRIP, PANEL = 28, 512


def test_a_panel_for_each_prompt_has_the_true_outline_the_answer_and_the_prompt() -> None:
    high = np.full((256, 256, 3), 245, np.uint8)
    truth, answer = np.zeros((256, 256), np.bool_), np.zeros((256, 256), np.bool_)
    truth[40:120, 60:200] = True
    answer[150:200, 20:90] = True
    coarse = torch.zeros(1, 1, 64, 64)
    coarse[..., 48:56, 40:60] = 255
    asked: dict[Kind, Prompts] = {
        "box": Prompts(boxes=torch.tensor([[10.0, 220.0, 130.0, 250.0]])),
        "points": Prompts(points=torch.tensor([[[220.5, 20.5]]]), labels=torch.ones(1, 1)),
        "mask": Prompts(masks=coarse),
    }
    content = draw_answers(high, truth, {kind: (answer, prompt) for kind, prompt in asked.items()})
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == (STRIP + PANEL, 3 * PANEL, 3)
    boxes = [where(picture, number, PROMPT) for number in range(3)]
    for number in range(3):
        assert where(picture, number, TRUTH) == (120, 80, 399, 239)
        assert where(picture, number, ANSWER) == (40, 300, 179, 399)
    for found, wanted in zip(boxes, ((20, 440, 260, 500), (441, 41, 441, 41), (320, 384, 479, 447)), strict=True):
        assert np.abs(np.subtract(found, wanted)).max() <= 2  # the width of a line


def where(picture: np.ndarray, panel: int, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:  # type: ignore[type-arg]
    """Left, top, right, bottom of the middle of a line of a colour, in pixels of a panel."""
    part = picture[STRIP:, panel * PANEL : (panel + 1) * PANEL]
    rows, columns = np.nonzero((part == colour).all(-1))
    reach = {PROMPT: {0: 2, 1: 4, 2: 0}[panel]}.get(colour, 1)
    return (int(columns.min()) + reach, int(rows.min()) + reach, int(columns.max()) - reach, int(rows.max()) - reach)
