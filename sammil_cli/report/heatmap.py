"""The picture of one slide: tissue, regions, attention, evidence, the paper's view, and the patches that weigh most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sammil_cli.report.png import lettering, to_png
from sammil_cli.report.scales import Values, min_max, percentile_rank
from sammil_cli.slides.pixels import RGB

# Fig. 11 of the paper (docs/methods.md §10.9).
EVIDENCE_ABOVE = 0.5001
ATTENTION_FROM = 0.4
_CYAN, _WHITE = (0, 255, 255), (255, 255, 255)

_PANEL_IN, _LEAST_IN = 4.6, 2.4  # longer side of a panel, and least width, in inches
_HEAD_IN, _TITLE_IN, _LEGEND_IN, _GAP_IN = 0.4, 0.25, 0.6, 0.15
_DPI = 100
_TITLE_PT = 7, 12  # least and usual size of the picture's title
_LETTER_EM = 0.6  # width of its letters, for their size
_LETTERS_PER_IN = 12  # of the titles of the panels


@dataclass(frozen=True, kw_only=True)
class SlideView:
    """What is drawn. Coordinates in thumbnail pixels.

    `xy` (n, 2) and `side`: the patches; `attention` (n,): weights; `evidence` (n,): probability of the class
    `positive` of `classes` classes that each patch speaks for, not calibrated; `outlines`: known lesions,
    closed rings (k, 2), empty without any. `ground`: what the thumbnail shows.
    """

    title: str
    thumbnail: RGB
    regions: RGB
    xy: Values
    side: float
    attention: Values
    evidence: Values
    positive: str
    classes: int
    outlines: Sequence[Values]
    top: Sequence[tuple[RGB, float]]  # patch image and its attention
    patch_um: float
    ground: str = "slide"

    def cropped(self) -> "SlideView":
        """The view cut to the patches and a margin of two patches around them."""
        rows, columns = self.thumbnail.shape[:2]
        margin = 2 * self.side
        x0, y0 = np.clip(np.floor(self.xy.min(axis=0) - margin), 0, None).astype(int)
        x1, y1 = np.ceil(self.xy.max(axis=0) + self.side + margin).astype(int)
        x1, y1 = min(int(x1), columns), min(int(y1), rows)
        return replace(
            self,
            thumbnail=self.thumbnail[y0:y1, x0:x1],
            regions=self.regions[y0:y1, x0:x1],
            xy=self.xy - (x0, y0),
            outlines=[ring - (x0, y0) for ring in self.outlines],
        )


def paint(shape: tuple[int, int], xy: Values, side: float, values: Values) -> NDArray[np.float64]:
    """Patch values on a thumbnail of `shape` (rows, columns), their mean where patches overlap, NaN beside them."""
    total, count = np.zeros(shape), np.zeros(shape)
    low = np.round(xy).astype(int)
    high = np.maximum(np.round(xy + side).astype(int), low + 1)
    for (x0, y0), (x1, y1), value in zip(low, high, values, strict=True):
        total[y0:y1, x0:x1] += value
        count[y0:y1, x0:x1] += 1
    return np.asarray(np.divide(total, count, out=np.full(shape, np.nan), where=count > 0), np.float64)


def paper_view(view: SlideView) -> RGB:
    """The paper's Fig. 11: the slide, darkened, with two kinds of patches painted on it.

    Cyan: p_n = softmax_c(W (a_n e_n)) of the positive class is above 0.5001. White, over it: attention, min-max
    normalised over the patches, is 0.4 or more. Group features are no patches and take no part.
    """
    picture = 0.55 * view.thumbnail.astype(np.float64)
    for chosen, colour, opacity in (
        (view.evidence > EVIDENCE_ABOVE, _CYAN, 0.65),
        (min_max(view.attention) >= ATTENTION_FROM, _WHITE, 0.7),
    ):
        painted = ~np.isnan(paint(picture.shape[:2], view.xy[chosen], view.side, view.attention[chosen]))
        picture[painted] = (1 - opacity) * picture[painted] + opacity * np.array(colour)
    return np.asarray(picture.round(), np.uint8)


def draw(view: SlideView) -> bytes:
    """The picture as PNG: panels row by row, the patches that weigh most in the cells that are left.

    Slides wider than high take three panels a row, tall ones all in one row. Places are counted, not left to a layout
    engine: panels of one size stand at one height, whatever is written below them.
    """
    width, height = _panel_in(view)
    across = 3 if height <= 1.2 * width else 6
    step = (width + _GAP_IN, _TITLE_IN + height + _LEGEND_IN)
    figure = Figure(figsize=(across * step[0] + _GAP_IN, _HEAD_IN + 6 // across * step[1]), dpi=_DPI)
    room = figure.get_figwidth() * 72 / _LETTER_EM
    title = lettering(view.title, int(room / _TITLE_PT[0]))
    view = replace(view, positive=lettering(view.positive, int(_LETTERS_PER_IN * width) - len("evidence for ")))
    size = min(_TITLE_PT[1], room / max(len(title), 1))
    figure.suptitle(title, fontsize=size, y=1 - 0.2 / figure.get_figheight(), va="center")
    panels = [_draw_slide, _draw_regions, _draw_attention, _draw_evidence]
    if view.classes == 2:
        panels.append(_draw_paper_view)

    def corner(cell: int) -> tuple[float, float]:
        return _GAP_IN + cell % across * step[0], _HEAD_IN + cell // across * step[1] + _TITLE_IN

    for cell, panel in enumerate(panels):
        panel(_axis(figure, *corner(cell), width, height), view)
    if view.top:
        rest = (across - len(panels) % across) * step[0] - _GAP_IN
        _draw_top(figure, view, *corner(len(panels)), rest, height + _LEGEND_IN)
    return to_png(figure)


def _panel_in(view: SlideView) -> tuple[float, float]:
    """Width and height of a panel in inches: the slide's shape, but wide enough for what is written around it."""
    rows, columns = view.thumbnail.shape[:2]
    return max(_PANEL_IN * min(1, columns / rows), _LEAST_IN), _PANEL_IN * min(1, rows / columns)


def _axis(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without ticks at a place counted in inches from the picture's top left corner."""
    whole = figure.get_size_inches()
    axis = figure.add_axes((left / whole[0], 1 - (top + height) / whole[1], width / whole[0], height / whole[1]))
    axis.set_axis_off()
    return axis


def _draw_slide(axis: Axes, view: SlideView) -> None:
    axis.imshow(view.thumbnail)
    axis.set_title(view.ground + (", known lesions outlined" if view.outlines else ""), fontsize=10)
    _outline(axis, view, "lime")


def _draw_regions(axis: Axes, view: SlideView) -> None:
    axis.imshow(view.regions)
    axis.set_title("regions", fontsize=10)
    _outline(axis, view, "lime")


def _draw_attention(axis: Axes, view: SlideView) -> None:
    axis.set_title("attention", fontsize=10)
    _heat(axis, view, percentile_rank(view.attention), "turbo", (0, 1), "percentile within the slide")


def _draw_evidence(axis: Axes, view: SlideView) -> None:
    neutral = 1 / view.classes
    reach = max(float(np.abs(view.evidence - neutral).max()), 1e-6)
    axis.set_title(f"evidence for {view.positive}", fontsize=10)
    legend = f"probability, not calibrated; {neutral:.2g} speaks neither for nor against"
    _heat(axis, view, view.evidence, "coolwarm", (neutral - reach, neutral + reach), legend)


def _draw_paper_view(axis: Axes, view: SlideView) -> None:
    axis.imshow(paper_view(view))
    axis.set_title("as in the paper's Fig. 11", fontsize=10)
    _outline(axis, view, "yellow")
    keys = [
        Patch(facecolor="cyan", edgecolor="0.3", label=f"evidence for {view.positive} > {EVIDENCE_ABOVE}"),
        Patch(facecolor="white", edgecolor="0.3", label=f"attention, min–max scaled, ≥ {ATTENTION_FROM}"),
    ]
    axis.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=8, frameon=False)


def _heat(axis: Axes, view: SlideView, values: Values, colours: str, limits: tuple[float, float], legend: str) -> None:
    """Patch values over the slide, and their colour scale below."""
    axis.imshow(view.thumbnail)
    heat = paint(view.thumbnail.shape[:2], view.xy, view.side, values)
    shown = axis.imshow(heat, cmap=colours, alpha=0.65, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    inch = 1 / _panel_in(view)[1]
    bar = axis.figure.colorbar(
        shown, cax=axis.inset_axes((0.1, -0.2 * inch, 0.8, 0.1 * inch)), orientation="horizontal"
    )
    bar.set_label(legend, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.ax.set_xlim(max(limits[0], 0), min(limits[1], 1))
    _outline(axis, view, "black")


def _outline(axis: Axes, view: SlideView, colour: str) -> None:
    for ring in view.outlines:
        axis.plot(ring[:, 0], ring[:, 1], color=colour, linewidth=1.1)


def _draw_top(figure: Figure, view: SlideView, left: float, top: float, width: float, height: float) -> None:
    """The patches of the largest attention, in as many columns as show them largest in a part of this shape."""
    count = len(view.top)
    title = _axis(figure, left, top, width, height)
    title.set_title(f"largest attention, patches of {view.patch_um:.0f} µm", fontsize=10)

    def side(across: int) -> float:
        return min((width + _GAP_IN) / across - _GAP_IN, height / math.ceil(count / across) - _TITLE_IN)

    across = max(range(1, count + 1), key=side)
    for index, (image, weight) in enumerate(view.top):
        row, column = divmod(index, across)
        corner = (left + column * (side(across) + _GAP_IN), top + row * (side(across) + _TITLE_IN))
        axis = _axis(figure, *corner, side(across), side(across))
        axis.imshow(image)
        axis.text(0.5, -0.02, f"{weight:.3g}", fontsize=8, ha="center", va="top", transform=axis.transAxes)
