"""The curves of a cohort as patches are taken away, one panel for each class that slides are called."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sammil_cli.report.png import lettering, to_png
from sammil_cli.report.ranked_regions import Values
from sammil_cli.report.removal import SHARES

# Colours of Okabe and Ito; marks differ, too, and the random ones are dashed.
_STYLES = {
    "evidence": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "attention": {"color": "#D55E00", "marker": "s", "linestyle": "-"},
    "regions": {"color": "#009E73", "marker": "^", "linestyle": "-"},
    "random patches": {"color": "0.35", "marker": ".", "linestyle": "--"},
    "random regions": {"color": "0.6", "marker": "v", "linestyle": ":"},
}
_WIDTH_IN, _HEIGHT_IN, _DPI, _A_ROW = 4.4, 3.9, 100, 3


def draw_removal(panels: Sequence[tuple[str, Mapping[str, Values]]]) -> bytes:
    """The figure as PNG.

    Args:
        panels: the title of each, and its mean curves (len(SHARES),) by order.
    """
    columns, rows = min(len(panels), _A_ROW), -(-len(panels) // _A_ROW)
    figure = Figure(figsize=(_WIDTH_IN * max(columns, 2), _HEIGHT_IN * rows + 0.5), dpi=_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, curves) in zip(grid.ravel(), panels, strict=False):
        for name, style in _STYLES.items():
            if name in curves:
                axes.plot(100 * np.array(SHARES), curves[name], label=name, markersize=5, linewidth=1.5, **style)
        axes.set_title(lettering(title, 48), fontsize=10.5)
        axes.set(ylim=(-0.03, 1.03), xlim=(-1, 100 * SHARES[-1] + 1))
        axes.set_xlabel("patches taken away, %", fontsize=10)
        axes.grid(axis="y", color="0.88", linewidth=0.8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("mean probability of that class", fontsize=10)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9.5)
    return to_png(figure)
