"""Polygons that a person drew in QuPath: read, repaired with a notice, and cut to the slide."""

import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely import MultiPolygon, Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.pixels import Box
from sammil_cli.storage.geojson import Shape, read_geojson
from sammil_cli.storage.paths import DrawingPath

SUFFIXES = (".geojson", ".geojson.gz")
_EXCLUDES = "ignore"  # classes that begin so; QuPath's own is named Ignore*
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

    class_name: str
    polygons: tuple[Polygon, ...]

    @property
    def excludes(self) -> bool:
        """Whether its class begins with `Ignore`."""
        return self.class_name.strip().casefold().startswith(_EXCLUDES)


def find_drawings(folder: Path) -> dict[str, DrawingPath]:
    """The drawings of a folder by slide id: `<slide>.geojson` or `<slide>.geojson.gz`; empty without the folder.

    Raises:
        InputError: two files for one slide.
    """
    found: dict[str, DrawingPath] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix is None or path.name.startswith(".") or not path.is_file():
            continue
        slide_id = path.name[: -len(suffix)]
        if slide_id in found:
            raise InputError(f"{found[slide_id]} and {path.name} are for one slide", remedy="keep one of them")
        found[slide_id] = DrawingPath(path)
    return found


def stray_drawings(folder: Path, slides: Collection[str]) -> list[str]:
    """A line for each drawing of a folder that belongs to no slide, with the nearest ids."""
    lines = []
    for slide_id, path in find_drawings(folder).items():
        if slide_id not in slides:
            near = difflib.get_close_matches(slide_id, slides, 2, 0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            lines.append(f"passed over: {path}: there is no slide {slide_id!r}{hint}")
    return lines


def read_drawing(path: DrawingPath, *, slide_size_px: tuple[int, int], bounds_px: Box) -> Drawing:
    """Reads a file of QuPath or of sammil.

    Annotations of a class that begins with `Ignore` exclude, all others include; points, lines and detections are
    passed over. Coordinates of a file without `sammil.offset_px` count from the corner of the scanned area, as
    QuPath's do. `notices` say what had to be repaired.

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
        whole = shapely.union_all(polygons)
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
            remedy="coordinates are level-0 pixels from the corner of the scanned area; is it this slide's file?",
        )
    return Drawing(include=areas[False] if parts[False] else None, exclude=areas[True], notices=tuple(notices))


def read_areas(path: DrawingPath, *, bounds_px: Box) -> tuple[list[Area], Counter[str]]:
    """The annotations of a file that have an area, in its order, and counts of what was repaired or passed over.

    Args:
        bounds_px: the scanned area, level-0 pixels.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read, or no area is drawn in it.
    """
    try:
        shapes, _ = read_geojson(path, offset_px=bounds_px[:2])
    except InputError as error:
        raise SlideError("E_EDIT", error.message, remedy=error.remedy) from None
    counts: Counter[str] = Counter()
    areas = [Area(class_name=drawn.class_name, polygons=tuple(_polygons(drawn, counts))) for drawn in shapes]
    areas = [area for area in areas if area.polygons]
    if not areas:
        passed = "; ".join(told(counts))
        raise SlideError(
            "E_EDIT",
            f"{path} has no area drawn on it" + (f" ({passed})" if passed else ""),
            remedy="export annotations with an area from QuPath, or delete the file",
        )
    return areas, counts


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


def _polygons(drawn: Shape, counts: Counter[str]) -> list[Polygon]:
    """The valid polygons of a shape; counts what is repaired or passed over."""
    if drawn.object_type != "annotation":
        counts[f"{drawn.object_type}s passed over"] += 1
        return []
    found = []
    for part in _flat(drawn.geometry):
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


def _flat(geometry: shapely.Geometry) -> list[shapely.Geometry]:
    """The single parts of a geometry, through collections in collections."""
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [single for part in geometry.geoms for single in _flat(part)]


def _without_slivers(geometry: shapely.Geometry, counts: Counter[str]) -> MultiPolygon:
    pieces = [piece for piece in shapely.get_parts(geometry) if isinstance(piece, Polygon)]
    kept = [piece for piece in pieces if piece.area >= _SLIVER_PX2]
    if len(kept) < len(pieces):
        counts["slivers dropped"] += len(pieces) - len(kept)
    return MultiPolygon(sorted(kept, key=lambda piece: (-piece.area, piece.bounds)))
