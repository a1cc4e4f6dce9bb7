"""What a person drew on a slide as foreground to learn from, and its masks on HR and LR."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli.errors import SlideError
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.edits import Area, read_areas, told, what_is_left
from sammil_cli.tissue.mask import TissueMask, paint_area

Mask = NDArray[np.bool_]  # (s, s)
_SHOWN = 6  # classes in a message
_ANOTHER = (
    "coordinates are level-0 pixels from the corner of the scanned area (XML: of the file); is it this slide's file?"
)


def read_foreground(
    path: DrawingPath, slide: Slide, tissue: TissueMask | None, classes: Collection[str] | None
) -> tuple[list[MultiPolygon], list[str]]:
    """The drawn areas that are foreground, by the rules of `tissue.edits`, and what had to be repaired or passed over.

    What annotations of a class that begins with `Ignore` or `Exclu` cover is taken off the others.

    Args:
        tissue: where there is one, areas without any of it are passed over.
        classes: those that are foreground; None = all that is drawn, with a class or without.

    Returns:
        Areas in level-0 pixels of the whole file, one for each annotation; they may overlap.

    Raises:
        SlideError: `E_EDIT`, the file cannot be read, holds no area, or nothing of it lies on the slide; `E_CLASS`,
            classes are asked for, and an annotation has none, or none has one of them; `E_ANNOTATION`, nothing of it
            lies on tissue.
    """
    areas, counts = read_areas(path, bounds_px=slide.bounds_px)
    if classes is not None:
        areas = _of_classes(areas, path, classes, counts)
    left = what_is_left(areas, path)
    frame = shapely.box(0, 0, *slide.size_px)
    on_slide = [area for area in left if area.intersects(frame)]
    counts["areas off the slide, or excluded as a whole, passed over"] += len(left) - len(on_slide)
    if not on_slide:
        width, height = slide.size_px
        raise SlideError(
            "E_EDIT",
            f"nothing drawn in {path} lies on the slide of {width} x {height} px and is not excluded",
            remedy=_ANOTHER,
        )
    if tissue is None:
        return on_slide, told(counts)
    shapely.prepare(tissue.polygons)
    found = [area for area in on_slide if tissue.polygons.intersects(area)]
    counts["areas without tissue passed over"] += len(on_slide) - len(found)
    if not found:
        raise SlideError("E_ANNOTATION", f"nothing drawn in {path} lies on tissue", remedy=_ANOTHER)
    return found, told(counts)


def _of_classes(areas: Sequence[Area], path: DrawingPath, classes: Collection[str], counts: Counter[str]) -> list[Area]:
    """The areas of these classes, and those that exclude."""
    drawn = Counter(area.class_name for area in areas if not area.excludes)
    wanted = ", ".join(map(repr, classes))
    if nameless := drawn[""]:
        raise SlideError(
            "E_CLASS",
            f"{nameless} of {drawn.total()} annotations in {path} have no class, and wsi_sam_classes asks for {wanted}",
            remedy="give each annotation its class in QuPath; or set wsi_sam_classes to null: all that is drawn is "
            "foreground then",
        )
    if not set(classes) & set(drawn):
        there = ", ".join(map(repr, list(drawn)[:_SHOWN])) or "areas to exclude only"
        raise SlideError(
            "E_CLASS",
            f"no annotation in {path} is of the class {wanted}; drawn: {there}",
            remedy="correct wsi_sam_classes in params.yaml, or the classes in QuPath",
        )
    counts["areas of other classes passed over"] += sum(drawn.values()) - sum(drawn[name] for name in set(classes))
    return [area for area in areas if area.excludes or area.class_name in classes]


def paint(areas: Sequence[MultiPolygon], field: Field) -> Mask:
    """The mask (s, s) of areas on the field's HR: True where a pixel's middle is in one of them. `field.low` for LR."""
    mask = np.zeros((field.out_px, field.out_px), np.bool_)
    for area in areas:
        if (found := paint_area(area, field.corner_px, field.downsample, mask.shape)) is not None:
            inside, (left, top) = found
            mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
    return mask


class NearbyAreas:
    """Finds the areas that reach into a field: of thousands on a slide, a few do."""

    def __init__(self, areas: Sequence[MultiPolygon]) -> None:
        self._areas = np.asarray(areas, np.object_)
        self._tree = shapely.STRtree(self._areas)

    def of(self, field: Field) -> list[MultiPolygon]:
        """Those whose boxes meet the field's HR."""
        (x, y), side = field.corner_px, field.side_px0
        found: list[MultiPolygon] = self._areas[
            np.sort(self._tree.query(shapely.box(x, y, x + side, y + side)))
        ].tolist()
        return found

    def mask(self, field: Field) -> Mask:
        """See `paint`."""
        return paint(self.of(field), field)
