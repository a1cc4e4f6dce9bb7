"""A contact sheet: one row for each slide, one column for each setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.picture_file import write_picture
from sammil_cli.storage.shown_text import shown

_GAP, _LINE, _LEAST_PX = 10, 18, 150
_INK, _WARNING, _PAPER = (40, 40, 40), (190, 40, 30), 248


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A picture (h, w, 3) with lines of text below; `warn` writes them in red."""

    row: str
    picture: RGB
    lines: tuple[str, ...]
    warn: bool


def draw_sheet(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Writes the sheet as PNG: names of columns on top, a row's name above it."""
    width = max([_LEAST_PX, *(cell.picture.shape[1] for row in rows for cell in row)]) + _GAP
    bands = [_heading(columns, width), *(_band(row, width) for row in rows)]
    write_picture(path, np.vstack(bands))


def _heading(columns: Sequence[str], width: int) -> RGB:
    band = _paper(2 * _LINE, len(columns) * width)
    for index, name in enumerate(columns):
        _write(band, name, index * width, _LINE, _INK, 2)
    return band


def _band(row: Sequence[Cell], width: int) -> RGB:
    high = max(cell.picture.shape[0] for cell in row)
    texts = max(len(cell.lines) for cell in row)
    band = _paper(high + (texts + 2) * _LINE, len(row) * width)
    _write(band, row[0].row, 0, _LINE, _INK, 2)
    for index, cell in enumerate(row):
        left, top = index * width + _GAP // 2, _LINE + _GAP
        shown_high, shown_wide = cell.picture.shape[:2]
        band[top : top + shown_high, left : left + shown_wide] = cell.picture
        for number, text in enumerate(cell.lines):
            line = top + shown_high + (number + 1) * (_LINE - 2)
            _write(band, text, index * width, line, _WARNING if cell.warn else _INK, 1)
    return band


def _paper(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _write(band: RGB, text: str, left: int, line: int, colour: tuple[int, int, int], weight: int) -> None:
    """OpenCV's letters are ASCII only."""
    plain = shown(text).encode("ascii", "replace").decode()
    cv2.putText(band, plain, (left + _GAP // 2, line - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, weight, cv2.LINE_AA)
