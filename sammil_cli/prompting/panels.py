"""A picture of a slide's answers: the surroundings of each prompt, the prompt, and what the model made of it."""

from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli.prompting.asked import Prompt
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.report.contact_sheet import Cell, draw_sheet
from sammil_cli.slides.pixels import RGB

MOST_PANELS = 48
_PANEL_PX = 320
_COLUMNS = 4
_PROMPT, _OUTSIDE, _ANSWER = (255, 190, 0), (220, 30, 30), (0, 140, 60)
_NOTHING = Cell(row="", picture=np.full((1, 1, 3), 248, np.uint8), lines=(), warn=False)
_ROOM = 1.5  # times the prompt and its answer: what is shown


def _window(field: Field, prompt: Prompt, inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """What is shown of HR: a square around the prompt and the answer, x, y and side in its pixels."""
    around = field.of_slide(np.reshape(prompt.bounds, (2, 2)))
    if inside.any():
        ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        around = np.concatenate([around, [[xs[0], ys[0]], [xs[-1] + 1, ys[-1] + 1]]])
    low, high = around.min(0), around.max(0)
    most = field.out_px
    side = min(most, max(most // 8, round(_ROOM * float((high - low).max()))))
    left, top = (int(np.clip(round(middle - side / 2), 0, most - side)) for middle in ((low + high) / 2).tolist())
    return left, top, side


class Panels:
    """Collects panels, parts of HR fields, the first `MOST_PANELS` by number.

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
        left, top, side = _window(field, prompt, inside)
        shown = (slice(top, top + side), slice(left, left + side))
        size = (_PANEL_PX, _PANEL_PX)
        picture = np.asarray(cv2.resize(high[shown], size, interpolation=cv2.INTER_AREA), np.uint8)
        small = np.asarray(cv2.resize(inside[shown].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8)
        tint = np.where(small[..., None] > 0, np.array(_ANSWER), picture)
        picture = np.ascontiguousarray((0.75 * picture + 0.25 * tint).astype(np.uint8))
        outlines, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _ANSWER, 2)

        def place(geometry: shapely.Geometry) -> NDArray[np.int32]:
            points = (field.of_slide(shapely.get_coordinates(geometry)) - (left, top)) * (_PANEL_PX / side) - 0.5
            return np.round(points).astype(np.int32)

        if prompt.is_area:
            for part in shapely.get_parts(prompt.shape):
                cv2.polylines(picture, [place(part.exterior)], True, _PROMPT, 1, cv2.LINE_AA)
        for points, colour in ((prompt.shape, _PROMPT), (prompt.outside, _OUTSIDE)):
            for x, y in [] if isinstance(points, MultiPolygon) else place(points).tolist():
                cv2.circle(picture, (x, y), 4, colour, -1, cv2.LINE_AA)
        named = " ".join(filter(None, (prompt.name, f"({prompt.class_name})" if prompt.class_name else "")))
        lines = (f"{number} {named}", f"predicted IoU {predicted_iou:.2f}")
        self._cells[number] = Cell(row="", picture=picture, lines=lines, warn=not inside.any())

    def write(self, path: Path) -> None:
        """Writes them as PNG, in the order of the prompts."""
        cells = [self._cells[number] for number in sorted(self._cells)]
        columns = min(_COLUMNS, len(cells))
        cells += [_NOTHING] * (-len(cells) % columns)
        rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
        more = f", the first {MOST_PANELS} of {self._total}" if self._total > MOST_PANELS else ""
        draw_sheet(path, (f"yellow: prompt, green: answer{more}", *[""] * (columns - 1)), rows)
