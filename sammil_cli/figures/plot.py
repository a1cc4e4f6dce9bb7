"""What the figures that are plots share: their size, and what stands around the axes."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sammil_cli.figures.sheet import DPI, WIDTH_IN
from sammil_cli.report.png import lettering

_LETTERS = 158  # of a note in one line
_TITLE_PT, _NOTE_PT = 13, 9.5
_LEFT_IN, _LINE_IN, _HEAD_IN = 0.2, 0.19, 0.5


def plot(title: str, notes: Sequence[str], height_in: float) -> Figure:
    """A figure with title and notes, and `height_in` inches below them for what is drawn."""
    lines = [part for note in notes for part in textwrap.wrap(note, _LETTERS)]
    head = _HEAD_IN + _LINE_IN * len(lines)
    whole = height_in + head
    figure = Figure(figsize=(WIDTH_IN, whole), dpi=DPI)
    figure.text(
        _LEFT_IN / WIDTH_IN, 1 - 0.12 / whole, lettering(title, 110), fontsize=_TITLE_PT, va="top", weight="bold"
    )
    for number, line in enumerate(lines):
        y = 1 - (0.42 + number * _LINE_IN) / whole
        figure.text(_LEFT_IN / WIDTH_IN, y, line, fontsize=_NOTE_PT, va="top", color="0.25")
    return figure


def plain(axes: Axes) -> None:
    """Axes without a frame, with faint lines to read values by."""
    axes.grid(axis="y", color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
