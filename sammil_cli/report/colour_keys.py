"""What the colours of a picture mean, in words and numbers, below its panels."""

import numpy as np

from sammil_cli.report.colours import attention_colours, evidence_colours
from sammil_cli.report.scales import MOST_TIMES, attention_place, evidence_place
from sammil_cli.report.sheet import INK, QUIET, Colour, Sheet, fitted, width_of
from sammil_cli.slides.pixels import RGB

HEIGHT = 104

_BAR, _SIZE, _NARROW = 16, 15, 520
_TIMES = (1.0, 3.0, 10.0, 30.0, MOST_TIMES)


def attention_key(sheet: Sheet, left: int, top: int, width: int) -> None:
    """The scale of attention, in times the slide's mean."""
    _bar(sheet, left, top + 24, attention_colours(np.linspace(0, 1, width)))
    shown = _TIMES if width > _NARROW else _TIMES[::2]
    for times, place in zip(shown, attention_place(np.array(shown)).tolist(), strict=True):
        text = {1.0: "1× or less", MOST_TIMES: f"{MOST_TIMES:g}× or more"}.get(times, f"{times:g}×")
        _tick(sheet, left + place * (width - 1), top + 24 + _BAR, text, (left, width))
    words = _first_that_fits(width, "times the slide's mean, one scale for all slides", "times the slide's mean")
    sheet.write(words, (left + width / 2, top + 82), _SIZE, colour=QUIET, anchor="ma")


def evidence_key(sheet: Sheet, corner: tuple[int, int], width: int, classes: int, threshold: float | None) -> None:
    """The scale of evidence, 0 to 1, pale where a patch speaks for none of the classes; the slide's threshold on it."""
    left, top = corner
    _bar(sheet, left, top + 24, evidence_colours(np.linspace(0, 1, width)))
    for value in (0.0, 1 / classes, 1.0):
        place = float(evidence_place(np.array([value]), classes)[0])
        _tick(sheet, left + place * (width - 1), top + 24 + _BAR, f"{value:.2g}", (left, width))
    sheet.write("◀ speaks against", (left, top + 19), _SIZE, anchor="ls")
    sheet.write("speaks for ▶", (left + width, top + 19), _SIZE, anchor="rs")
    if threshold is not None:
        place = float(evidence_place(np.array([threshold]), classes)[0])
        x = round(left + place * (width - 1))
        sheet.image[top + 20 : top + 24 + _BAR + 4, max(x - 1, 0) : x + 2] = INK
        _tick(sheet, x, top + 24 + _BAR + 20, f"threshold {threshold:.2g}", (left, width), INK)
    words = _first_that_fits(
        width, "what each patch says by itself, not calibrated", "each patch alone, not calibrated"
    )
    sheet.write(words, (left + width / 2, top + 82), _SIZE, colour=QUIET, anchor="ma")


def swatches(sheet: Sheet, left: int, top: int, width: int, keys: list[tuple[Colour, str]]) -> None:
    """A line for each colour: a square of it, and what it means."""
    for number, (colour, text) in enumerate(keys):
        y = top + 14 + 26 * number
        sheet.image[y : y + 16, left : left + 24] = INK
        sheet.image[y + 1 : y + 15, left + 1 : left + 23] = colour
        sheet.write(fitted(text, _SIZE, width - 34), (left + 34, y - 1), _SIZE)


def _first_that_fits(width: int, *texts: str) -> str:
    return next((text for text in texts if width_of(text, _SIZE) <= width), fitted(texts[-1], _SIZE, width))


def _bar(sheet: Sheet, left: int, top: int, colours: RGB) -> None:
    sheet.put(np.repeat(colours[None], _BAR, axis=0), left, top)


def _tick(sheet: Sheet, x: float, top: int, text: str, within: tuple[int, int], colour: Colour = QUIET) -> None:
    """A number below the bar, moved to end where the bar ends."""
    left, width = within
    half = width_of(text, _SIZE) / 2
    x = float(np.clip(x, left + half, left + width - half))
    sheet.write(text, (x, top + 4), _SIZE, colour=colour, anchor="ma")
