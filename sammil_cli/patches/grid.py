"""The grid of patches inside the tissue: arithmetic on outlines and maps, no pixels, no files, no loop over patches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from sammil_cli.errors import SlideError
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.patches.places import Integral, Outlines, Places, side_of, strips
from sammil_cli.tissue.artefact_maps import NAMES, ArtefactMaps
from sammil_cli.tissue.mask import TissueMask

Scores = dict[str, NDArray[np.float64]]

# Share of tissue in no place from which on it is remarked: less is the rim of a section that touches the edge.
_SEEN = 0.05


@dataclass(frozen=True, kw_only=True)
class GridSpec:
    """How a grid is laid.

    `patch_px`: patch side in pixels at `patch_mpp`; `patch_mpp`: µm per pixel, None = level 0, whatever it is (the
    paper); `min_tissue`: smallest share of tissue, 0-1, at 0 every patch that touches tissue is kept; `overlap`: share
    of its side that a patch has in common with its neighbour, 0 to below 1; `edge`: `drop` or `pad`, see `Places.on`;
    `limits`: largest score by the artefact's name, 0-1, at 1, or without a name, none is dropped.
    """

    patch_px: int
    patch_mpp: float | None
    min_tissue: float
    overlap: float = 0.0
    edge: str = "drop"
    limits: Mapping[str, float] = field(default_factory=dict)


def make_grid(
    tissue: TissueMask, spec: GridSpec, *, roi: MultiPolygon | None = None, artefacts: ArtefactMaps | None = None
) -> PatchGrid:
    """A grid aligned to the corner of the scanned area; patches with enough tissue and few artefacts are kept.

    A patch counts by its share of tissue, measured along sixteen lines across it. This stands in for the four-point
    test of the published protocol (docs/methods.md §10.1), which looks at four points of the patch.

    Args:
        roi: regions of interest in level-0 pixels. The tissue is cut to them, so that `min_tissue` counts what is
            tissue and of interest.
        artefacts: the slide's maps; None = no scores.

    Raises:
        SlideError: `E_COARSE`, the slide is coarser than `patch_mpp` by more than 1 % (pixels are never made up);
            `E_SMALL`, it is smaller than a patch; `E_NO_PATCH`, no patch holds enough tissue; `E_ROI`, none within
            the regions of interest; `E_ARTEFACTS`, none is as free of artefacts as asked.
    """
    mpp, min_tissue = spec.patch_mpp or tissue.slide_mpp, spec.min_tissue
    places = Places.on(tissue, side_of(tissue, spec.patch_px, mpp), spec.overlap, spec.edge)
    outlines = Outlines.of(tissue.polygons)
    wanted = tissue.polygons if roi is None else _cut(tissue.polygons, roi)
    of_interest = None if roi is None else Outlines.of(wanted)
    scorer = None if artefacts is None else _Scorer(artefacts, tissue.slide_size_px)
    found: list[tuple[NDArray[np.int32], Scores]] = []
    waterfall = {"grid": places.rows * places.columns, "tissue": 0} | ({} if roi is None else {"roi": 0})
    rows, columns = places.near(tissue)
    for strip in strips(places, rows, columns) if columns else ():
        enough = _enough(outlines.shares(places, strip, columns), min_tissue)
        waterfall["tissue"] += int(enough[1].size)
        if of_interest is not None:
            enough = _enough(of_interest.shares(places, strip, columns), min_tissue)
            waterfall["roi"] += int(enough[1].size)
        row, column, share = enough
        scores = {"tissue": share}
        if scorer is not None:
            scores |= scorer.scores(places, strip, columns, row, column)
        found.append((places.xy(row + strip.start, column + columns.start), scores))
    xy = np.concatenate([corners for corners, _ in found]) if found else np.empty((0, 2), np.int32)
    measured = {name: np.concatenate([scores[name] for _, scores in found]) for name in (found[0][1] if found else ())}
    kept = np.ones(len(xy), np.bool_)
    for name in NAMES:
        limit = spec.limits.get(name, 1.0)
        if limit < 1 and name in measured:
            kept &= measured[name] <= limit
            waterfall[name] = int(kept.sum())
    waterfall["kept"] = int(kept.sum())
    if not kept.any():
        raise _explain(tissue, places, spec, waterfall)
    return PatchGrid(
        slide_id=tissue.slide_id,
        xy=xy[kept],
        patch_px=spec.patch_px,
        patch_mpp=mpp,
        patch_px_level0=places.side,
        step_px_level0=places.step,
        slide_mpp=tissue.slide_mpp,
        slide_size_px=tissue.slide_size_px,
        bounds_px=tissue.bounds_px,
        scene=tissue.scene,
        scores={name: values[kept].astype(np.float16) for name, values in measured.items()},
        waterfall=waterfall,
        uncovered=_uncovered(wanted, places),
    )


def describe(waterfall: Mapping[str, int], uncovered: float = 0.0) -> str:
    """The waterfall in one line: grid 12000 → tissue 3100 → pen 3080 → kept 3080, 1.2% of the tissue uncovered."""
    line = " → ".join(f"{name} {count}" for name, count in waterfall.items())
    return f"{line}, {uncovered:.1%} of the tissue uncovered" if uncovered >= 0.001 else line


def flags(uncovered: float, edge: str) -> list[str]:
    """A note on a grid to look at, `word: what it is; what to do`."""
    if uncovered < _SEEN:
        return []
    where, advice = (
        (
            "where a patch would reach over the edge of the scanned area",
            "patch_edge: pad or a smaller patch_px takes it",
        )
        if edge == "drop"
        else ("outside of the scanned area", "look at its drawing in data/edits")
    )
    return [f"edge: {uncovered:.0%} of the tissue lies {where} and is in no patch; {advice}"]


def _side_setting(spec: GridSpec) -> str:
    """The settings that make patches smaller on the slide; at level 0 patch_mpp is no smaller."""
    return "patch_px" if spec.patch_mpp is None else "patch_px or patch_mpp"


def _uncovered(tissue: MultiPolygon, places: Places) -> float:
    """The share 0-1 of tissue that lies in no place of the grid, which has no gaps."""
    left, top, right, bottom = places.box
    x0, y0, x1, y1 = tissue.bounds
    if left <= x0 and top <= y0 and x1 <= right and y1 <= bottom:
        return 0.0
    inside = shapely.intersection(tissue, shapely.box(*places.box)).area
    return max(0.0, round(1 - float(inside) / float(tissue.area), 6))


def _cut(tissue: MultiPolygon, roi: MultiPolygon) -> MultiPolygon:
    common = shapely.intersection(tissue, shapely.make_valid(roi))
    return MultiPolygon([part for part in shapely.get_parts(common) if isinstance(part, Polygon)])


def _enough(
    share: NDArray[np.float64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    row, column = np.nonzero(share >= least if least > 0 else share > 0)
    return row, column, share[row, column]


class _Scorer:
    """The artefact scores of patches, from the maps of a slide."""

    def __init__(self, maps: ArtefactMaps, slide_size_px: tuple[int, int]) -> None:
        self.cell_px0, self.slide_size_px = maps.cell_px0, slide_size_px
        self.shares = {name: Integral.of(getattr(maps, name)) for name in ("blank", "pen", "dark")}
        # Blur is a property of what is not blank: it counts by that.
        visible = (255 - maps.blank).astype(np.float32)
        self.visible = Integral.of(visible)
        self.blur = Integral.of(visible * (maps.blur.astype(np.float32) / 255))

    def scores(
        self, places: Places, rows: range, columns: range, row: NDArray[np.int64], column: NDArray[np.int64]
    ) -> Scores:
        """Scores of the places at `row` and `column` of the strip; what lies beyond the slide is blank."""
        (width, height), (wide, high) = self.cell_px0, self.slide_size_px
        top, left = places.top + np.asarray(rows) * places.step, places.left + np.asarray(columns) * places.step
        bottom, right = np.minimum(top + places.side, high), np.minimum(left + places.side, wide)
        beyond = 1 - np.outer(bottom - top, right - left)[row, column] / places.side**2

        def sums(integral: Integral) -> NDArray[np.float64]:
            return integral.over((top / height, bottom / height), (left / width, right / width))[row, column]

        cells = places.side**2 / (width * height)
        found = {name: sums(integral) / (255 * cells) for name, integral in self.shares.items()}
        found["blank"] += beyond
        visible = sums(self.visible)
        found["blur"] = np.where(visible > 0, sums(self.blur) / np.maximum(visible, 1e-9), 1.0)
        return {name: np.clip(values, 0, 1) for name, values in found.items()}


def _explain(tissue: TissueMask, places: Places, spec: GridSpec, waterfall: Mapping[str, int]) -> SlideError:
    """Names the step that left nothing, and the setting that does it."""
    min_tissue, limits, uncovered = spec.min_tissue, spec.limits, _uncovered(tissue.polygons, places)
    over_the_edge = f"; {uncovered:.0%} of the tissue lies beyond the grid, at the edge" if uncovered >= _SEEN else ""
    pad = ", or set patch_edge: pad" if over_the_edge else ""
    if waterfall["grid"] == 0:
        width, height = tissue.bounds_px[2:]
        return SlideError(
            "E_SMALL",
            f"no whole patch of {places.side} level-0 px fits into the scanned area of {width} x {height} px",
            remedy=f"use a smaller {_side_setting(spec)}, or patch_edge: pad, or take the slide out",
        )
    steps = list(waterfall.items())
    before, (step, _) = next((a, b) for a, b in pairwise(steps) if b[1] == 0)
    if step == "tissue":
        lower = f"{_side_setting(spec)} or patch_min_tissue" if min_tissue else _side_setting(spec)
        return SlideError(
            "E_NO_PATCH",
            f"none of the {before[1]} grid places of {places.side} level-0 px is at least {min_tissue:.0%} tissue"
            f"{over_the_edge}",
            remedy=f"use a smaller {lower}{pad}, or look at the slide's tissue overlay",
        )
    if step == "roi":
        return SlideError(
            "E_ROI",
            f"none of the {before[1]} patches is at least {min_tissue:.0%} tissue within the regions of interest "
            f"({describe(waterfall)})",
            remedy="draw the region of interest over tissue, or lower patch_min_tissue, or delete the slide's ROI file",
        )
    return SlideError(
        "E_ARTEFACTS",
        f"none of the {before[1]} patches has {step} of at most {limits[step]:g} ({describe(waterfall)})",
        remedy=f"raise patch_max_{step}, or look at the slide: it may be unusable",
    )
