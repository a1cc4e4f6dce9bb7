"""A forest plot: every row's AUC and its difference to one of them, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sammil_cli.report.estimate import Estimate
from sammil_cli.report.png import lettering, to_png

_LONGEST = 36  # letters of a row's name
_INK, _MUTED = "C0", "0.55"


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One line. `gap`: None for the reference; `muted`: drawn grey, as what is no result of its own."""

    name: str
    auc: Estimate
    gap: Estimate | None
    muted: bool = False


def forest(rows: Sequence[ForestRow], reference: str, reach: float) -> bytes:
    """Left the pooled AUC, right its difference to the reference, from top to bottom as given.

    Args:
        reach: how far another seed alone may move the AUC, drawn as a band about 0; NaN or infinite = not known.
    """
    figure = Figure(figsize=(9.2, 1.3 + 0.34 * len(rows)), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(rows))
    for place, row in zip(places, rows, strict=True):
        colour = _MUTED if row.muted else _INK
        _line(left, place, row.auc, colour)
        if row.gap is not None:
            _line(right, place, row.gap, colour)
    right.axvline(0, color="0.3", linewidth=1, linestyle="--")
    if math.isfinite(reach):
        right.axvspan(-reach, reach, color="0.9", zorder=0)
    left.set(xlabel="AUC, pooled", ylim=(len(rows) - 0.4, -0.6))
    left.set_yticks(places, [lettering(row.name, _LONGEST) for row in rows], fontsize=8)
    low, high = right.get_xlim()
    right.set_xlim(max(low, -1.05), min(high, 1.05))  # few repeats may leave an interval wider than any difference
    right.set_xlabel(f"AUC minus {lettering(reference, _LONGEST)}" if reference else "no reference")
    for axes in (left, right):
        axes.grid(axis="x", color="0.92")
        axes.tick_params(axis="x", labelsize=8)
    return to_png(figure)


def _line(axes: Axes, place: int, found: Estimate, colour: str) -> None:
    if math.isnan(found.value):
        return
    if not math.isnan(found.low):
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=1.6)
    axes.plot([found.value], [place], color=colour, marker="s", markersize=5)
