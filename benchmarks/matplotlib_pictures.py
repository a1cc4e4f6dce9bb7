"""The picture of a slide as it was drawn before: six panels and the top patches on matplotlib's axes, 1440 px wide.

The baseline of `bench_pictures.py`: no heading, no details, no marks.
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sammil_cli.report.paper_view import paper_view
from sammil_cli.report.patch_paint import paint
from sammil_cli.report.png import to_png
from sammil_cli.report.scales import percentile_rank
from sammil_cli.report.slide_view import SlideView

WIDE, TITLE, LEGEND, GAP, HEAD = 4.6, 0.25, 0.6, 0.15, 0.4  # inches


def draw_by_matplotlib(view: SlideView) -> bytes:
    """The picture as PNG: three panels a row."""
    rows, columns = view.image.shape[:2]
    height = WIDE * rows / columns
    step = (WIDE + GAP, TITLE + height + LEGEND)
    figure = Figure(figsize=(3 * step[0] + GAP, HEAD + 2 * step[1]), dpi=100)
    figure.suptitle(f"{view.heading.slide_id}: P = {view.heading.texts[0]}", fontsize=12)

    def axis(cell: int, at: tuple[float, float] = (0, 0), size: tuple[float, float] = (WIDE, height)) -> Axes:
        left = GAP + cell % 3 * step[0] + at[0]
        top = HEAD + cell // 3 * step[1] + TITLE + at[1]
        whole = figure.get_size_inches()
        made = figure.add_axes(
            (left / whole[0], 1 - (top + size[1]) / whole[1], size[0] / whole[0], size[1] / whole[1])
        )
        made.set_axis_off()
        return made

    def heat(cell: int, title: str, values: np.ndarray, colours: str, limits: tuple[float, float]) -> None:
        axes = axis(cell)
        axes.set_title(title, fontsize=10)
        axes.imshow(view.image)
        painted = paint(view.image.shape[:2], view.xy, view.side, values)
        shown = axes.imshow(painted, cmap=colours, alpha=0.65, vmin=limits[0], vmax=limits[1], interpolation="nearest")
        place = axes.inset_axes((0.1, -0.2 / height, 0.8, 0.1 / height))
        figure.colorbar(shown, cax=place, orientation="horizontal").set_label(title, fontsize=8)

    for cell, (title, picture) in enumerate((("slide", view.image), ("regions", view.regions))):
        axes = axis(cell)
        axes.imshow(picture)
        axes.set_title(title, fontsize=10)
    heat(2, "attention", percentile_rank(view.attention), "turbo", (0, 1))
    reach = float(np.abs(view.evidence - 0.5).max())
    heat(3, "evidence", view.evidence, "coolwarm", (0.5 - reach, 0.5 + reach))
    axes = axis(4)
    axes.imshow(paper_view(view.image, view.xy, view.side, view.attention, view.evidence))
    keys = [Patch(facecolor=colour, edgecolor="0.3", label=colour) for colour in ("cyan", "white")]
    axes.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=8, frameon=False)
    across = math.ceil(len(view.top) / 2)
    side = WIDE / across - GAP
    for number, one in enumerate(view.top):
        row, column = divmod(number, across)
        axes = axis(5, (column * (side + GAP), row * (side + TITLE)), (side, side))
        axes.imshow(one.image)
        axes.text(0.5, -0.02, f"{view.attention[one.index]:.3g}", fontsize=8, ha="center", va="top")
    return to_png(figure)
