"""Figures as PNG bytes. Drawn with matplotlib's object interface: no global state, no display."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.metrics import CONFIDENCE_BINS
from sammil_cli.report.png import lettering, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sammil_cli.report.curve_bands import Band

Points = Sequence[tuple[str, float, float]]  # curve, x, y
_LEGEND_LIMIT = 10
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: for all eyes
_LONGEST_CURVE, _LONGEST_CLASS, _ROOM = 32, 18, 36  # letters in a legend, at a tick, and along an axis


def _square() -> "Figure":
    from matplotlib.figure import Figure  # here: it takes a second to load

    return Figure(figsize=(4.6, 4.2), dpi=110, layout="constrained")


def curves(points: Points, x_label: str, y_label: str, *, diagonal: bool) -> bytes:
    """One line per curve; `diagonal` draws chance."""
    figure = _square()
    axes = figure.add_subplot()
    names = list(dict.fromkeys(name for name, _, _ in points))
    if diagonal:
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    for name in names:
        xy = np.array([(x, y) for curve, x, y in points if curve == name])
        axes.plot(xy[:, 0], xy[:, 1], linewidth=1.6, drawstyle="default")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if 0 < len(names) <= _LEGEND_LIMIT:
        _legend(axes, names, "lower right" if diagonal else "lower left")
    return to_png(figure)


def pooled_curves(points: Points, bands: "Sequence[Band]", labels: tuple[str, str], *, diagonal: bool) -> bytes:
    """Each band with its curve in front, the single curves thin behind; of several classes each has its colour.

    Args:
        points: curves of the folds; without bands they are drawn as `curves` does. labels: of x and y.
    """
    if not bands:
        return curves(points, *labels, diagonal=diagonal)
    figure = _square()
    axes = figure.add_subplot()
    if diagonal:
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    names = list(dict.fromkeys(name for name, _, _ in points))
    for name in names if len(bands) == 1 else ():
        xy = np.array([(x, y) for curve, x, y in points if curve == name])
        axes.plot(xy[:, 0], xy[:, 1], color="0.62", linewidth=0.8)
    for band, colour in zip(bands, cycle(_COLOURS)):
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    for band, colour in zip(bands, cycle(_COLOURS)):
        axes.plot(band.x, band.value, color=colour, linewidth=2)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    shown = [f"pooled; thin: each of {len(names)} folds"] if len(bands) == 1 else [band.name for band in bands]
    if len(shown) <= _LEGEND_LIMIT:
        _legend(axes, shown, "lower right" if diagonal else "lower left")
    return to_png(figure)


def _legend(axes: "Axes", names: Sequence[str], place: Literal["lower left", "lower right"]) -> None:
    """Names the last lines; matplotlib itself would leave out a name that begins with `_`.

    Args:
        place: of the legend; to look for the best one takes seconds where curves have many points.
    """
    lines = axes.get_lines()[-len(names) :]
    numbers = [str(number) for number in range(len(names))]
    legend = axes.legend(lines, numbers, fontsize=8, frameon=False, loc=place)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(lettering(name, _LONGEST_CURVE))


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Counts (C, C), row = true class, as a shaded table."""
    figure = _square()
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=13)
    ticks, names = range(len(classes)), [lettering(name, _LONGEST_CLASS) for name in classes]
    axes.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names, xlabel="predicted", ylabel="true")
    if sum(map(len, names)) > _ROOM:
        axes.tick_params(axis="x", labelrotation=90)
    return to_png(figure)


def reliability(bins: Mapping[str, Sequence[tuple[float, float, int]]]) -> bytes:
    """Confidence against the share that is right, per set of probabilities; below, how many slides each bin has.

    Args:
        bins: name -> (mean confidence, share right, slides) of the bins that have any.
    """
    figure = _square()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    width = 1 / CONFIDENCE_BINS / max(len(bins), 1)
    for place, found in enumerate(bins.values()):
        points = np.array(found, np.float64).reshape(-1, 3)
        upper.plot(points[:, 0], points[:, 1], marker="o", markersize=4, linewidth=1.6)
        left = np.minimum((points[:, 0] * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1) / CONFIDENCE_BINS
        lower.bar(left + place * width, points[:, 2], width=width, align="edge")
    upper.set(ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.set(xlabel="confidence: probability of the most probable class", ylabel="slides")
    if bins:
        _legend(upper, list(bins), "lower right")
    return to_png(figure)
