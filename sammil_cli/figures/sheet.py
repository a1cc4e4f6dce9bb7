"""A figure of panels in rows, 1200 pixels wide; what all figures of slides share: outlines, scale bars, legends.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import shapely
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from shapely import Polygon

from sammil_cli.report.png import lettering, to_png
from sammil_cli.report.scales import round_length
from sammil_cli.slides.field import Field
from sammil_cli.slides.pixels import RGB

BLUE, VERMILION, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#666666"
WIDTH_IN, DPI = 12.0, 100
_GAP_IN, _TITLE_IN, _LINE_IN, _LEGEND_IN, _TALLEST_IN = 0.2, 0.3, 0.19, 0.35, 4.4
_TITLE_PT, _PANEL_PT, _NOTE_PT = 13, 10.5, 9.5
_LETTERS_PER_IN = 13.5  # of notes and captions
_BAR_SHARE = 0.3  # of a panel's width that a scale bar takes at most


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture of `shape` (rows, columns) with a title above and lines below it."""

    title: str
    shape: tuple[int, int]
    draw: Callable[[Axes], None]
    below: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class PanelRow:
    """Panels beside each other below a heading; empty = no heading."""

    heading: str
    panels: Sequence[Panel]


def sheet(title: str, notes: Sequence[str], rows: Sequence[PanelRow], legend: Sequence[Sequence[Artist]]) -> bytes:
    """The figure as PNG: title, notes, rows of panels, one legend below: of each entry artists on top of each other,
    the first with its label.

    Places are counted in inches, so that panels of one row stand at one height and nothing overlaps.
    """
    columns = max(len(row.panels) for row in rows)
    width = (WIDTH_IN - _GAP_IN) / columns - _GAP_IN
    lines = [part for note in notes for part in textwrap.wrap(note, int(_LETTERS_PER_IN * WIDTH_IN))]
    heights = [max(_height_in(panel, width) for panel in row.panels) for row in rows]
    below = [[_wrapped(panel.below, width) for panel in row.panels] for row in rows]
    head = _TITLE_IN + _GAP_IN + _LINE_IN * len(lines)
    steps = [
        (_TITLE_IN if row.heading else 0) + _TITLE_IN + height + _LINE_IN * max(map(len, texts)) + _GAP_IN
        for row, height, texts in zip(rows, heights, below, strict=True)
    ]
    whole = head + sum(steps) + _LEGEND_IN
    figure = Figure(figsize=(WIDTH_IN, whole), dpi=DPI)

    def write(x: float, y: float, text: str, size: float, *, weight: str = "normal", color: str = "black") -> None:
        figure.text(x / WIDTH_IN, 1 - y / whole, text, fontsize=size, va="top", weight=weight, color=color)

    write(_GAP_IN, 0.12, lettering(title, 110), _TITLE_PT, weight="bold")
    for number, line in enumerate(lines):
        write(_GAP_IN, 0.12 + _TITLE_IN + number * _LINE_IN, line, _NOTE_PT, color="0.25")
    top = head
    for row, texts, step in zip(rows, below, steps, strict=True):
        start = top
        if row.heading:
            write(_GAP_IN, start, lettering(row.heading, int(_LETTERS_PER_IN * WIDTH_IN)), _PANEL_PT, weight="bold")
            start += _TITLE_IN
        for column, (panel, own) in enumerate(zip(row.panels, texts, strict=True)):
            left = _GAP_IN + column * (width + _GAP_IN)
            write(left, start, lettering(panel.title, int(_LETTERS_PER_IN * width * 0.9)), _PANEL_PT)
            upper, own_height = start + _TITLE_IN - 0.06, _height_in(panel, width)
            place = (left / WIDTH_IN, 1 - (upper + own_height) / whole, width / WIDTH_IN, own_height / whole)
            axes = figure.add_axes(place)
            axes.set_axis_off()
            panel.draw(axes)
            axes.set(xlim=(-0.5, panel.shape[1] - 0.5), ylim=(panel.shape[0] - 0.5, -0.5), anchor="NW")
            for number, line in enumerate(own):
                write(left, upper + own_height + 0.06 + number * _LINE_IN, line, _NOTE_PT, color="0.25")
        top += step
    figure.legend(
        cast(list[Artist], [tuple(artists) for artists in legend]),  # matplotlib draws tuples, too
        [str(artists[0].get_label()) for artists in legend],
        loc="lower left",
        ncols=max(1, len(legend)),
        frameon=False,
        fontsize=_NOTE_PT,
        bbox_to_anchor=(0.005, 0.0),
    )
    return to_png(figure)


def _height_in(panel: Panel, width: float) -> float:
    return min(width * panel.shape[0] / panel.shape[1], _TALLEST_IN)


def _wrapped(lines: Sequence[str], width: float) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, int(_LETTERS_PER_IN * width))]


def outline(axes: Axes, field: Field, polygons: Sequence[Polygon], colour: str = BLUE) -> None:
    """Draws polygons of level-0 pixels on a field, with a white seam that shows them on any ground."""
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.interiors):
            xy = field.of_slide(shapely.get_coordinates(ring)) - 0.5
            (line,) = axes.plot(xy[:, 0], xy[:, 1], color=colour, linewidth=1.6)
            line.set_path_effects([Stroke(linewidth=3.4, foreground="white"), Normal()])


def outline_key(label: str, colour: str = BLUE) -> Line2D:
    """The entry of a legend for `outline`."""
    return Line2D([], [], color=colour, linewidth=2, label=label)


def scale_bar(axes: Axes, field: Field) -> None:
    """A bar of a round number of µm at the lower left."""
    rows, columns = field.image.shape[:2]
    length_um = round_length(_BAR_SHARE * columns * field.um_per_px)
    length = length_um / field.um_per_px
    left, y = 0.03 * columns, rows - 1 - 0.04 * rows
    for width, colour in ((7, "white"), (4, "black")):
        axes.plot([left, left + length], [y, y], color=colour, linewidth=width, solid_capstyle="butt")
    axes.text(
        left,
        y - 0.03 * rows,
        f"{length_um:,.0f} µm" if length_um >= 1 else f"{length_um:g} µm",
        fontsize=9,
        va="bottom",
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
    )


def greyed(field: Field) -> RGB:
    """The field's picture (h, w, 3) in light grey, for colours to lie on."""
    grey = field.image.astype(np.float64).mean(axis=2, keepdims=True)
    return np.repeat(0.5 * grey + 120, 3, axis=2).clip(0, 255).astype(np.uint8)
