"""The picture of one slide: tissue, regions, attention, evidence, and the patches that weigh most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sammil_cli.report.figures import to_png
from sammil_cli.slides.slide import RGB

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SlideView:
    """What is drawn. Coordinates in thumbnail pixels.

    `xy` (n, 2) and `side`: the patches; `attention` (n,): weights; `evidence` (n,): probability of the positive
    class that each patch speaks for; `outlines`: known lesions, closed rings (k, 2), empty where there are none.
    """

    title: str
    thumbnail: RGB
    regions: RGB
    xy: Values
    side: float
    attention: Values
    evidence: Values
    evidence_label: str
    outlines: Sequence[Values]
    top: Sequence[tuple[RGB, float]]  # patch image and its attention
    patch_um: float

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


def percentile_rank(values: Values) -> Values:
    """Rank of each value among all, 0-1, ties sharing their mean rank: a scale that one huge value cannot flatten."""
    if len(values) == 0:
        return values
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return np.asarray((below + (counts - 1) / 2)[inverse] / max(len(values) - 1, 1), np.float64)


def paint(shape: tuple[int, int], xy: Values, side: float, values: Values) -> NDArray[np.float64]:
    """Patch values on a thumbnail of `shape` (rows, columns); NaN where there is no patch."""
    canvas = np.full(shape, np.nan)
    low = np.round(xy).astype(int)
    high = np.maximum(np.round(xy + side).astype(int), low + 1)
    for (x0, y0), (x1, y1), value in zip(low, high, values, strict=True):
        canvas[y0:y1, x0:x1] = value
    return canvas


def draw(view: SlideView) -> bytes:
    """The picture as PNG."""
    rows, columns = view.thumbnail.shape[:2]
    height = 3.6 * rows / columns
    has_top = len(view.top) > 0
    figure = Figure(figsize=(15, height + 0.9 + (2.3 if has_top else 0)), dpi=100, layout="constrained")
    parts = figure.subfigures(2 if has_top else 1, 1, height_ratios=[height + 0.9, 2.3][: 1 + has_top], squeeze=False)
    upper = parts[0, 0]
    upper.suptitle(view.title, fontsize=11)
    axes = upper.subplots(1, 4)
    panels = (
        ("slide" + (", lesion outlined" if view.outlines else ""), view.thumbnail, None, ""),
        ("regions", view.regions, None, ""),
        ("attention", view.thumbnail, percentile_rank(view.attention), "percentile within the slide"),
        (view.evidence_label, view.thumbnail, view.evidence, "probability, colours stretched to the slide"),
    )
    for axis, (name, image, values, legend) in zip(axes, panels, strict=True):
        axis.imshow(image)
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
        if values is not None:
            heat = paint((rows, columns), view.xy, view.side, values)
            limits = (0, 1) if name == "attention" else _limits(values)
            shown = axis.imshow(heat, cmap="turbo", alpha=0.6, vmin=limits[0], vmax=limits[1], interpolation="nearest")
            bar = upper.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.8, pad=0.02, aspect=30)
            bar.set_label(legend, fontsize=8)
            bar.ax.tick_params(labelsize=7)
        for ring in view.outlines:
            axis.plot(ring[:, 0], ring[:, 1], color="black" if values is not None else "lime", linewidth=1.1)
    if has_top:
        lower = parts[1, 0]
        lower.suptitle(f"patches with the largest attention, {view.patch_um:.0f} µm a side", fontsize=10)
        for axis, (image, weight) in zip(np.atleast_1d(lower.subplots(1, len(view.top))), view.top, strict=True):
            axis.imshow(image)
            axis.set_title(f"weight {weight:.3g}", fontsize=8)
            axis.set_axis_off()
    return to_png(figure)


def _limits(values: Values) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 else (low - 0.5, low + 0.5)
