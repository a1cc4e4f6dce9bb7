"""GeoJSON that QuPath opens by drag and drop, and reading it back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import mapping, shape

from sammil_cli.errors import InputError
from sammil_cli.storage.files import write_text


def write_geojson(
    path: Path,
    shapes: Sequence[tuple[shapely.Geometry, Mapping[str, Any]]],
    *,
    class_name: str,
    offset_px: tuple[int, int],
    provenance: Mapping[str, Any],
) -> None:
    """Writes one annotation per shape.

    Args:
        shapes: geometry in level-0 pixels of the whole file, and its measurements (name -> number).
        class_name: QuPath's classification.
        offset_px: the corner x, y of the scanned area, which QuPath takes as its origin; it is taken off the
            coordinates and stated in the file.
        provenance: stored under the key `sammil`.
    """
    features = [
        {
            "type": "Feature",
            "geometry": mapping(shapely.transform(geometry, lambda points: points - offset_px)),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": class_name},
                "measurements": dict(measurements),
            },
        }
        for geometry, measurements in shapes
    ]
    text = json.dumps(
        {
            "type": "FeatureCollection",
            "sammil": {**provenance, "offset_px": list(offset_px)},
            "features": features,
        }
    )
    write_text(path, text.replace('{"type": "Feature"', '\n{"type": "Feature"') + "\n")


def read_geojson(path: Path) -> tuple[list[tuple[shapely.Geometry, str]], dict[str, Any]]:
    """Reads shapes (level-0 pixels of the whole file, offset added back) with their class, and the provenance.

    Raises:
        InputError: not GeoJSON.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        features = document["features"] if isinstance(document, dict) else document
        provenance = document.get("sammil", {}) if isinstance(document, dict) else {}
        offset = provenance.get("offset_px", [0, 0])
        shapes = [
            (
                shapely.transform(shape(feature["geometry"]), lambda points: points + offset),
                ((feature.get("properties") or {}).get("classification") or {}).get("name", ""),
            )
            for feature in features
        ]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path} is no valid GeoJSON: {error}", remedy="export it from QuPath again") from None
    return shapes, provenance
