"""GeoJSON (RFC 7946) that QuPath opens by drag and drop, and reading it back."""

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.files import Record
from sammil_cli.storage.guarded_json import Parsed, parse_json
from sammil_cli.storage.packed import MOST_BYTES, packed_path, read_packed
from sammil_cli.storage.regular_file import check_regular, is_endless
from sammil_cli.storage.shown_text import shown_value
from sammil_cli.storage.summed import SCHEMA, SUM, SUMMED, JsonObject, ListSum, damaged, without_sum

RGBColour = tuple[int, int, int]

_COLOURS: dict[str, RGBColour] = {"Tissue": (30, 150, 60), "Region": (40, 90, 200)}
_OTHER_COLOUR: RGBColour = (200, 120, 0)
_AGAIN = "export it from QuPath again"
_UNREADABLE = (OSError, EOFError, zlib.error)  # the last two of damaged archives
_SHAPES_FOLLOW = b', "features": [\n'
FARTHEST_PX = 1e9  # no slide is that large, and areas stay finite
# Old versions of QuPath state the kind as the feature's id: PathCellObject.
_KIND = re.compile(r"(?:Path)?(annotation|cell|detection|root|tile|tmacore)Object", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One object of a file: its geometry in level-0 pixels, its class and name ("" = none), QuPath's kind of object.

    `taken_away`: its place is taken off the other objects, whatever its class.
    """

    geometry: shapely.Geometry
    class_name: str = ""
    name: str = ""
    object_type: str = "annotation"
    taken_away: bool = False


def write_geojson(
    path: Path, shapes: Iterable[tuple[Shape, Record]], *, offset_px: tuple[int, int], provenance: Record
) -> None:
    """Writes shapes one by one, as they come: neither they nor the text are held. Atomic, as `storage.files`.

    Args:
        path: a name that ends with `.gz` is packed, the same content into the same bytes.
        shapes: each with its measurements (name -> number). Its class, name and kind of object are QuPath's;
            `taken_away` is not written.
        offset_px: the corner x, y of the scanned area, which QuPath takes as its origin; it is taken off the
            coordinates and stated in the file.
        provenance: stored under the key `sammil`, with a sum of all that the file holds.
    """
    seen = ListSum({**provenance, "offset_px": list(offset_px)})
    with packed_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_head(seen))
        between = ""
        for shape, measurements in shapes:
            feature = _feature(shape, measurements, offset_px)
            stream.write(f"{between}\n{json.dumps(feature, allow_nan=False)}".encode())
            seen.add(feature)
            between = ", "
        stream.write(b"]}\n")
        stream.seek(0)
        stream.write(_head(seen))  # as long as before, now with the sum of all


def _head(seen: ListSum) -> bytes:
    facts = json.dumps(seen.facts(), allow_nan=False)
    return f'{{"type": "FeatureCollection", "sammil": {facts}, "features": ['.encode()


def _feature(shape: Shape, measurements: Record, offset_px: tuple[int, int]) -> JsonObject:
    # RFC 7946 wants outlines to turn left and holes to turn right.
    turned = shapely.orient_polygons(shape.geometry, exterior_cw=False)
    properties: JsonObject = {"objectType": shape.object_type}
    if shape.name:
        properties["name"] = shape.name
    if shape.class_name:
        colour = list(_COLOURS.get(shape.class_name, _OTHER_COLOUR))
        properties["classification"] = {"name": shape.class_name, "color": colour}
    return {
        "type": "Feature",
        "geometry": _mapping(shapely.transform(turned, lambda points: points - offset_px)),
        "properties": {**properties, "measurements": dict(measurements)},
    }


def _mapping(geometry: shapely.Geometry) -> JsonObject:
    """As shapely's `mapping`, which takes ten times as long for outlines."""
    if isinstance(geometry, shapely.MultiPolygon):
        return {"type": "MultiPolygon", "coordinates": [_mapping(part)["coordinates"] for part in geometry.geoms]}
    if not isinstance(geometry, shapely.Polygon) or geometry.is_empty:
        return cast(JsonObject, mapping(geometry))
    rings = (geometry.exterior, *geometry.interiors)
    return {"type": "Polygon", "coordinates": [shapely.get_coordinates(ring).tolist() for ring in rings]}


def is_geojson(name: str) -> bool:
    """Whether a file is GeoJSON by its name."""
    return name.lower().endswith((".geojson", ".json"))


def read_geojson(path: Path, *, offset_px: tuple[int, int] = (0, 0)) -> tuple[list[Shape], JsonObject]:
    """Reads a file, plain, `.gz` or `.zip`; see `parse_geojson`.

    Raises:
        InputError: no such file, or not GeoJSON; the message names the feature.
    """
    return parse_geojson(path, read_packed(path, wanted=is_geojson)[1], offset_px=offset_px)


def read_own_geojson(path: Path, remedy: str) -> tuple[list[Shape], JsonObject]:
    """Reads what `write_geojson` wrote; see `parse_geojson`. Not for users' drawings: editors leave old sums in them.

    Args:
        remedy: how to get the file back.

    Raises:
        InputError: `E_DAMAGED`, it is not as it was written.
    """
    if is_endless(path):
        raise damaged(path, "it is no file but a pipe, a socket or a device", remedy)
    try:
        with _opened(path, packed=path.suffix == ".gz") as stream:
            document = parsed_geojson(path, stream.read(MOST_BYTES + 1))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy=remedy) from None
    except InputError as error:
        raise damaged(path, error.message.partition(": ")[2], remedy) from None
    except _UNREADABLE as error:
        if met := limit_met(error):
            raise met from None
        reason = getattr(error, "strerror", None) or error
        raise damaged(path, f"it cannot be read: {reason}", remedy) from None
    facts = document.get("sammil") if isinstance(document, dict) else None
    if not isinstance(facts, dict):
        raise InputError(f"{path} was not written by sammil segment or sam", remedy=remedy, code="E_DAMAGED")
    facts = without_sum(path, facts, remedy, document.get("features"))
    return shapes_of(path, document, (0, 0))[0], facts


def verify_own_geojson(path: Path, remedy: str) -> tuple[JsonObject, bool]:
    """As `read_own_geojson`, one shape at a time: of a slide's hundred thousand regions none is kept.

    Returns:
        What sammil wrote about the file, and whether it carries a sum.
    """
    with contextlib.suppress(InputError, *_UNREADABLE):
        if not is_endless(path) and (facts := _verified(path)) is not None:
            return facts, True
    # In another layout, of an earlier version, or damaged: all of it says which.
    facts = read_own_geojson(path, remedy)[1]
    return facts, facts.get(SCHEMA) == SUMMED


def _verified(path: Path) -> JsonObject | None:
    """The facts of a file in the layout of `write_geojson`, a shape on each line; None where it is not as written."""
    with _opened(path, packed=path.suffix == ".gz") as stream:
        head = parsed_geojson(path, stream.readline(MOST_BYTES) + b"]}")
        facts = head.get("sammil") if isinstance(head, dict) else None
        if not isinstance(facts, dict) or facts.get(SCHEMA) != SUMMED:
            return None
        found = facts.pop(SUM, None)
        seen, end = ListSum(facts), b""
        while line := stream.readline(MOST_BYTES):
            feature, before, end = parsed_geojson(path, line[:-3]), end, line[-3:]
            if before == b"]}\n" or end not in (b", \n", b"]}\n"):
                return None
            shapes_of(path, [feature], (0, 0))
            seen.add(feature)
        return facts if end == b"]}\n" and seen.facts()[SUM] == found else None


def read_facts(path: Path, *, packed: bool) -> JsonObject:
    """What sammil wrote about a file, as it says; of a file in our layout no shape is parsed or held.

    Raises:
        InputError: it cannot be read, is no GeoJSON, or sammil wrote nothing about it.
    """
    check_regular(path)
    try:
        with _opened(path, packed=packed) as stream:
            head = stream.readline(MOST_BYTES)
            if head.endswith(_SHAPES_FOLLOW):
                rest, end = b"]}\n", b""
                while part := stream.read(1 << 20):
                    end = (end + part)[-3:]
                if end != rest:
                    raise _invalid(path, "it ends too early")
            else:
                rest = stream.read(MOST_BYTES + 1)
        document = parsed_geojson(path, head + rest)
    except _UNREADABLE as error:
        if met := limit_met(error):
            raise met from None
        raise _invalid(path, f"it cannot be read: {error}") from None
    if not isinstance(document, dict) or not isinstance(facts := document.get("sammil"), dict):
        raise _invalid(path, "sammil wrote nothing about it")
    return facts


def _opened(path: Path, *, packed: bool) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if packed else path.open("rb")


def parse_geojson(path: Path, content: bytes, *, offset_px: tuple[int, int] = (0, 0)) -> tuple[list[Shape], JsonObject]:
    """The shapes of a collection of features, a list of features, a single one or a bare geometry.

    Args:
        path: for messages.
        content: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        offset_px: added to the coordinates of a file that states no offset of its own (QuPath's exports do not).

    Returns:
        The shapes in level-0 pixels of the whole file, without heights, and what sammil wrote about the file.

    Raises:
        InputError: not GeoJSON; the message names the feature.
    """
    return shapes_of(path, parsed_geojson(path, content), offset_px)


def parsed_geojson(path: Path, content: bytes) -> Parsed:
    """JSON whose `shapes_of` are wanted.

    Raises:
        InputError: no JSON, or more of it than can be worked with.
    """
    return parse_json(content, path, kind="GeoJSON", remedy=_AGAIN, most_bytes=MOST_BYTES)


def shapes_of(path: Path, document: Parsed, offset_px: tuple[int, int]) -> tuple[list[Shape], JsonObject]:
    """What `parse_geojson` gives, of parsed JSON."""
    if isinstance(document, dict) and ("coordinates" in document or "geometries" in document):
        document = {"geometry": document}
    facts = document.get("sammil", {}) if isinstance(document, dict) else {}
    features = document.get("features", [document]) if isinstance(document, dict) else document
    if not isinstance(features, list) or not isinstance(facts, dict):
        raise _invalid(path, "it holds no list of features")
    offset = facts.get("offset_px", offset_px)
    if len(offset) != 2 if isinstance(offset, list | tuple) else True:
        raise _invalid(path, f"offset_px is {shown_value(offset)}, not x and y")
    if not all(isinstance(side, int | float) and abs(side) < FARTHEST_PX for side in offset):
        raise _invalid(path, f"offset_px is {shown_value(offset)}, not x and y")
    shapes = []
    for number, feature in enumerate(features, start=1):
        where = f"feature {number} of {len(features)}"
        if not isinstance(feature, dict) or "geometry" not in feature:
            raise _invalid(path, f"{where} has no geometry")
        geometry = _geometry(path, where, feature["geometry"])
        if any(offset):
            geometry = shapely.transform(geometry, lambda points: points + offset)
        class_name, object_type = _kind(feature)
        shapes.append(Shape(geometry=geometry, class_name=class_name, name=_name(feature), object_type=object_type))
    return shapes, facts


def _geometry(path: Path, where: str, value: Parsed) -> shapely.Geometry:
    if value is None:
        return shapely.GeometryCollection()  # RFC 7946: a feature without a place
    kind = value.get("type", "none") if isinstance(value, dict) else "none"
    try:
        geometry = shapely.force_2d(shape(_without_empty(value)))
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ):
        raise _invalid(path, f"{where} ({kind}): the coordinates are no points of such a shape") from None
    points = shapely.get_coordinates(geometry)
    if not np.all(np.abs(points) < FARTHEST_PX):  # false for NaN
        raise _invalid(path, f"{where} ({kind}): a coordinate is infinite or far outside of any slide")
    return geometry


def _without_empty(value: object) -> object:
    """A geometry without members and rings of no points, which shapely refuses and GEOS may crash on."""
    if not isinstance(value, dict):
        return value
    if isinstance(members := value.get("geometries"), list):
        return {**value, "geometries": [_without_empty(member) for member in members]}
    kind, parts = str(value.get("type")).lower(), value.get("coordinates")
    if kind == "polygon":
        parts = _rings(parts)
    elif kind.startswith("multi") and isinstance(parts, list):
        members = [_rings(part) for part in parts] if kind == "multipolygon" else parts
        parts = [member for member in members if member != []]
    return {**value, "coordinates": parts}


def _rings(rings: object) -> object:
    if not isinstance(rings, list) or not rings:
        return rings
    return [] if rings[0] == [] else [ring for ring in rings if ring != []]  # no outline, so nothing


def _name(feature: JsonObject) -> str:
    """What a person called an object."""
    properties = feature.get("properties")
    found = properties.get("name") if isinstance(properties, dict) else None
    return found if isinstance(found, str) else ""


def _kind(feature: JsonObject) -> tuple[str, str]:
    """QuPath's class and kind of object."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    found = properties.get("classification")
    if isinstance(found, dict):  # a class derived from others has `names`
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) else found.get("name")
    kind = properties.get("objectType", properties.get("object_type"))
    if not isinstance(kind, str):
        kind = str(feature.get("id")) if _KIND.fullmatch(str(feature.get("id"))) else "annotation"
    return (found if isinstance(found, str) else ""), _KIND.sub(r"\1", kind).lower()


def _invalid(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is no valid GeoJSON: {reason}", remedy=_AGAIN)
