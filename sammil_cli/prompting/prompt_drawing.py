"""Prompts that were drawn on a slide, in QuPath mostly: a hundred crude annotations, refined in one go."""

from collections import Counter
from pathlib import Path

from shapely import MultiPoint, Point, Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.prompting.asked import CODE, Prompt, UnclearError, area_of, together
from sammil_cli.storage.drawing import read_drawn_shapes
from sammil_cli.storage.geojson import Shape
from sammil_cli.storage.outline_limits import check_outlines
from sammil_cli.tissue.edits import flat_parts, told


def read_drawn_prompts(path: Path, offset_px: tuple[int, int]) -> tuple[list[Prompt], list[str]]:
    """The prompts of a drawing, in its order, level-0 pixels of the whole file; and what was passed over.

    An annotation is one prompt, whatever its class: an area of one or several pieces, or the points of one object.
    Detections and cells are passed over; so are points of XML, where nothing tells them from arrows and rulers, and
    what XML and CAMELYON's JSON take away, such as normal tissue in a tumour.

    Args:
        offset_px: where the scanned area begins, from which QuPath counts.

    Raises:
        SlideError: `E_PROMPT`, the file cannot be read, holds no prompt, or one that is unclear.
    """
    try:
        shapes, is_foreign = read_drawn_shapes(path, offset_px=offset_px)
        parts = [flat_parts(drawn.geometry) for drawn in shapes]
        check_outlines(path, [part for inner in parts for part in inner if isinstance(part, Polygon)])
    except InputError as error:
        raise SlideError(CODE, error.message, remedy=error.remedy) from None
    prompts: list[Prompt] = []
    passed: Counter[str] = Counter()
    unclear = []
    for number, (drawn, inner) in enumerate(zip(shapes, parts, strict=True), start=1):
        where = f"{path}, object {number}" + (f" ({drawn.name})" if drawn.name else "")
        if drawn.object_type != "annotation":
            passed[f"{drawn.object_type}s passed over"] += 1
        elif drawn.taken_away:
            passed["areas to take away passed over"] += 1
        elif is_foreign and inner and not any(isinstance(part, Polygon) for part in inner):
            passed["points or lines of XML passed over"] += 1
        else:
            try:
                prompts.append(_prompt(drawn, inner, where))
            except UnclearError as error:
                unclear.append((where, error))
    if unclear:
        message, remedy = together(unclear)
        raise SlideError(CODE, message.replace("\n", "; "), remedy=remedy.replace("\n", "; "))
    if not prompts:
        found = "; ".join(told(passed))
        raise SlideError(
            CODE,
            f"{path} holds no annotation" + (f" ({found})" if found else ""),
            remedy="export annotations (areas or points) from QuPath as GeoJSON",
        )
    if is_foreign and any(offset_px):
        passed["areas counted from the corner of the file, not of the scanned area"] = len(prompts)
    return prompts, told(passed)


def _prompt(drawn: Shape, parts: list[object], where: str) -> Prompt:
    areas = [part for part in parts if isinstance(part, Polygon)]
    points = [part for part in parts if isinstance(part, Point) and not part.is_empty]
    if len(areas) + sum(isinstance(part, Point) for part in parts) < len(parts):
        raise UnclearError(
            "it is a line, which neither holds nor marks anything", "draw an area or points, or delete it"
        )
    if areas and points:
        raise UnclearError("it has areas and points: two kinds in one prompt", "draw two annotations")
    names = {"name": drawn.name, "class_name": drawn.class_name, "where": where}
    if points:
        return Prompt(shape=MultiPoint(points), **names)
    return Prompt(shape=area_of(areas), **names)
