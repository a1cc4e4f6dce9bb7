"""The sheet: each picture where its row and column are, text that warns in red."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.contact_sheet import Cell, draw_sheet


def cell(row: str, colour: tuple[int, int, int], *, high: int, warn: bool = False) -> Cell:
    picture = np.full((high, 200, 3), colour, np.uint8)
    return Cell(row=row, picture=picture, lines=("12.3%  4 pieces", "µ"), warn=warn)


def where(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return (columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)


def test_pictures_keep_their_place_and_size(tmp_path: Path) -> None:
    blue, green, teal, wine = (0, 0, 99), (0, 99, 0), (0, 99, 99), (99, 0, 99)
    rows = [
        [cell("slide_a", blue, high=50), cell("slide_a", green, high=50)],
        [cell("slide_b", teal, high=120), cell("slide_b", wine, high=120, warn=True)],
    ]
    draw_sheet(tmp_path / "tune" / "sheet.png", ["current", "otsu"], rows)
    sheet = np.asarray(cv2.imread(str(tmp_path / "tune" / "sheet.png")))[..., ::-1]
    places = [where(sheet, colour) for colour in (blue, green, teal, wine)]
    assert [place[2:] for place in places] == [(200, 50), (200, 50), (200, 120), (200, 120)]
    (left, top), (right, same), (below, lower), _ = (place[:2] for place in places)
    assert (left, top) == (below, same)
    assert right >= left + 200
    assert lower >= top + 50
    red = (sheet[..., 0].astype(int) - sheet[..., 1] > 80) & (sheet[..., 2] < 100) & (sheet[..., 1] < 90)
    red &= ~(sheet == wine).all(axis=2)
    assert np.nonzero(red)[1].min() >= right  # the warning stands below its own picture
    assert np.nonzero(red)[0].min() >= lower + 120
