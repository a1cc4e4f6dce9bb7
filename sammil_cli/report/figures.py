"""Figures as PNG bytes. Drawn with matplotlib's object interface: no global state, no display."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Points = Sequence[tuple[str, float, float]]  # curve, x, y
_LEGEND_LIMIT = 10


def curves(points: Points, x_label: str, y_label: str, *, diagonal: bool) -> bytes:
    """One line per curve; `diagonal` draws chance."""
    figure = Figure(figsize=(4.6, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(name for name, _, _ in points))
    if diagonal:
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    for name in names:
        xy = np.array([(x, y) for curve, x, y in points if curve == name])
        axes.plot(xy[:, 0], xy[:, 1], linewidth=1.6, label=name, drawstyle="default")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if 0 < len(names) <= _LEGEND_LIMIT:
        axes.legend(fontsize=8, frameon=False)
    return to_png(figure)


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Counts (C, C), row = true class, as a shaded table."""
    figure = Figure(figsize=(4.6, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=13)
    ticks = range(len(classes))
    axes.set(xticks=ticks, yticks=ticks, xticklabels=classes, yticklabels=classes, xlabel="predicted", ylabel="true")
    return to_png(figure)


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
