"""What a person drew on a slide: GeoJSON, or XML and JSON of other tools, plain or packed."""

from pathlib import Path

from sammil_cli.storage.annotation_xml import is_annotation_xml, parse_annotation_xml
from sammil_cli.storage.camelyon_json import camelyon_shapes, is_camelyon
from sammil_cli.storage.geojson import Shape, is_geojson, parsed_geojson, shapes_of
from sammil_cli.storage.packed import PACKED, read_packed


def is_drawing(name: str) -> bool:
    """Whether a file that is not packed can be read, by its name."""
    return is_geojson(name) or is_annotation_xml(name)


def drawn_slide(name: str) -> str | None:
    """The id of the slide that a drawing with this file name is for; None for files that are not read.

    `a.geojson`, `a.json`, `a.xml` and `a.annotations` are, also with `.gz` or `.zip` behind, and `a.zip`.
    """
    packing = next((suffix for suffix in PACKED if name.lower().endswith(suffix)), "")
    inner = name[: len(name) - len(packing)]
    if is_drawing(inner):
        return inner[: inner.rindex(".")] or None
    return inner if packing == ".zip" else None


def read_drawn_shapes(path: Path, *, offset_px: tuple[int, int]) -> tuple[list[Shape], bool]:
    """The shapes of a file in level-0 pixels of the whole file; and whether it is of another tool than QuPath.

    Args:
        offset_px: where the scanned area begins, from which QuPath counts; ImageScope, ASAP and CAMELYON's JSON do not.

    Raises:
        InputError: the file cannot be read.
    """
    name, content = read_packed(path, wanted=is_drawing)
    if is_annotation_xml(name):
        return parse_annotation_xml(path, content, offset_px=offset_px), True
    document = parsed_geojson(path, content)
    if is_camelyon(document):
        return camelyon_shapes(path, document), True
    return shapes_of(path, document, offset_px)[0], False
