"""A pathologist's annotations that are to be regions."""

import shapely
from shapely import MultiPolygon

from sammil_cli.errors import SlideError
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import read_areas, told, what_is_left
from sammil_cli.tissue.mask import TissueMask


def read_annotations(path: DrawingPath, tissue: TissueMask) -> tuple[tuple[MultiPolygon, ...], list[str]]:
    """Reads a file as QuPath exports it, or XML, by the rules of `tissue.edits`.

    Each annotation is one area, with its holes, in the file's order; areas may overlap or lie in one another. What
    annotations of a class that begins with `Ignore` or `Exclu` cover is taken off the others. An area that holds no
    tissue is passed over, one that leaves the tissue is kept whole.

    Args:
        path: the slide's file.
        tissue: says where the scanned area begins, from which QuPath counts.

    Returns:
        The areas in level-0 pixels of the whole file, and what had to be repaired or passed over.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read or holds no area; `E_ANNOTATION`, nothing in it
            lies on the slide's tissue.
    """
    drawn, counts = read_areas(path, bounds_px=tissue.bounds_px)
    shapely.prepare(tissue.polygons)
    found = []
    for whole in what_is_left(drawn, path):
        if shapely.intersects(tissue.polygons, whole):
            found.append(whole)
        else:
            counts["annotations without tissue passed over"] += 1
    if not found:
        width, height = tissue.slide_size_px
        raise SlideError(
            "E_ANNOTATION",
            f"nothing drawn in {path} lies on tissue; the slide is {width} x {height} px",
            remedy="coordinates are level-0 pixels from the corner of the scanned area; is it this slide's file?",
        )
    return tuple(found), told(counts)
