"""CAMELYON16's annotations as JSON: outlines of metastases, and of normal tissue inside them."""

from pathlib import Path

import numpy as np
from shapely import Polygon

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import FARTHEST_PX, Shape
from sammil_cli.storage.guarded_json import Parsed
from sammil_cli.storage.shown_text import shown_value

_LISTS = ("positive", "negative")
_AGAIN = 'convert it again: {"positive": [{"name": …, "vertices": [[x, y], …]}, …], "negative": […]}'


def is_camelyon(document: Parsed) -> bool:
    """Whether parsed JSON is of this form, which has none of GeoJSON's keys."""
    return isinstance(document, dict) and bool(document) and document.keys() <= set(_LISTS)


def camelyon_shapes(path: Path, document: Parsed) -> list[Shape]:
    """The outlines in level-0 pixels from the corner of the file, those to take away last; the class is the name.

    Args:
        path: for messages. document: see `is_camelyon`.

    Raises:
        InputError: an outline without a list of at least three points; the message names it.
    """
    found = []
    for which in _LISTS:
        parts = document.get(which, []) if isinstance(document, dict) else []
        if not isinstance(parts, list):
            raise InputError(f"{path}: {which} is {shown_value(parts)}, not a list of outlines", remedy=_AGAIN)
        for number, part in enumerate(parts, start=1):
            given = part.get("vertices") if isinstance(part, dict) else None
            name = part.get("name") if isinstance(part, dict) else None
            polygon = _polygon(given)
            if polygon is None:
                raise InputError(
                    f"{path}: outline {number} of {len(parts)} in {which} has no three or more points x, y in vertices",
                    remedy=_AGAIN,
                )
            class_name = name if isinstance(name, str) else ""
            found.append(Shape(geometry=polygon, class_name=class_name, taken_away=which == "negative"))
    return found


def _polygon(vertices: Parsed) -> Polygon | None:
    """None where these are no points of an outline on any slide."""
    try:
        points = np.asarray(vertices, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if points.ndim != 2 or len(points) < 3 or points.shape[1] != 2 or not (np.abs(points) < FARTHEST_PX).all():
        return None
    return Polygon(points)
