"""A picture of a slide's answers: the surroundings of each prompt, the prompt, and what the model made of it."""

from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.prompting.asked import Prompt
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.report.contact_sheet import Cell, draw_sheet
from sammil_cli.slides.pixels import RGB

MOST_PANELS = 48
_PANEL_PX = 320
_COLUMNS = 4
_PROMPT, _OUTSIDE, _ANSWER = (255, 190, 0), (220, 30, 30), (0, 140, 60)
_NOTHING = Cell(row="", picture=np.full((1, 1, 3), 248, np.uint8), lines=(), warn=False)
_SHIFT = 4  # bits behind the point of OpenCV's coordinates


class Panels:
    """Collects panels of HR fields, the first `MOST_PANELS` by number.

    Args:
        total: how many prompts there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._cells: dict[int, Cell] = {}

    def add(
        self, high: RGB, field: Field, prompt: Prompt, inside: NDArray[np.bool_], number: int, predicted_iou: float
    ) -> None:
        """One more: HR (s, s, 3) of a field, the prompt in yellow (points outside in red), its mask (s, s) in green."""
        if number > MOST_PANELS:
            return
        picture = np.asarray(cv2.resize(high, (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_AREA), np.uint8)
        small = cv2.resize(inside.astype(np.uint8), (_PANEL_PX, _PANEL_PX), interpolation=cv2.INTER_AREA)
        tint = np.where(small[..., None] > 0, np.array(_ANSWER), picture)
        picture = np.ascontiguousarray((0.75 * picture + 0.25 * tint).astype(np.uint8))
        outlines, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _ANSWER, 2)
        shrink = _PANEL_PX / field.out_px
        if prompt.is_area:
            for part in shapely.get_parts(prompt.shape):
                corners = (field.of_slide(shapely.get_coordinates(part.exterior)) * shrink - 0.5) * 2**_SHIFT
                cv2.polylines(picture, [np.round(corners).astype(np.int32)], True, _PROMPT, 2, cv2.LINE_AA, _SHIFT)
        else:
            for points, colour in ((prompt.shape, _PROMPT), (prompt.outside, _OUTSIDE)):
                for x, y in (
                    (field.of_slide(shapely.get_coordinates(points)) * shrink - 0.5).round().astype(int).tolist()
                ):
                    cv2.circle(picture, (x, y), 5, colour, -1, cv2.LINE_AA)
        named = " ".join(filter(None, (prompt.name, f"({prompt.class_name})" if prompt.class_name else "")))
        lines = (named or "-", f"predicted IoU {predicted_iou:.2f}")
        self._cells[number] = Cell(row="", picture=picture, lines=lines, warn=not inside.any())

    def write(self, path: Path) -> None:
        """Writes them as PNG, in the order of the prompts."""
        cells = [self._cells[number] for number in sorted(self._cells)]
        columns = min(_COLUMNS, len(cells))
        cells += [_NOTHING] * (-len(cells) % columns)
        rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
        more = f", the first {MOST_PANELS} of {self._total}" if self._total > MOST_PANELS else ""
        draw_sheet(path, (f"yellow: prompt, green: answer{more}", *[""] * (columns - 1)), rows)
