"""The head of a slide's picture: what the slide is, what it is called, how surely, and by whom."""

from dataclasses import dataclass

import cv2
import numpy as np

from sammil_cli.report.colours import evidence_colours
from sammil_cli.report.scales import Values
from sammil_cli.report.sheet import ALARM, INK, QUIET, WHITE, Sheet, cased_line, fitted, width_of

HEIGHT = 140

_SCALE = 620  # width of the scale of the probability
_BAR = 16


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above a picture.

    `truth`: its label, None without one. `called`: the class that is decided for. `shown`: the class of `probability`
    (calibrated), with the `threshold` for it (None = the largest class wins); `texts`: both in digits in which the
    decision can be read. `judged_by`: model and fold. `seen`: what these saw. `stamp`: what is written across the
    picture where it is no fair prediction.
    """

    slide_id: str
    truth: str | None
    called: str
    shown: str
    probability: float
    threshold: float | None
    texts: tuple[str, str]
    judged_by: str
    encoder: str
    seen: str
    stamp: str | None = None


def draw_heading(sheet: Sheet, heading: Heading, margin: int) -> None:
    """Writes the heading at the top of a sheet; the scale of the probability stands at its right."""
    width = sheet.image.shape[1]
    scale = min(_SCALE, width // 2 - 2 * margin)
    room = width - scale - 4 * margin
    sheet.write(fitted(heading.slide_id, 30, room, "-Bold"), (margin, 14), 30, weight="-Bold")
    called = fitted(f"called {heading.called}", 21, room / 2, "-Bold")
    end = sheet.write(called, (margin, 60), 21, weight="-Bold")
    truth, colour = _truth(heading)
    sheet.write(fitted(truth, 21, margin + room - end), (end, 60), 21, colour=colour)
    by = f"{heading.judged_by}  ·  features of {heading.encoder}  ·  "
    seen = heading.stamp or heading.seen
    by = fitted(by, 17, room - width_of(seen, 17, "-Bold" if heading.stamp else ""))
    end = sheet.write(by, (margin, 96), 17, colour=QUIET)
    if heading.stamp:
        sheet.write(seen, (end, 96), 17, colour=ALARM, weight="-Bold")
        sheet.stamp(heading.stamp.partition(" - ")[0].upper())
    else:
        sheet.write(fitted(seen, 17, margin + room - end), (end, 96), 17, colour=QUIET)
    _draw_scale(sheet, heading, (width - margin - scale - 30, 62), scale)


def _truth(heading: Heading) -> tuple[str, tuple[int, int, int]]:
    if heading.truth is None:
        return "   no label", QUIET
    if heading.truth == heading.called:
        return f"   truth {heading.truth}  ✓ right", INK
    return f"   truth {heading.truth}  ✗ wrong", ALARM


def _draw_scale(sheet: Sheet, heading: Heading, corner: tuple[int, int], width: int) -> None:
    """The scale from 0 to 1: below the threshold in the colour of against, above it in that of for; a mark for P."""
    left, top = corner
    split = 0.0 if heading.threshold is None else heading.threshold
    at = np.linspace(0, 1, width)
    colours = evidence_colours(np.where(at < split, 0.32, 0.68))
    if heading.threshold is None:
        colours[:] = 222
    sheet.put(np.repeat(colours[None], _BAR, axis=0), left, top)
    for place, text in ((0.0, "0"), (1.0, "1")):
        end = left + width + 16 if place else left - 16
        sheet.write(text, (end, top + _BAR / 2), 15, colour=QUIET, anchor="lm" if place else "rm")
    if heading.threshold is not None:
        x = left + split * (width - 1)
        sheet.image[top - 7 : top + _BAR + 3, round(x) - 1 : round(x) + 2] = INK
        text = f"threshold {heading.texts[1]}"
        sheet.write(text, (_inside(x, text, 16, left, width), top - 12), 16, anchor="ms")
    else:
        sheet.write("the most probable class is called", (left + width / 2, top - 12), 16, anchor="ms")
    x = left + heading.probability * (width - 1)
    middle = top + _BAR / 2
    mark = np.array([[x - 9, middle], [x, middle - 12], [x + 9, middle], [x, middle + 12]])
    cased_line(sheet.image, mark, width=2, colour=INK)
    _fill(sheet, mark)
    text = fitted(f"P({heading.shown}) = {heading.texts[0]}", 18, width - 60, "-Bold")
    x = _inside(x, text, 18, left + 18, width - 36, "-Bold")
    sheet.write(text, (x, top + _BAR + 8), 18, weight="-Bold", anchor="ma")


def _fill(sheet: Sheet, points: Values) -> None:
    cv2.fillPoly(sheet.image, [np.round(points).astype(np.int32)], INK, cv2.LINE_AA)
    cv2.circle(sheet.image, np.round(points.mean(axis=0)).astype(int).tolist(), 3, WHITE, -1, cv2.LINE_AA)


def _inside(x: float, text: str, size: int, left: int, width: int, weight: str = "") -> float:
    """The middle of a text that wants to stand at x, moved so that it ends within the scale."""
    half = width_of(text, size, "-Bold" if weight else "") / 2
    return float(np.clip(x, left + half, max(left + half, left + width - half)))
