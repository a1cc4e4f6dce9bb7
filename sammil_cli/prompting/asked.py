"""What a person asks of a slide: prompts, read from the command line; in tables and drawings: the files beside."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely import MultiPoint, MultiPolygon, Polygon

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.pixels import Box
from sammil_cli.storage.geojson import FARTHEST_PX

CODE = "E_PROMPT"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FEWEST_CORNERS = 3
_SHOWN = 5  # unclear prompts in one message
_EXAMPLES = {",": {2: "1200,800", 4: "1200,800,400,300"}, " ": {2: "1200 800", 4: "1200 800 400 300"}}
_WORDS = {2: "x and y", 4: "x, y, width and height"}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question: what is here?

    `shape`: a crude area (a box is one), or the points inside of what is meant; `outside`: points outside of it.
    Level-0 pixels: from the corner of the scanned area, as QuPath counts, until `on_slide` has moved them.
    `where`: the place in the user's words that the prompt comes from, for messages.
    """

    shape: MultiPolygon | MultiPoint
    outside: MultiPoint = field(default_factory=MultiPoint)
    name: str = ""
    class_name: str = ""
    where: str = ""

    @property
    def is_area(self) -> bool:
        """Whether an area was drawn, not points."""
        return isinstance(self.shape, MultiPolygon)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest box around all of it: x0, y0, x1, y1."""
        x0, y0, x1, y1 = shapely.total_bounds([self.shape, self.outside]).tolist()
        return x0, y0, x1, y1

    def as_key(self) -> list[str]:
        """All that an answer depends on or repeats, as text."""
        return [shapely.to_wkt(self.shape, -1), shapely.to_wkt(self.outside, -1), self.name, self.class_name]


class UnclearError(ValueError):
    """A prompt that can be read in no way, or in two: what is wrong with it, and the fix."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def of_command_line(
    boxes: Sequence[str], points: Sequence[str], negatives: Sequence[str], *, name: str = "", class_name: str = ""
) -> list[Prompt]:
    """The prompts of `--box` (each is one) or of `--point` and `--negative` (all are one); none of no words.

    Raises:
        InputError: `E_PROMPT`, both kinds, no positive point, or a value that is not a number.
    """
    try:
        if boxes and (points or negatives):
            raise UnclearError(
                "--box and --point are two kinds of prompts", "ask one after the other, or give both as rows of a table"
            )
        if boxes:
            shapes = [read_box(text, ",") for text in boxes]
            return [
                Prompt(shape=shape, name=name, class_name=class_name, where=f"--box {text}")
                for shape, text in zip(shapes, boxes, strict=True)
            ]
        if not (points or negatives):
            return []
        where = " ".join(f"--point {text}" for text in points)
        inside, outside = read_points(points, ","), read_points(negatives, ",")
        return [points_prompt(inside, outside, name=name, class_name=class_name, where=where)]
    except UnclearError as error:
        raise InputError(str(error), remedy=error.remedy, code=CODE) from None


def points_prompt(inside: MultiPoint, outside: MultiPoint, *, name: str, class_name: str, where: str) -> Prompt:
    """A prompt of points.

    Raises:
        UnclearError: no point is inside what is meant.
    """
    if inside.is_empty:
        raise UnclearError(
            "there are points outside of what is meant, but none inside" if not outside.is_empty else "no point",
            "give at least one point inside of what is meant",
        )
    return Prompt(shape=inside, outside=outside, name=name, class_name=class_name, where=where)


def read_box(text: str, between: str) -> MultiPolygon:
    """`x,y,w,h` as an area.

    Args:
        between: what separates the numbers: a comma, or blanks (` `).

    Raises:
        UnclearError: no four numbers, or a side that is not positive.
    """
    x, y, width, height = _numbers(text, 4, between)
    if width <= 0 or height <= 0:
        raise UnclearError(
            f"the box {text!r} has no size: {width:g} x {height:g} px",
            "give x and y of its top left corner, then its width and height",
        )
    return MultiPolygon([shapely.box(x, y, x + width, y + height)])


def read_points(texts: Sequence[str], between: str) -> MultiPoint:
    """Points from texts `x,y`; see `read_box`."""
    return MultiPoint([_numbers(text, 2, between) for text in texts])


def area_of(polygons: Sequence[Polygon]) -> MultiPolygon:
    """The valid area of outlines; one that crosses itself is filled where it overlaps, as a brush does.

    Raises:
        UnclearError: they hold nothing.
    """
    valid = [shapely.make_valid(one, method="structure", keep_collapsed=False) for one in polygons]
    area = _polygons(shapely.union_all(valid))
    if area.is_empty:
        raise UnclearError("the polygon is empty: it holds no area", "draw it anew, or delete it")
    return area


def read_polygon(texts: Sequence[str], between: str) -> MultiPolygon:
    """An area from its corners `x,y`, one after the other; see `read_box`.

    Raises:
        UnclearError: fewer than three corners, or no area between them.
    """
    corners = [_numbers(text, 2, between) for text in texts]
    if len(corners) < _FEWEST_CORNERS:
        raise UnclearError(f"a polygon of {len(corners)} corner(s)", "give at least three corners, or the kind points")
    return area_of([Polygon(corners)])


def on_slide(prompts: Sequence[Prompt], bounds_px: Box, *, moved: bool) -> tuple[list[Prompt], list[str]]:
    """Prompts in level-0 pixels of the whole file, cut to the scanned area, and what was cut, by their numbers.

    Args:
        bounds_px: the scanned area.
        moved: whether they are in such pixels already.

    Raises:
        SlideError: `E_PROMPT`, one of them, or a point of it, lies off the slide.
    """
    x, y, width, height = bounds_px
    frame, corner = shapely.box(x, y, x + width, y + height), np.array([x, y])
    found, off, cut = [], [], []
    for number, prompt in enumerate(prompts, start=1):
        shape, outside = (
            part if moved else shapely.transform(part, lambda points: points + corner)
            for part in (prompt.shape, prompt.outside)
        )
        if isinstance(shape, MultiPolygon):
            if not shapely.covers(frame, shape):
                cut.append(number)
                shape = _polygons(shapely.intersection(shape, frame))
            if shape.is_empty:
                off.append(prompt.where)
                continue
        elif not (shapely.covers(frame, shape) and (outside.is_empty or shapely.covers(frame, outside))):
            off.append(prompt.where)
            continue
        found.append(
            Prompt(shape=shape, outside=outside, name=prompt.name, class_name=prompt.class_name, where=prompt.where)
        )
    if off:
        more = f" and {len(off) - _SHOWN} more" if len(off) > _SHOWN else ""
        everything = len(off) == len(prompts) > 1
        raise SlideError(
            CODE,
            f"{'everything' if everything else f'{len(off)} of {len(prompts)} prompt(s)'} lies off the slide of "
            f"{width} x {height} px: {'; '.join(off[:_SHOWN])}{more}",
            remedy=("are they prompts of another slide? " if everything else "correct or delete them; ")
            + "coordinates are level-0 pixels from the corner of the scanned area, as QuPath shows them (XML: of the "
            "file)",
        )
    return found, [f"edge: prompt(s) {_listed(cut)} cut at the edge of the slide"] if cut else []


def _polygons(shape: shapely.Geometry) -> MultiPolygon:
    """Those of a shape that hold something, without lines and points."""
    return MultiPolygon([part for part in shapely.get_parts(shape) if isinstance(part, Polygon) and part.area > 0])


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return ", ".join(map(str, numbers[:_SHOWN])) + more


def together(found: Sequence[tuple[str, UnclearError]]) -> tuple[str, str]:
    """Message and remedy of what is unclear, each with its place: the first few, and how many more."""
    lines = [f"{where}: {error}" for where, error in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    return "\n".join(lines), "\n".join(dict.fromkeys(error.remedy for _, error in found[:_SHOWN]))


def _numbers(text: str, count: int, between: str) -> list[float]:
    words = text.split() if between == " " else [word.strip() for word in text.split(between)]
    wrong = next((word for word in words if not _NUMBER.fullmatch(word)), None)
    remedy = f"give {_WORDS[count]} in level-0 pixels, such as {_EXAMPLES[between][count]}"
    if wrong is not None:
        raise UnclearError(f"{wrong!r} is no number" if wrong != text else f"{text!r} is no number", remedy)
    if len(words) != count:
        raise UnclearError(f"{text!r} holds {len(words)} numbers, not {count}", remedy)
    values = [float(word) for word in words]
    if not all(math.isfinite(value) and abs(value) < FARTHEST_PX for value in values):
        raise UnclearError(f"{text!r} is far outside of any slide", remedy)
    return values
