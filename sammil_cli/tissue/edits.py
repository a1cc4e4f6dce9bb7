"""Polygons that a person drew, in QuPath mostly: read, repaired with a notice, and cut to the slide."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.pixels import Box
from sammil_cli.storage.annotation_xml import takes_away
from sammil_cli.storage.drawing import read_drawn_shapes
from sammil_cli.storage.geojson import Shape
from sammil_cli.storage.outline_limits import check_outlines, check_work, overlapping
from sammil_cli.storage.paths import DrawingPath

_MOST_CLASSES = 10  # of XML, in remarks
_SLIVER_PX2 = 16.0  # level-0 pixels²: a repair's leftover, no stroke of a hand


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What was drawn on a slide, level-0 pixels of the whole file.

    `include` is None where nothing but `Ignore*` was drawn.
    """

    include: MultiPolygon | None
    exclude: MultiPolygon
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Area:
    """One annotation: its valid polygons, level-0 pixels of the whole file, which may overlap."""

    polygons: tuple[Polygon, ...]
    excludes: bool  # taken off the others
    class_name: str = ""  # "" = none


def read_drawing(path: DrawingPath, *, slide_size_px: tuple[int, int], bounds_px: Box) -> Drawing:
    """Reads a file of QuPath or of sammil, or XML of ImageScope, HALO or ASAP.

    Annotations of a class that begins with `Ignore` or `Exclu` exclude, as do the holes that XML knows; all others
    include. Points, lines and detections are passed over. Coordinates of GeoJSON without `sammil.offset_px` count from
    the corner of the scanned area, as QuPath's do; those of XML from the corner of the file. `notices` say what had to
    be repaired.

    Args:
        slide_size_px: level-0 width and height; what lies outside is cut off.
        bounds_px: the scanned area, level-0 pixels.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read, or nothing drawn lies on the slide.
    """
    drawn, counts = read_areas(path, bounds_px=bounds_px)
    parts: dict[bool, list[Polygon]] = {True: [], False: []}
    for area in drawn:
        parts[area.excludes] += area.polygons
    frame = shapely.box(0, 0, *slide_size_px)
    areas: dict[bool, MultiPolygon] = {}
    outside = 0.0
    for excludes, polygons in parts.items():
        whole = shapely.disjoint_subset_union_all(polygons)
        cut = shapely.intersection(whole, frame)
        outside += 0.0 if excludes else float(whole.area - cut.area)
        areas[excludes] = _without_slivers(cut, counts)
    notices = told(counts)
    if outside >= _SLIVER_PX2:
        share = outside / (outside + areas[False].area)
        notices.append(f"edit: {share:.1%} of the drawn area lies outside of the slide, cut off")
    if parts[False] and areas[False].is_empty:
        raise SlideError(
            "E_EDIT",
            f"nothing drawn in {path} lies on the slide of {slide_size_px[0]} x {slide_size_px[1]} px",
            remedy="coordinates are level-0 pixels from the corner of the scanned area (XML: of the file); is it this "
            "slide's file?",
        )
    return Drawing(include=areas[False] if parts[False] else None, exclude=areas[True], notices=tuple(notices))


def read_areas(path: DrawingPath, *, bounds_px: Box) -> tuple[list[Area], Counter[str]]:
    """As `drawn_areas`, of a file that must hold one.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read, or no area is drawn in it.
    """
    areas, counts = drawn_areas(path, bounds_px=bounds_px)
    if not areas:
        passed = "; ".join(told(counts))
        raise SlideError(
            "E_EDIT",
            f"{path} has no area drawn on it" + (f" ({passed})" if passed else ""),
            remedy="export annotations with an area from QuPath, or delete the file",
        )
    return areas, counts


def drawn_areas(path: DrawingPath, *, bounds_px: Box) -> tuple[list[Area], Counter[str]]:
    """The annotations of a file that have an area, in its order, and counts of what was repaired or passed over.

    Of other tools than QuPath the counts have the classes, too: layers and groups follow no rule but their names.

    Args:
        bounds_px: the scanned area, level-0 pixels.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read, or is more than can be worked with (`storage.outline_limits`).
    """
    try:
        shapes, is_foreign = read_drawn_shapes(path, offset_px=bounds_px[:2])
        parts = [flat_parts(drawn.geometry) if drawn.object_type == "annotation" else [] for drawn in shapes]
        check_outlines(path, [part for inner in parts for part in inner if isinstance(part, Polygon)])
    except InputError as error:
        raise SlideError("E_EDIT", error.message, remedy=error.remedy) from None
    counts: Counter[str] = Counter()
    classes: Counter[tuple[str, str]] = Counter()
    areas = []
    for drawn, inner in zip(shapes, parts, strict=True):
        if not (polygons := tuple(_polygons(drawn, inner, counts))):
            continue
        excludes = drawn.taken_away or takes_away(drawn.class_name)
        areas.append(Area(polygons=polygons, excludes=excludes, class_name=drawn.class_name))
        whose = f"of {drawn.class_name!r}" if drawn.class_name else "without a class"
        classes[whose, "taken away" if excludes else "taken"] += 1
    if is_foreign:
        for rank, ((whose, fate), number) in enumerate(classes.most_common()):
            counts[f"areas {whose if rank < _MOST_CLASSES else 'of other classes'} {fate}"] += number
        if any(bounds_px[:2]):
            counts["areas counted from the corner of the file, not of the scanned area"] = len(areas)
    return areas, counts


def what_is_left(areas: Sequence[Area], path: DrawingPath) -> list[MultiPolygon]:
    """Each area that includes, in their order, without what the excluding ones cover; may be empty.

    Raises:
        SlideError: `E_EDIT`, too many of them cut one another.
    """
    ignored = [polygon for area in areas if area.excludes for polygon in area.polygons]
    parts = np.asarray(shapely.get_parts(shapely.disjoint_subset_union_all(ignored)), np.object_)
    left = np.array([shapely.union_all(area.polygons) for area in areas if not area.excludes], np.object_)
    try:
        whole, part = overlapping(path, left, parts)
        covered = shapely.covers(parts[part], left[whole])
        left[whole[covered]] = Polygon()
        cut = ~np.isin(whole, whole[covered])
        check_work(path, left[whole[cut]], parts[part[cut]])
    except InputError as error:
        raise SlideError("E_EDIT", error.message, remedy=error.remedy) from None
    near: dict[int, list[shapely.Geometry]] = {}  # each cut takes the time of all the points in it
    for number, one in zip(whole[cut].tolist(), parts[part[cut]], strict=True):
        near.setdefault(number, []).append(one)
    for number, those in near.items():
        left[number] = shapely.difference(left[number], shapely.union_all(those))
    return [MultiPolygon([p for p in shapely.get_parts(whole) if isinstance(p, Polygon)]) for whole in left]


def read_polygons(
    path: DrawingPath, *, slide_size_px: tuple[int, int], bounds_px: Box
) -> tuple[MultiPolygon, list[str]]:
    """What a drawing leaves: its included areas without the excluded ones, and the notices; see `read_drawing`.

    Where only `Ignore*` was drawn, the whole slide is included.

    Raises:
        SlideError: `E_EDIT`, as `read_drawing`, or everything is excluded.
    """
    drawing = read_drawing(path, slide_size_px=slide_size_px, bounds_px=bounds_px)
    whole = MultiPolygon([shapely.box(0, 0, *slide_size_px)])
    return apply_drawing(drawing, whole, path), list(drawing.notices)


def apply_drawing(drawing: Drawing, otherwise: MultiPolygon, path: DrawingPath) -> MultiPolygon:
    """The included areas (`otherwise` where none were drawn) without the excluded ones; valid, largest first.

    Raises:
        SlideError: `E_EDIT`, nothing is left.
    """
    included = otherwise if drawing.include is None else drawing.include
    left = _without_slivers(shapely.difference(included, drawing.exclude), Counter())
    if left.is_empty:
        raise SlideError(
            "E_EDIT", f"the Ignore classes of {path} leave nothing of the slide", remedy="draw them smaller"
        )
    return left


def told(counts: Counter[str]) -> list[str]:
    """A notice for each count."""
    return [f"edit: {what}: {count}" for what, count in counts.items() if count]


def _polygons(drawn: Shape, parts: Sequence[shapely.Geometry], counts: Counter[str]) -> list[Polygon]:
    """The valid polygons of a shape, whose single parts are given; counts what is repaired or passed over."""
    if drawn.object_type != "annotation":
        counts[f"{drawn.object_type}s passed over"] += 1
        return []
    found = []
    for part in parts:
        if not isinstance(part, Polygon):
            counts["points or lines passed over"] += 1
        elif not part.is_empty:
            if not part.is_valid:
                counts["self-crossing outlines repaired"] += 1
            # "structure" fills where an outline overlaps itself, as a brush does; lines of no width are dropped.
            part = shapely.make_valid(part, method="structure", keep_collapsed=False)
            pieces = [piece for piece in shapely.get_parts(part) if isinstance(piece, Polygon) and piece.area > 0]
            counts["outlines around nothing passed over"] += not pieces
            found += pieces
    return found


def flat_parts(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    """The single parts of a geometry, through collections in collections."""
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [single for part in geometry.geoms for single in flat_parts(part)]


def _without_slivers(geometry: shapely.Geometry, counts: Counter[str]) -> MultiPolygon:
    pieces = [piece for piece in shapely.get_parts(geometry) if isinstance(piece, Polygon)]
    kept = [piece for piece in pieces if piece.area >= _SLIVER_PX2]
    if len(kept) < len(pieces):
        counts["slivers dropped"] += len(pieces) - len(kept)
    return MultiPolygon(sorted(kept, key=lambda piece: (-piece.area, piece.bounds)))
