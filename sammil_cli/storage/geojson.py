"""GeoJSON (RFC 7946) that QuPath opens by drag and drop, and reading it back."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from sammil_cli.errors import InputError
from sammil_cli.storage.files import Record, write_text

RGBColour = tuple[int, int, int]

_COLOURS: dict[str, RGBColour] = {"Tissue": (30, 150, 60), "Region": (40, 90, 200)}
_OTHER_COLOUR: RGBColour = (200, 120, 0)
_MOST_BYTES = 1 << 29  # of text: a file (or what a small .gz unpacks to) must not fill the memory
_FARTHEST_PX = 1e9  # no slide is that large, and areas stay finite


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One object of a file: its geometry in level-0 pixels, QuPath's class ("" = none) and kind of object."""

    geometry: shapely.Geometry
    class_name: str = ""
    object_type: str = "annotation"


def write_geojson(
    path: Path,
    shapes: Sequence[tuple[shapely.Geometry, Mapping[str, Any]]],
    *,
    class_name: str,
    offset_px: tuple[int, int],
    provenance: Record,
) -> None:
    """Writes one annotation per shape.

    Args:
        shapes: geometry in level-0 pixels of the whole file, and its measurements (name -> number).
        class_name: QuPath's classification.
        offset_px: the corner x, y of the scanned area, which QuPath takes as its origin; it is taken off the
            coordinates and stated in the file.
        provenance: stored under the key `sammil`.
    """
    classification = {"name": class_name, "color": list(_COLOURS.get(class_name, _OTHER_COLOUR))}
    features = [
        {
            "type": "Feature",
            # RFC 7946 wants outlines to turn left and holes to turn right.
            "geometry": mapping(
                shapely.transform(
                    shapely.orient_polygons(geometry, exterior_cw=False), lambda points: points - offset_px
                )
            ),
            "properties": {
                "objectType": "annotation",
                "classification": classification,
                "measurements": dict(measurements),
            },
        }
        for geometry, measurements in shapes
    ]
    text = json.dumps(
        {"type": "FeatureCollection", "sammil": {**provenance, "offset_px": list(offset_px)}, "features": features},
        allow_nan=False,
    )
    write_text(path, text.replace('{"type": "Feature"', '\n{"type": "Feature"') + "\n")


def read_geojson(path: Path, *, offset_px: tuple[int, int] = (0, 0)) -> tuple[list[Shape], dict[str, Any]]:
    """Reads the shapes of a collection of features, a list of features, a single one or a bare geometry.

    A `.gz` is unpacked.

    Args:
        offset_px: added to the coordinates of a file that states no offset of its own (QuPath's exports do not).

    Returns:
        The shapes in level-0 pixels of the whole file, without heights, and what sammil wrote about the file.

    Raises:
        InputError: no such file, or not GeoJSON; the message names the feature.
    """
    document = _load(path)
    if isinstance(document, dict) and ("coordinates" in document or "geometries" in document):
        document = {"geometry": document}
    facts = document.get("sammil", {}) if isinstance(document, dict) else {}
    features = document.get("features", [document]) if isinstance(document, dict) else document
    if not isinstance(features, list) or not isinstance(facts, dict):
        raise _invalid(path, "it holds no list of features")
    offset = facts.get("offset_px", offset_px)
    if len(offset) != 2 if isinstance(offset, list | tuple) else True:
        raise _invalid(path, f"offset_px is {offset!r}, not x and y")
    if not all(isinstance(side, int | float) and abs(side) < _FARTHEST_PX for side in offset):
        raise _invalid(path, f"offset_px is {offset!r}, not x and y")
    shapes = []
    for number, feature in enumerate(features, start=1):
        where = f"feature {number} of {len(features)}"
        if not isinstance(feature, dict) or "geometry" not in feature:
            raise _invalid(path, f"{where} has no geometry")
        geometry = _geometry(path, where, feature["geometry"])
        if any(offset):
            geometry = shapely.transform(geometry, lambda points: points + offset)
        class_name, object_type = _kind(feature.get("properties"))
        shapes.append(Shape(geometry=geometry, class_name=class_name, object_type=object_type))
    return shapes, facts


def _load(path: Path) -> Any:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _invalid(path, f"it cannot be read: {error}") from None
    if len(content) > _MOST_BYTES:
        raise _invalid(path, f"it is larger than {_MOST_BYTES >> 20} MiB")
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise _invalid(path, "it is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        place = "it ends too early" if error.pos >= len(error.doc.rstrip()) else f"{error.msg}, line {error.lineno}"
        raise _invalid(path, place) from None
    except (ValueError, RecursionError):
        raise _invalid(path, "a number is NaN or out of any bounds, or brackets lie too deep") from None


def _refuse_constant(word: str) -> Any:
    raise ValueError(word)  # NaN and Infinity, which Python reads and JSON does not know


def _geometry(path: Path, where: str, value: Any) -> shapely.Geometry:
    if value is None:
        return shapely.GeometryCollection()  # RFC 7946: a feature without a place
    kind = value.get("type", "none") if isinstance(value, dict) else "none"
    try:
        geometry = shapely.force_2d(shape(value))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ):
        raise _invalid(path, f"{where} ({kind}): the coordinates are no points of such a shape") from None
    points = shapely.get_coordinates(geometry)
    if not np.all(np.abs(points) < _FARTHEST_PX):  # false for NaN
        raise _invalid(path, f"{where} ({kind}): a coordinate is infinite or far outside of any slide")
    return geometry


def _kind(properties: Any) -> tuple[str, str]:
    """QuPath's class and kind of object from a feature's properties."""
    properties = properties if isinstance(properties, dict) else {}
    found = properties.get("classification")
    if isinstance(found, dict):  # a class derived from others has `names`
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) else found.get("name")
    kind = properties.get("objectType", properties.get("object_type"))
    return (found if isinstance(found, str) else ""), (kind if isinstance(kind, str) else "annotation")


def _invalid(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is no valid GeoJSON: {reason}", remedy="export it from QuPath again")
