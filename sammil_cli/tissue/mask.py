"""Tissue masks: polygons with holes, in level-0 pixels; on disk GeoJSON for QuPath."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from sammil_cli.slides.pixels import Box
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, read_own_geojson, write_geojson
from sammil_cli.storage.paths import TissuePath
from sammil_cli.storage.summed import check_slide, damaged
from sammil_cli.tissue.trace import Ring, trace

_AGAIN = "run: sammil segment (drawings of yours belong in data/edits)"
_Piece = tuple[Ring, list[Ring]]  # outline and holes, open, in pixels of a mask


@dataclass(frozen=True, kw_only=True)
class TissueMask:
    """Where tissue is on a slide. Polygons with holes, level-0 pixels of the whole file.

    `slide_mpp` is NaN where it is made of a bag's patches, and nobody knows it.
    """

    slide_id: str
    polygons: MultiPolygon
    slide_mpp: float
    slide_size_px: tuple[int, int]  # level-0 width, height
    bounds_px: Box
    scene: int | None = None  # of the slide file, where that holds several

    @property
    def area_um2(self) -> float:
        """Tissue area in µm²."""
        return float(self.polygons.area) * self.slide_mpp**2

    @property
    def box_px(self) -> Box:
        """The smallest box of whole level-0 pixels around all tissue, cut to the slide: x, y, width, height."""
        x0, y0, x1, y1 = self.polygons.bounds
        left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
        right = min(self.slide_size_px[0], int(np.ceil(x1)))
        bottom = min(self.slide_size_px[1], int(np.ceil(y1)))
        return (left, top, right - left, bottom - top)

    def raster(self, origin_px: tuple[float, float], downsample: float, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Paints the tissue on a canvas.

        Args:
            origin_px: level-0 position (x, y) of the canvas' top left corner.
            downsample: level-0 pixels per canvas pixel.
            shape: canvas rows, columns.

        Returns:
            Boolean mask of `shape`: True where the centre of a canvas pixel is tissue (to the pixel's outline).
        """
        rings = [ring for p in self.polygons.geoms for ring in (p.exterior, *p.interiors)]
        return paint_rings([(shapely.get_coordinates(r) - origin_px) / downsample for r in rings], shape)


def write_tissue(path: TissuePath, mask: TissueMask, provenance: Record) -> None:
    """Writes the polygons, each with its area in µm², as `Tissue` annotations."""
    facts: Record = {
        "slide_id": mask.slide_id,
        "slide_mpp": mask.slide_mpp,
        "slide_size_px": mask.slide_size_px,
        "bounds_px": mask.bounds_px,
    }
    if mask.scene is not None:
        facts = {**facts, "scene": mask.scene}
    shapes = (
        (Shape(geometry=p, class_name="Tissue"), {"area_um2": round(p.area * mask.slide_mpp**2, 1)})
        for p in mask.polygons.geoms
    )
    write_geojson(path, shapes, offset_px=mask.bounds_px[:2], provenance={**provenance, **facts})


def read_tissue(path: TissuePath) -> TissueMask:
    """Reads what `write_tissue` wrote.

    Raises:
        InputError: not of sammil; `E_DAMAGED`, not as it was written; `E_MIXED`, of another slide.
    """
    shapes, facts = read_own_geojson(path, _AGAIN)
    check_slide(path, facts.get("slide_id"), _AGAIN)
    polygons = [part for drawn in shapes for part in shapely.get_parts(drawn.geometry)]
    try:
        (wide, high), (left, top, width, height) = facts["slide_size_px"], facts["bounds_px"]
        mpp = float(facts["slide_mpp"])
        if not 0 < mpp < np.inf:
            raise ValueError(f"slide_mpp is {mpp:g}")
        return TissueMask(
            slide_id=path.stem,
            polygons=MultiPolygon(polygons),
            slide_mpp=mpp,
            slide_size_px=(int(wide), int(high)),
            bounds_px=(int(left), int(top), int(width), int(height)),
            scene=facts.get("scene"),
        )
    except KeyError as error:
        what = f"it was not written by sammil segment ({error} missing)"
    except (TypeError, ValueError, OverflowError, shapely.errors.ShapelyError) as error:
        what = f"not as sammil segment writes it: {error}"
    raise damaged(path, what, _AGAIN)


def paint_rings(rings: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Exact even-odd rasterisation: True where a pixel's centre lies inside.

    Args:
        rings: closed rings of points (n, 2), x and y in canvas pixels, outlines and holes alike.
        shape: canvas rows, columns.
    """
    rows, columns = shape
    starts = np.concatenate([ring[:-1] for ring in rings]) if rings else np.empty((0, 2))
    ends = np.concatenate([ring[1:] for ring in rings]) if rings else np.empty((0, 2))
    # An edge crosses the centre lines of rows first .. last - 1; each crossing flips inside and outside to its right.
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), 0, rows).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
    x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)
    flips = np.zeros((rows, columns + 1), np.uint8)
    np.add.at(flips.reshape(-1), row * (columns + 1) + column, np.uint8(1))  # 256 of them are none again
    np.cumsum(flips, axis=1, dtype=np.uint8, out=flips)
    np.bitwise_and(flips, 1, out=flips)  # the canvas is the largest thing in memory: no copy of it
    return flips[:, :columns].view(np.bool_)


def paint_area(
    area: MultiPolygon, origin_px: tuple[float, float], downsample: float, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]] | None:
    """An area on a canvas, cut to its box there.

    Args:
        origin_px, downsample, shape: see `TissueMask.raster`.

    Returns:
        True where a pixel's centre is in the area, and the corner x, y of that part; None where no centre is.
    """
    rings = [ring for polygon in area.geoms for ring in (polygon.exterior, *polygon.interiors)]
    if not rings:
        return None
    points = [(shapely.get_coordinates(ring) - origin_px) / downsample for ring in rings]
    rows, columns = shape
    around = np.concatenate(points)
    left, top = np.clip(np.floor(around.min(0)), 0, (columns, rows)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(around.max(0)), 0, (columns, rows)).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    inside = paint_rings([ring - (left, top) for ring in points], (bottom - top, right - left))
    return (inside, (left, top)) if inside.any() else None


def clean(
    foreground: NDArray[np.bool_],
    *,
    excluded: NDArray[np.bool_] | None = None,
    scale_px0: tuple[float, float],
    mpp: float,
    close_px: int,
    min_area_um2: float,
    min_hole_um2: float,
    max_holes: int,
) -> MultiPolygon:
    """Turns a foreground mask into tissue polygons: closing, then area and hole filters (CLAM's protocol).

    Args:
        foreground: (h, w), True = tissue.
        excluded: (h, w), True = no tissue, which closing does not bring back.
        scale_px0: level-0 pixels per mask pixel in x and y.
        mpp: µm per level-0 pixel.
        close_px: side of the square closing kernel, mask pixels; 0 = no closing.
        min_area_um2: pieces with less tissue (holes taken off) are dropped.
        min_hole_um2: smaller holes are filled.
        max_holes: the largest holes that are kept of each piece.

    Returns:
        Valid polygons in level-0 pixels; empty when no piece is left.
    """
    mask = foreground.astype(np.uint8)
    if close_px > 0:
        cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((close_px, close_px), np.uint8), dst=mask)
    if excluded is not None:
        mask[excluded] = 0
    scale = np.asarray(scale_px0)
    pixel_um2 = float(scale.prod()) * mpp * mpp
    least, least_hole = min_area_um2 / pixel_um2, min_hole_um2 / pixel_um2
    pieces = _pieces(mask, least, least_hole, max_holes)
    if excluded is not None and excluded.any():
        rings = [np.concatenate([ring, ring[:1]]) for outer, holes in pieces for ring in (outer, *holes)]
        mask = paint_rings(rings, mask.shape).view(np.uint8)
        if np.count_nonzero(mask[excluded]) * pixel_um2 >= max(min_hole_um2, 1):
            # Filling the holes beyond the largest ones has brought back what is excluded.
            mask[excluded] = 0
            pieces = _pieces(mask, least, least_hole, mask.size)
    return _polygons_of(pieces, scale, least * float(scale.prod()))


def _pieces(
    mask: NDArray[np.bool_] | NDArray[np.uint8], least: float, least_hole: float, max_holes: int
) -> list[_Piece]:
    """The pieces of a mask that are large enough, each with its largest holes; areas in pixels of the mask."""
    found = []
    for outer, rings in trace(mask):
        _, _, wide, high = cv2.boundingRect(outer)  # of points: one more than pixels
        if (wide - 1) * (high - 1) < least:
            continue  # a speck: noisy slides have them by the hundred thousand
        holes = [(area, hole) for hole in rings if (area := cv2.contourArea(hole)) >= least_hole]
        holes.sort(key=lambda one: -one[0])
        del holes[max_holes:]
        if cv2.contourArea(outer) - sum(area for area, _ in holes) >= least:
            found.append((outer, [hole for _, hole in holes]))
    return found


def _polygons_of(pieces: Sequence[_Piece], scale_px0: NDArray[np.float64], least_px2: float) -> MultiPolygon:
    """Pieces as valid, smoothed polygons in level-0 pixels; parts that only touch at corners count by themselves."""
    kept: list[Polygon] = []
    for outer, holes in pieces:
        polygon = _valid(Polygon(outer * scale_px0, [hole * scale_px0 for hole in holes]))
        kept += [p for p in _polygons(polygon) if p.area >= least_px2]
    smooth = [shapely.simplify(polygon, scale_px0.max() / 2, preserve_topology=True) for polygon in kept]
    parts = [p for polygon in smooth for p in _polygons(_valid(polygon))]
    if not MultiPolygon(parts).is_valid:  # an island in a hole that was filled is part of what surrounds it
        parts = _polygons(shapely.union_all(parts))
    return MultiPolygon(sorted(parts, key=lambda polygon: (-polygon.area, polygon.bounds)))


def _valid(polygon: shapely.Geometry) -> shapely.Geometry:
    if polygon.is_valid:  # asking first costs a tenth
        return polygon
    return shapely.make_valid(polygon, method="structure", keep_collapsed=False)


def _polygons(geometry: shapely.Geometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(geometry) if isinstance(part, Polygon) and not part.is_empty]
