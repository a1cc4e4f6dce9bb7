"""The picture of one slide: heading, slide, attention, evidence, regions, the paper's view, details, top patches."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from sammil_cli.report import colour_keys, heading
from sammil_cli.report.colour_keys import attention_key, evidence_key, swatches
from sammil_cli.report.colours import attention_colours, evidence_colours
from sammil_cli.report.marks import LETTERS, letter_fields, number_patches, outline_lesions, ring_foci, scale_bar
from sammil_cli.report.paper_view import ATTENTION_FROM, CYAN, EVIDENCE_ABOVE, WHITE, paper_view
from sammil_cli.report.patch_paint import heat, strongest
from sammil_cli.report.scales import Values, attention_place, evidence_place
from sammil_cli.report.sheet import QUIET, Sheet, fit, fitted
from sammil_cli.report.slide_view import Detail, SlideView
from sammil_cli.slides.pixels import RGB

PANEL_PX = 640  # longer side of a panel
DETAIL_PX = (640, 420)  # width and height of a field in detail

_GAP, _TITLE, _LEAST, _FOOT = 24, 34, 330, 20
_TALL = 1.2  # slides higher than this times their width have all panels in one row
_TITLE_SIZE, _SMALL_SIZE = 19, 15
_PALE, _BOLD_FROM = (255, 255, 255), 2.0  # of patches' outlines in detail: bold from twice the mean on

Corner = tuple[int, int]
Draw = Callable[[Sheet, SlideView, Corner, int], None]


def draw(view: SlideView) -> bytes:
    """The picture as PNG: panels row by row, the patches that weigh most in the cells that are left, then details."""
    view = view.sized(PANEL_PX)
    height, columns = view.image.shape[:2]
    cell = max(columns, _LEAST)
    panels: list[tuple[str, Draw]] = [
        (view.ground + (", known lesions outlined" if view.outlines else ""), _slide),
        ("attention", _attention),
        (f"evidence for {view.shown}", _evidence),
        ("regions", _regions),
    ]
    if view.classes == 2:
        panels.append(("as in the paper's Fig. 11", _paper))
    across = 6 if height > _TALL * columns else 3
    width = across * (cell + _GAP) + _GAP
    step = _TITLE + height + colour_keys.HEIGHT
    rows = math.ceil((len(panels) + bool(view.top)) / across)
    wide = (width - 4 * _GAP) // 3
    high = round(wide * DETAIL_PX[1] / DETAIL_PX[0])
    below = heading.HEIGHT + rows * step
    sheet = Sheet(width, below + (_TITLE + high + _FOOT if view.details else 0))
    heading.draw_heading(sheet, view.heading, _GAP)

    def corner(number: int) -> Corner:
        return _GAP + number % across * (cell + _GAP), heading.HEIGHT + number // across * step

    for number, (title, panel) in enumerate(panels):
        left, top = corner(number)
        sheet.write(fitted(title, _TITLE_SIZE, cell, "-Bold"), (left, top + 4), _TITLE_SIZE, weight="-Bold")
        panel(sheet, view, (left + (cell - columns) // 2, top + _TITLE), cell)
    if view.top:
        left, top = corner(len(panels))
        _top_patches(sheet, view, (left, top), (width - _GAP - left, _TITLE + height + colour_keys.HEIGHT - _FOOT))
    for number, detail in enumerate(view.details[:3]):
        _detail(sheet, view, detail, LETTERS[number], (_GAP + number * (wide + _GAP), below), (wide, high))
    return sheet.to_png()


def attention_panel(view: SlideView) -> RGB:
    """The overview in grey with attention painted on it, (h, w, 3)."""
    shown = strongest(view.image.shape[:2], view.xy, view.side, view.attention)
    return heat(view.image, shown, attention_colours(attention_place(view.times)))


def evidence_panel(view: SlideView) -> RGB:
    """The overview in grey with evidence painted on it, (h, w, 3); of several patches what says most shows."""
    places = evidence_place(view.evidence, view.classes)
    shown = strongest(view.image.shape[:2], view.xy, view.side, np.abs(places - 0.5))
    return heat(view.image, shown, evidence_colours(places))


def _slide(sheet: Sheet, view: SlideView, corner: Corner, cell: int) -> None:
    place = sheet.put(view.image, *corner)
    outline_lesions(place, view.outlines)
    letter_fields(sheet, place, corner, view)
    number_patches(sheet, place, corner, view)
    if view.um_per_px:
        scale_bar(sheet, place, corner, view.um_per_px)
    words = []
    if count := len(view.top):
        words.append(f"1{f'–{count}' if count > 1 else ''}: most attention")
    if count := len(view.details):
        words.append(f"A{f'–{LETTERS[count - 1]}' if count > 1 else ''}: shown below")
    line = fitted("   ".join(words), _SMALL_SIZE, cell)
    at = (_left(view, corner, cell), corner[1] + view.image.shape[0] + 8)
    sheet.write(line, at, _SMALL_SIZE, colour=QUIET)


def _regions(sheet: Sheet, view: SlideView, corner: Corner, cell: int) -> None:
    outline_lesions(sheet.put(view.regions, *corner), view.outlines)


def _attention(sheet: Sheet, view: SlideView, corner: Corner, cell: int) -> None:
    place = sheet.put(attention_panel(view), *corner)
    outline_lesions(place, view.outlines)
    ring_foci(place, view)
    attention_key(sheet, _left(view, corner, cell), corner[1] + view.image.shape[0], cell)


def _evidence(sheet: Sheet, view: SlideView, corner: Corner, cell: int) -> None:
    outline_lesions(sheet.put(evidence_panel(view), *corner), view.outlines)
    at = (_left(view, corner, cell), corner[1] + view.image.shape[0])
    evidence_key(sheet, at, cell, view.classes, view.threshold)


def _paper(sheet: Sheet, view: SlideView, corner: Corner, cell: int) -> None:
    picture = paper_view(view.image, view.xy, view.side, view.attention, view.evidence)
    outline_lesions(sheet.put(picture, *corner), view.outlines)
    keys = [
        (CYAN, f"evidence for {view.shown} > {EVIDENCE_ABOVE}"),
        (WHITE, f"attention, min–max scaled, ≥ {ATTENTION_FROM}"),
    ]
    swatches(sheet, _left(view, corner, cell), corner[1] + view.image.shape[0], cell, keys)


def _left(view: SlideView, corner: Corner, cell: int) -> int:
    columns: int = view.image.shape[1]
    return corner[0] - (cell - columns) // 2


def _detail(sheet: Sheet, view: SlideView, detail: Detail, letter: str, corner: Corner, size: tuple[int, int]) -> None:
    """A field, its patches outlined in the colours of their attention, the top ones with their numbers."""
    left, top = corner
    factor = size[0] / detail.image.shape[1]
    share = f"{detail.share:.0%}" if detail.share >= 0.01 else "below 1%"
    share = f"{letter}   {share} of the attention"
    sheet.write(share, (left, top + 4), _TITLE_SIZE, weight="-Bold")
    place = sheet.put(fit(detail.image, size), left, top + _TITLE)
    _squares(place, detail.xy * factor, detail.side * factor, view.times[detail.index])
    numbers = {one.index: number for number, one in enumerate(view.top, 1)}
    for index, (x, y) in zip(detail.index.tolist(), (detail.xy * factor).tolist(), strict=True):
        if index in numbers:
            at = (left + max(x, 0) + 5, top + _TITLE + max(y, 0) + 3)
            sheet.write(str(numbers[index]), at, 16, weight="-Bold", halo=3)
    outline_lesions(place, [ring * factor for ring in detail.outlines], width=2)
    scale_bar(sheet, place, (left, top + _TITLE), detail.um_per_px / factor)


def _squares(place: RGB, xy: Values, side: float, times: Values) -> None:
    """Outlines of patches in the colours of their attention: bold from twice the mean on, else thin and faint."""
    square = side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = np.round(xy[:, None] + square).astype(np.int32)
    faint = place.copy()
    cv2.polylines(faint, list(corners[times < _BOLD_FROM]), True, _PALE, 1)
    place[:] = cv2.addWeighted(faint, 0.5, place, 0.5, 0)
    colours = attention_colours(attention_place(times))
    for at in np.argsort(times, kind="stable").tolist():
        if times[at] >= _BOLD_FROM:
            cv2.polylines(place, [corners[at]], True, colours[at].tolist(), 3, cv2.LINE_AA)


def _top_patches(sheet: Sheet, view: SlideView, corner: Corner, size: tuple[int, int]) -> None:
    """The patches of most attention with their numbers, in as many columns as show them largest."""
    (left, top), (width, height) = corner, size
    count = len(view.top)
    title = f"most attention, {view.patch_um:.0f} µm each"
    sheet.write(fitted(title, _TITLE_SIZE, width, "-Bold"), (left, top + 4), _TITLE_SIZE, weight="-Bold")
    room, caption = height - _TITLE, 26

    def side(across: int) -> int:
        return int(min((width + 12) / across - 12, room / math.ceil(count / across) - caption))

    across = max(range(1, count + 1), key=side)
    length = max(side(across), 8)
    for number, one in enumerate(view.top):
        row, column = divmod(number, across)
        x, y = left + column * (length + 12), top + _TITLE + row * (length + caption)
        sheet.put(fit(one.image, (length, length)), x, y)
        end = sheet.write(f"{number + 1}", (x, y + length + 3), _SMALL_SIZE, weight="-Bold")
        times = _times(float(view.times[one.index]))
        words = f"{times}, {one.artefact}" if one.artefact else f"{times} the mean"
        text = fitted(words, _SMALL_SIZE, x + length - end - 10)
        sheet.write(text, (end + 10, y + length + 3), _SMALL_SIZE, colour=QUIET)


def _times(value: float) -> str:
    return f"{value:.0f}×" if value >= 9.95 else f"{value:.1f}×"
