"""What a picture of a slide shows: its overview, patches and what models say of them, fields in detail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.heading import Heading
from sammil_cli.report.scales import Values, times_mean
from sammil_cli.report.sheet import fit
from sammil_cli.slides.pixels import RGB


@dataclass(frozen=True, kw_only=True)
class TopPatch:
    """One of the patches of most attention: its picture, its place among the patches, what covers it (`pen 40%`)."""

    image: RGB
    index: int
    artefact: str = ""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A field in detail: its picture, and in the picture's pixels the patches `index` (k,) of `xy` (k, 2) and `side`.

    `box`: left, top, width, height on the overview. `share`: of the slide's attention. `outlines`: of lesions.
    """

    image: RGB
    box: tuple[float, float, float, float]
    index: NDArray[np.int64]
    xy: Values
    side: float
    um_per_px: float
    share: float
    outlines: Sequence[Values]


@dataclass(frozen=True, kw_only=True)
class SlideView:
    """What is drawn. Coordinates in pixels of the overview `image` (h, w, 3), which `um_per_px` is of (None = unknown).

    `regions`: the overview, tinted by region. `xy` (n, 2) and `side`: the patches, of `patch_um`; `attention` (n,):
    weights; `evidence` (n,): probability of the class `shown` of `classes` classes that each patch speaks for, not
    calibrated; `threshold`: of the slide, on the same scale; `outlines`: known lesions, closed rings (k, 2). `ground`:
    what the overview shows.
    """

    heading: Heading
    image: RGB
    regions: RGB
    um_per_px: float | None
    xy: Values
    side: float
    attention: Values
    evidence: Values
    shown: str
    classes: int
    threshold: float | None
    outlines: Sequence[Values]
    top: Sequence[TopPatch]
    details: Sequence[Detail]
    patch_um: float
    ground: str = "slide"

    @property
    def times(self) -> Values:
        """Attention (n,) in times the slide's mean."""
        return times_mean(self.attention)

    def sized(self, longest: int) -> "SlideView":
        """The view with its overview resized to `longest` pixels on the longer side."""
        rows, columns = self.image.shape[:2]
        factor = longest / max(rows, columns)
        size = (max(1, round(columns * factor)), max(1, round(rows * factor)))
        return replace(
            self,
            image=fit(self.image, size),
            regions=fit(self.regions, size),
            um_per_px=None if self.um_per_px is None else self.um_per_px / factor,
            xy=self.xy * factor,
            side=self.side * factor,
            outlines=[ring * factor for ring in self.outlines],
            details=[replace(one, box=tuple(value * factor for value in one.box)) for one in self.details],
        )
